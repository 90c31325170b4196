"""The consumer: reads, cleans and commits, until it is told to stop.

Every pass of the loop takes a batch through the steps in order: decode, dedup, sequence, enrich; then collects a
finished commit and begins the next. The commit is the last step and the only one that others can see.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from k2ctl.broker.admin import BrokerAdmin
from k2ctl.broker.dead_letters import DeadLetters
from k2ctl.broker.reader import Fetched, Reader, concatenate, read_between
from k2ctl.clock import Clock, SystemClock
from k2ctl.errors import FencedError
from k2ctl.home import Endpoints
from k2ctl.lake.catalog import Lake
from k2ctl.lake.expiry import SnapshotRetention
from k2ctl.lake.heads import Counts, Progress
from k2ctl.lake.maintenance import BackgroundMaintenance
from k2ctl.lake.progress import progress_of
from k2ctl.lake.references import store_references
from k2ctl.lake.writer import Committed, TableWriter
from k2ctl.pipeline.committer import Committer, Finished
from k2ctl.pipeline.decode import decode_batch
from k2ctl.pipeline.degradation import Controller, LagWindow, Signals
from k2ctl.pipeline.enrich import ReferenceTable
from k2ctl.pipeline.memory import rebuild
from k2ctl.pipeline.pending import Pending
from k2ctl.pipeline.start import Beginning, settle_epochs, starting_offsets
from k2ctl.profiles import Profile
from k2ctl.schema.topics import dead_letter_topic, reference_topic, trades_topic

GROUP = "k2ctl"
BATCH_TRADES = 50_000
"""Trades that go through the steps together, about: enough to make numpy's fixed costs small."""

REFERENCE_EVERY_S = 10.0


@dataclass
class Totals:
    """What this process has done since it started."""

    records: int = 0
    trades: int = 0
    stored: int = 0
    commits: int = 0
    written_bytes: int = 0
    last_commit: Committed | None = None
    last_commit_s: float = 0.0
    last_commit_at_us: int = 0


@dataclass
class ConsumerPlan:
    """How to consume. until_caught_up: end at the watermarks of the start."""

    profile: Profile
    until_caught_up: bool = False
    rebase: bool = False
    consumer_id: str = field(default_factory=lambda: f"consumer-{os.getpid()}")


class Consumer:
    """One consumer of one topic: all its partitions, offsets from the table."""

    def __init__(self, endpoints: Endpoints, plan: ConsumerPlan, clock: Clock | None = None) -> None:
        self.endpoints = endpoints
        self.plan = plan
        self.clock = clock or SystemClock()
        market = plan.profile.market
        self.topic = trades_topic(market.asset_class, market.exchange)
        self._reference_topic = reference_topic(market.asset_class, market.exchange)
        self.totals = Totals()
        self.references = ReferenceTable()
        self._reference_read_to = 0
        self._reference_due_s = 0.0
        self._process = psutil.Process()
        self._open()

    def _open(self) -> None:
        """Connect, find out where to begin, and remember what the table remembers."""
        profile, topic = self.plan.profile, self.topic
        self._lake = Lake.at(self.endpoints)
        retention = SnapshotRetention.from_profile(profile.lake.expire)
        self._writer = TableWriter(self._lake, self.clock, retention)
        with BrokerAdmin(self.endpoints) as admin:
            admin.create_topic(topic, profile.topic.partitions)
            admin.create_topic(dead_letter_topic(topic), 1)
            admin.create_topic(self._reference_topic, 1, {"cleanup.policy": "compact"})
            self.progress: Progress = progress_of(self._lake.table())
            self.beginning: Beginning = settle_epochs(
                self.endpoints, admin, self._writer, self.progress, topic, rebase=self.plan.rebase
            )
            self.progress = progress_of(self._lake.table())
            marks = admin.watermarks(topic)
        self.epoch = self.beginning.epoch
        offsets = starting_offsets(self.progress, topic, self.epoch, marks, marks)
        self._goal = {partition: mark.high for partition, mark in marks.items()} if self.plan.until_caught_up else None
        window_us = round(profile.consumer.dedup_window_hours * 3600e6)
        self.deduplicator, self.tracker, self.remembered = rebuild(
            self._lake, topic, offsets, self.clock.now_us() - window_us
        )
        self._maintenance = BackgroundMaintenance(lambda: Lake.at(self.endpoints), profile.lake, self.clock)
        self._committer = Committer(self._writer, DeadLetters(self.endpoints, topic, self.epoch), self.clock)
        self._reader = Reader(self.endpoints, topic, GROUP)
        self._reader.assign(offsets)
        self.committed_offsets = dict(offsets)
        self._pending = Pending(topic, self.epoch)
        self._last_submit_s = self.clock.monotonic_s()
        divisor = profile.degradation.embedded_divisor if self.endpoints.engine == "embedded" else 1
        # Levels that shed or spill are entered once what they put aside can be given back; until then SOFT is the end.
        levels = [level for level in profile.degradation.levels if level.LOW == "process" == level.HIGH]
        self.controller = Controller(profile.degradation, levels, self.clock, divisor)
        self._lag_window = LagWindow(max(2.0, 2 * profile.consumer.commit_interval_s), self.clock)

    def run(self, stop: threading.Event, on_tick: Callable[[], None] | None = None) -> Totals:
        """Consume until `stop` is set or the goal is reached; ends with everything read committed.

        on_tick is called on every pass of the loop (some 20 times a second and more) and must be quick.

        Raises:
            FencedError: another consumer has taken over; nothing of ours was stored twice.
            LakeError, BrokerError: the table or Kafka cannot go on; what was committed stays.
        """
        self._maintenance.start()
        try:
            while not stop.is_set():
                self._step()
                if on_tick is not None:
                    on_tick()
                if self._reached_goal():
                    break
            self.drain()
        finally:
            self._close()
        return self.totals

    def _step(self) -> None:
        """One pass: read, clean, commit."""
        self._refresh_references()
        fetched = self._read()
        if len(fetched):
            self._clean(fetched)
        self._update_level()
        self._collect(wait=self._full())
        self._submit_if_due()

    def _full(self) -> bool:
        return self._committer.busy and self._pending.rows >= self.plan.profile.consumer.pending_limit_rows

    def _read(self) -> Fetched:
        """Up to a batch of records: whatever comes within a few milliseconds of the first."""
        before = self._reader.positions
        parts: list[Fetched] = []
        left = max(100, round(BATCH_TRADES / self.trades_per_record()))
        while left > 0:
            wanted = min(left, self.plan.profile.consumer.fetch_batch)
            part = self._reader.fetch(wanted, 0.02 if not parts else 0.005)
            if len(part):
                parts.append(part)
                left -= len(part)
            if len(part) < wanted:
                break
        for hole in self._reader.holes():
            self._pending.note_hole(hole)
        fetched = concatenate(parts)
        self._pending.note_read(fetched, before)
        return fetched

    def _clean(self, fetched: Fetched) -> None:
        """Steps 1 to 5 of the design's section 4, in their order."""
        pending = self._pending
        wire_format = self.plan.profile.topic.format
        batch = decode_batch(fetched, self.topic, self.epoch, self.clock.now_us(), pending.tally, wire_format)
        pending.dead_letters += batch.dead_letters
        rows = self.deduplicator.step(batch.rows, pending.tally)
        self.tracker.step(rows.trades)
        if self.controller.level.enrich:
            rows = self.references.step(rows)
        pending.add_rows(rows)
        self.totals.records += len(fetched)
        self.totals.trades += len(batch.rows)

    def _refresh_references(self) -> None:
        """Read what is new on the reference topic; it is small, and changes a few times a day."""
        if self.clock.monotonic_s() < self._reference_due_s:
            return
        self._reference_due_s = self.clock.monotonic_s() + REFERENCE_EVERY_S
        with BrokerAdmin(self.endpoints) as admin:
            mark = admin.watermarks(self._reference_topic)[0]
        start = max(self._reference_read_to, mark.low)
        fetched, reached, _ = read_between(
            self.endpoints, self._reference_topic, {0: (start, mark.high)}, timeout_s=5.0, limit_records=1_000_000
        )
        self._reference_read_to = reached[0]
        if len(fetched):
            self.references.update(fetched)
            store_references(self._lake, self.references.entries)

    def _submit_if_due(self) -> None:
        consumer = self.plan.profile.consumer
        if self._committer.busy or self._pending.empty:
            return
        interval_s = max(consumer.commit_interval_s, 2 * self._committer.typical_s())
        waited_s = self.clock.monotonic_s() - self._last_submit_s
        if waited_s >= interval_s or self._pending.rows >= consumer.commit_rows or self._reached_goal():
            self._submit()

    def _submit(self) -> None:
        self._last_submit_s = self.clock.monotonic_s()
        pending, self._pending = self._pending, Pending(self.topic, self.epoch)
        self._committer.submit(pending)

    def _collect(self, *, wait: bool = False) -> None:
        finished = self._committer.collect(wait=wait)
        if finished is not None:
            self._note(finished)

    def _note(self, finished: Finished) -> None:
        """Take note of a commit: progress, totals, and the advisory offsets in Kafka's group."""
        committed = finished.committed
        self.progress = committed.progress
        if committed.fenced:
            lanes = ", ".join(str(lane.partition) for lane in committed.fenced)
            raise FencedError(
                f"Another consumer has committed partitions {lanes} of {self.topic} in the meantime; "
                "what this one had read of them was dropped, so nothing is stored twice.",
                "See who it is with: k2ctl watch --once",
            )
        totals = self.totals
        totals.commits += 1
        totals.stored += committed.stored
        totals.written_bytes += committed.written_bytes
        totals.last_commit, totals.last_commit_s = committed, finished.seconds
        totals.last_commit_at_us = self.clock.now_us()
        self.committed_offsets.update(finished.pending.end)
        self._reader.advise(finished.pending.end)

    def _update_level(self) -> None:
        lag = self.lag_records()
        trades = None if lag is None else self._lag_window.add(round(lag * self.trades_per_record()))
        self.controller.update(Signals(trades, self.memory_share()))

    def _reached_goal(self) -> bool:
        if self._goal is None:
            return False
        positions = self._reader.positions
        return all(positions[partition] >= goal for partition, goal in self._goal.items())

    def drain(self) -> None:
        """Commit everything that was read."""
        self._collect(wait=True)
        if not self._pending.empty:
            self._submit()
            self._collect(wait=True)

    def _close(self) -> None:
        self._maintenance.stop()
        self._committer.close()
        self._reader.close()
        self._lake.close()

    # What a display may ask for.

    @property
    def pending_trades(self) -> int:
        """Rows read and not yet in the table, the commit under way included."""
        under_way = self._committer.in_flight
        return self._pending.rows + (under_way.rows if under_way else 0)

    def trades_per_record(self) -> float:
        """The mean so far; 1 before the first record."""
        return self.totals.trades / self.totals.records if self.totals.trades else 1.0

    def positions(self) -> dict[int, int]:
        """The offset that each partition is read from next."""
        return self._reader.positions

    def high_watermarks(self) -> dict[int, int | None]:
        """The high watermarks that came with the last fetches; None where none came yet."""
        return self._reader.high_watermarks()

    def lag_records(self) -> int | None:
        """Records not yet admitted, over all partitions; None while a watermark is unknown."""
        highs = self.high_watermarks()
        positions = self._reader.positions
        if any(high is None for high in highs.values()):
            return None
        return sum(max(0, (high or 0) - positions[partition]) for partition, high in highs.items())

    def memory_bytes(self) -> int:
        """Resident memory of this process."""
        return int(self._process.memory_info().rss)

    def memory_share(self) -> float:
        """Resident memory as a share of the profile's limit."""
        return self.memory_bytes() / (self.plan.profile.consumer.memory_limit_mb * 1_000_000)

    def counts(self) -> Counts:
        """The terms of the identity, for this topic and epoch, as committed."""
        heads = [head for lane, head in self.progress.heads.items() if lane[:2] == (self.topic, self.epoch)]
        return sum((head.counts for head in heads), Counts())

    def lag_seconds(self, behind_records: int | None) -> float | None:
        """Age of the oldest record that is not in the table, by the Kafka record's timestamp; None if unknown."""
        if behind_records is None:
            return None
        under_way = self._committer.in_flight
        waiting = [pending.oldest_ms for pending in (under_way, self._pending) if pending and pending.oldest_ms]
        if not behind_records:
            return 0.0
        if not waiting:
            return None
        return max(0.0, self.clock.now_us() / 1e6 - min(waiting) / 1e3)

    @property
    def pid(self) -> int:
        """This process."""
        return self._process.pid
