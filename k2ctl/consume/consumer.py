"""The consumer: reads, cleans and commits, until it is told to stop.

Every pass of the loop takes a batch through the steps in order: decode, admit, dedup, sequence, enrich; then collects a
finished commit and begins the next. The commit is the last step and the only one that others can see.

Alone it holds all partitions of the topic; in a group, the share that the group gives it. The table decides either way.
"""

import gc
import threading
from collections.abc import Callable
from typing import Final

import numpy as np

from k2ctl.clock import Clock, SystemClock
from k2ctl.consume.assignment import Assignment
from k2ctl.consume.assignments import AssignmentManager
from k2ctl.consume.committer import Committer, Finished
from k2ctl.consume.degradation.controller import Controller, LagWindow, PressureSignals
from k2ctl.consume.degradation.pressure import Budget, MemoryGauge, Slope
from k2ctl.consume.pending import Pending
from k2ctl.consume.plan import ConsumerPlan, ConsumerTotals
from k2ctl.consume.platform import open_platform, reference_topic_of
from k2ctl.consume.reference_feed import ReferenceFeed
from k2ctl.deferred.admission import SHED, SPILL, Admitted, mask_of
from k2ctl.deferred.spill_files import Spiller
from k2ctl.domain.checkpoint import Counts
from k2ctl.domain.ledger import Ledger
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, FencedError, LakeError
from k2ctl.feeds.decode import decode_batch
from k2ctl.kafka.broker_time import KafkaTime
from k2ctl.kafka.dead_letters import DeadLetters
from k2ctl.kafka.reader import Fetched
from k2ctl.kafka.watermarks import Silence
from k2ctl.lake.catalog import Lake
from k2ctl.lake.maintenance.maintainer import BackgroundMaintenance
from k2ctl.lake.side_folder import SideFolder
from k2ctl.lake.writer import Committed
from k2ctl.sequence.state_sync import fences_moved
from k2ctl.timing import Stopwatch

BATCH_TRADES = 50_000
"""Trades that go through the steps together, about: enough to make numpy's fixed costs small."""

LEAST_BATCH_RECORDS = 100
"""Also the first batch: until it is there nobody knows how many trades a record holds, and it may be a thousand."""

BUDGET_BATCH_S = 0.1
IDLE_S = 0.005
STOP_WITHIN_S = 1.0
"""What a stop may take, of two seconds in all, to commit what is in hand; the rest is left in Kafka."""

CRITICAL_FIRST_FROM = 3
"""From AGGRESSIVE on the CRITICAL lane is read first, and the others with what is left (design, section 5)."""

HEAD_TAKES_S = 0.4
"""One table checkpoint takes some five commits a second on SQLite: each of n consumers commits every n times this at
most."""


KAFKA_AWAY_S: Final = 60.0
STEPS: Final = ("decode", "admit", "dedup", "sequence", "enrich", "commit")
"""The timed steps by name, in their order (design, section 4)."""
"""How long a consumer that ends by itself waits for a Kafka that does not answer; as long as for the table."""


def _turned_back(stands: int, known: int) -> LakeError:
    return LakeError(
        f"The table stands at commit {stands}, and this consumer has seen commit {known} of it: its catalog was turned "
        "back, as by a copy of it that was put back.",
        "Go on from its newest metadata file, or choose an older one: k2ctl lake register",
    )


class Consumer:
    """One consumer of one topic: all its partitions, or a share of them; offsets from the table."""

    def __init__(self, endpoints: Endpoints, plan: ConsumerPlan, clock: Clock | None = None) -> None:
        self.endpoints = endpoints
        self.plan = plan
        self.clock = clock or SystemClock()
        self.totals = ConsumerTotals()
        self.kafka_time = KafkaTime(endpoints, self.clock)
        self.steps = Stopwatch(self.clock, STEPS)
        self.budget = Budget(plan.budget, self.clock)
        self.memory = MemoryGauge(plan.profile.consumer.memory_limit_mb, self.clock)
        self.slope = Slope(self.clock)
        self._platform = open_platform(endpoints, plan, self.clock)
        self.topic, self.epoch, self.start = self._platform.topic, self._platform.epoch, self._platform.start
        self.retention, self.admission = self._platform.retention, self._platform.admission
        self.references = ReferenceFeed(endpoints, reference_topic_of(plan), self._platform.lake, self.clock)
        self._batch_records = LEAST_BATCH_RECORDS
        self._open_degradation()
        self.assignments = AssignmentManager(self._platform, self._revoke, lambda: self._collect(wait_s=None))
        self._goal = self.assignment.highs if plan.until_caught_up else None
        self._last_submit_s = self.clock.monotonic_s()

    def _open_degradation(self) -> None:
        """What becomes of trades under pressure, and how they come back."""
        profile, degradation, lake = self.plan.profile, self.plan.profile.degradation, self._platform.lake
        limit_bytes = degradation.deferral.spill_limit_mb * 1_000_000
        self.spiller = Spiller(SideFolder(lake.table()), self.admission, limit_bytes, self.clock)
        dead_letters = DeadLetters(self.endpoints, self.topic, self.epoch)
        self.committer = Committer(self._platform.writer, dead_letters, self.spiller, self.clock)
        self.maintenance = BackgroundMaintenance(lambda: Lake.at(self.endpoints), profile.lake, self.clock)
        divisor = degradation.embedded_divisor if self.endpoints.engine == "embedded" else 1
        self.controller = Controller(degradation, self.clock, divisor)
        self._lag_window = LagWindow(max(2.0, 2 * profile.consumer.commit_interval_s), self.clock)

    @property
    def assignment(self) -> Assignment:
        """The partitions that are held now, and what is remembered of them."""
        return self.assignments.assignment

    @property
    def ledger(self) -> Ledger:
        """What is outstanding of this topic, by whomever, as committed."""
        return self.assignment.checkpoints.ledger.of(self.topic)

    def run(self, stop: threading.Event, on_tick: Callable[[], None] | None = None) -> ConsumerTotals:
        """Consume until `stop` is set or the goal is reached; ends with everything read committed.

        on_tick is called on every pass of the loop (some 20 times a second and more) and must be quick.

        Raises:
            FencedError: another consumer has taken over; nothing of ours was stored twice.
            LakeError, BrokerError: the table or Kafka cannot go on; what was committed stays.
        """
        self.maintenance.start()
        # A full collection goes over all that was imported: 110 ms in the middle of a commit, measured.
        gc.collect()
        gc.freeze()
        try:
            if on_tick is not None:
                on_tick()
            while not stop.is_set() and not self._reached_goal():
                self._step()
                self._require_kafka()
                if on_tick is not None:
                    on_tick()
            self._drain(hurry=stop.is_set())
            if self.assignments.is_current:
                self.assignment.dedup_saver.save(self.assignment.deduplicator)
        finally:
            gc.unfreeze()
            self._close()
        return self.totals

    def _step(self) -> None:
        """One pass: read, clean, commit."""
        self.references.refresh()
        self.assignments.follow()
        self._update_level()
        full = self.assignment.pending.held >= self.plan.profile.consumer.pending_limit_rows
        idle = self.plan.backfill or not self.assignment.partitions or not self.assignments.is_current
        if idle or full or self.budget.exhausted:
            self.clock.sleep(IDLE_S)
        else:
            self._read_and_clean()
        if self.assignments.is_current:
            self._backfill()
        self._collect()
        if self.assignments.is_current:
            self._submit_if_due()

    @property
    def silence(self) -> Silence | None:
        """Since when Kafka has not answered; None while it does."""
        return self.assignment.reader.silence()

    @property
    def waiting(self) -> str:
        """What keeps this consumer from going on, in words; empty while nothing does."""
        silence = self.silence
        if silence is not None:
            return f"{silence}; goes on by itself once it answers"
        return self.committer.trouble or self.assignment.reader.trouble or self.assignments.waiting

    def _require_kafka(self) -> None:
        """A consumer that is to end by itself does not wait for ever for a Kafka that is away."""
        silence = self.silence if self._goal is not None or self.plan.backfill else None
        if silence is not None and silence.seconds >= KAFKA_AWAY_S:
            raise BrokerError(
                f"{silence}. What was committed stays; the rest was not read.",
                "See: k2ctl stack status. Then go on with the same command.",
            )

    def _read_and_clean(self) -> None:
        assignment = self.assignment
        before = assignment.reader.positions
        fetched = assignment.reader.fetch(
            self._batch_records,
            self.plan.profile.consumer.fetch_batch,
            critical_first=self.controller.number >= CRITICAL_FIRST_FROM,
        )
        spans = assignment.pending.note_read(
            fetched,
            before,
            assignment.reader.positions,
            assignment.reader.holes(),
            assignment.reader.oldest_critical_ms,
        )
        if len(fetched):
            self._clean(fetched, spans)

    def _clean(self, fetched: Fetched, spans: dict[int, tuple[int, int]]) -> None:
        """Steps 1 to 5 of the design's section 4, in their order."""
        assignment, pending, level, timed = (
            self.assignment,
            self.assignment.pending,
            self.controller.level,
            self.steps.timed,
        )
        with timed("decode"):
            batch = decode_batch(
                fetched,
                self.topic,
                self.epoch,
                self.kafka_time.now_us(fetched.newest_ms),
                pending.tally,
                self.plan.profile.topic.format,
                self.kafka_time.checked_us,
            )
        pending.dead_letters += batch.dead_letters
        with timed("admit"):
            actions = self.admission.actions(level, spill_works=not self.spiller.trouble)
            admitted = self.admission.step(batch.rows, actions)
            if actions.any():
                self._deferred(admitted, actions, spans)
        with timed("dedup"):
            rows = assignment.deduplicator.step(admitted.process, pending.tally)
        with timed("sequence"):
            assignment.tracker.step(rows.trades, rows.partition)
        if level.enrich:
            with timed("enrich"):
                rows = self.references.table.step(rows)
        pending.add_rows(rows)
        self.budget.spend(len(admitted.process))
        limit = BATCH_TRADES if self.budget.per_s is None else min(BATCH_TRADES, self.budget.per_s * BUDGET_BATCH_S)
        # A record in which nothing can be decoded weighs like one that holds a trade.
        share_of_records = len(fetched) / max(len(fetched), len(batch.rows))
        self._batch_records = max(LEAST_BATCH_RECORDS, round(limit * share_of_records))
        self.totals.records += len(fetched)
        self.totals.trades += len(batch.rows)
        self.totals.by_priority += admitted.counts

    def _deferred(self, admitted: Admitted, actions: np.ndarray, spans: dict[int, tuple[int, int]]) -> None:
        """What the level does not process goes into the pending ledger: shed trades as ranges, spilled ones as rows."""
        assignment, number, shed_mask = self.assignment, self.controller.number, mask_of(actions, SHED)
        if shed_mask:
            entries = self.admission.shed_entries(admitted.shed, spans, number, shed_mask)
            assignment.pending.add_shed(admitted.shed, entries)
        assignment.pending.add_spilled(admitted.spill, mask_of(actions, SPILL), number)
        assignment.tracker.note_deferred(admitted.shed.trades, admitted.shed.partition)
        assignment.tracker.note_deferred(admitted.spill.trades, admitted.spill.partition)

    def _backfill(self) -> None:
        """Settle a part of the ledger: at NORMAL, or when Kafka is about to delete what it holds, or when told to.

        Only between commits, so that the ledger is known, and so much to a commit, which bounds the rate.
        """
        assignment = self.assignment
        if self.committer.busy or assignment.pending.backfilled or assignment.pending.shed or not self.ledger.entries:
            return
        outstanding = assignment.outstanding(assignment.checkpoints)
        if not (self.plan.backfill or self.controller.number == 0 or self.retention.presses(outstanding)):
            return
        wanted = round(self.plan.profile.degradation.deferral.backfill_per_s * self._commit_interval_s())
        for part in assignment.recovery.parts(outstanding, wanted, self.clock.now_us()):
            enriched = part.enriched(self.references.table.step) if self.controller.level.enrich else part
            assignment.pending.add_backfilled(enriched)
            resolved = sum(entry.count - (left.count if left else 0) for entry, left in part.resolved)
            assignment.tracker.note_backfilled(part.rows.trades, part.rows.partition, resolved)

    def _commit_interval_s(self) -> float:
        """The profile's, and no shorter than the table's one checkpoint takes from so many consumers."""
        interval_s = self.plan.profile.consumer.commit_interval_s
        return interval_s if self.assignment.alone else max(interval_s, HEAD_TAKES_S * self.assignment.consumers)

    def _submit_if_due(self) -> None:
        pending = self.assignment.pending
        if self.committer.busy or pending.empty:
            return
        interval_s = max(self._commit_interval_s(), 2 * self.committer.typical_s())
        waited_s = self.clock.monotonic_s() - self._last_submit_s
        full = pending.held >= self.plan.profile.consumer.commit_rows
        if waited_s >= interval_s or full or self.plan.backfill or self._reached_goal():
            self._submit()

    def _submit(self) -> None:
        assignment = self.assignment
        self._last_submit_s = self.clock.monotonic_s()
        pending, assignment.pending = assignment.pending, Pending(self.topic, self.epoch)
        assignment.deduplicator.seal()
        pending.sequence_cut = assignment.state_sync.cut()
        self.committer.submit(pending, assignment.checkpoints, whole=assignment.alone)

    def _collect(self, *, wait_s: float | None = 0.0) -> None:
        finished = self.committer.collect(wait_s=wait_s)
        if finished is not None:
            self._note(finished)

    def _note(self, finished: Finished) -> None:
        """Take note of a commit: checkpoints, totals, and the advisory offsets in Kafka's group."""
        committed, assignment = finished.committed, self.assignment
        self.steps.add("commit", finished.seconds)
        if committed.checkpoints.sequence_number < assignment.checkpoints.sequence_number:
            raise _turned_back(committed.checkpoints.sequence_number, assignment.checkpoints.sequence_number)
        assignment.checkpoints = committed.checkpoints
        if committed.fenced:
            self._fenced(committed)
        else:
            assignment.deduplicator.publish()
            assignment.dedup_saver.note_commit(committed.checkpoints, committed.commit_id)
            assignment.dedup_saver.save_if_due(assignment.deduplicator)
        moved = fences_moved(committed.checkpoints, self.topic, self.epoch, committed.commit_id)
        assignment.state_sync.committed(finished.pending.sequence_cut, moved)
        if finished.pending.backfilled:
            assignment.tracker.review_explained()
        if committed.snapshot_id is not None:
            self.totals.add(committed, finished.pending, finished.seconds, self.clock.now_us())
        ends = {partition: fence.offset for partition, fence in moved.items()}
        assignment.committed_offsets.update(ends)
        assignment.reader.advise(ends)

    def _fenced(self, committed: Committed) -> None:
        """Others have moved a part of what was to be committed; in a group that happens, and the assignment begins
        anew."""
        self.totals.fenced += 1
        if not self.assignment.alone:
            self.assignment.pending = Pending(self.topic, self.epoch)
            self.assignments.invalidate()
            return
        by_partition = committed.checkpoints.by_partition
        for lane in committed.fenced:
            stands, known = (
                by_partition[lane].next_offset if lane in by_partition else 0,
                self.assignment.committed_offsets[lane.partition],
            )
            if stands < known:
                raise FencedError(
                    f"The table stands at offset {stands:,} of partition {lane.partition} of {self.topic}, where this "
                    f"consumer knew it at {known:,}: it was rolled back, or the partition's epoch was retired.",
                    "See: k2ctl lake status. Go on from there with: k2ctl consume",
                )
        lanes = ", ".join(str(lane.partition) for lane in committed.fenced)
        raise FencedError(
            f"Another consumer has committed partitions {lanes} of {self.topic} in the meantime; "
            "what this one had read of them was dropped, so nothing is stored twice.",
            "See who it is: k2ctl watch --once. To assignment the topic, start each with: k2ctl consume --group",
        )

    def _update_level(self) -> None:
        lag, dedup = self.lag_trades(), self.assignment.deduplicator.statistics()
        slope = self.slope.add(lag) if lag is not None else 0.0
        self.controller.update(
            PressureSignals(
                lag_trades=None if lag is None else self._lag_window.add(lag),
                memory=self.memory.share(dedup["bytes"], dedup["planned_bytes"]),
                lag_seconds=self.assignment.reader.age_at_position_s(critical=False),
                slope=slope,
                trouble=self.spiller.trouble,
            )
        )

    def _reached_goal(self) -> bool:
        if self.plan.backfill:
            return not self.ledger.entries and self.assignment.pending.empty and not self.committer.busy
        return self._goal is not None and self.assignments.is_current and self.assignment.reached(self._goal)

    def _drain(self, *, hurry: bool) -> None:
        """Commit everything that was read; in a hurry, what a second is enough for."""
        deadline_s = self.clock.monotonic_s() + STOP_WITHIN_S
        if hurry:
            self.spiller.give_up()
        self._collect(wait_s=None)
        pending = self.assignment.pending
        if pending.empty:
            return
        if hurry and self.clock.monotonic_s() + self.committer.expected_s(pending.rows) > deadline_s:
            self.totals.left_in_kafka = pending.rows
            return
        self._submit()
        self._collect(wait_s=None)

    def _revoke(self, within_s: float) -> bool:
        """Commit what is in hand before others read on; False when that would take longer."""
        deadline_s = self.clock.monotonic_s() + within_s
        self._collect(wait_s=within_s)
        pending = self.assignment.pending
        if self.committer.busy or pending.empty:
            return not self.committer.busy
        if self.clock.monotonic_s() + self.committer.expected_s(pending.rows) > deadline_s:
            return False
        self._submit()
        self._collect(wait_s=max(0.0, deadline_s - self.clock.monotonic_s()))
        return not self.committer.busy

    def _close(self) -> None:
        self.maintenance.stop()
        self.committer.close()
        self.assignments.close()
        self._platform.lake.close()

    def counts(self) -> Counts:
        """The terms of the identity, for this topic and epoch, as committed."""
        by_partition = [
            checkpoint
            for lane, checkpoint in self.assignment.checkpoints.by_partition.items()
            if lane[:2] == (self.topic, self.epoch)
        ]
        return sum((checkpoint.counts for checkpoint in by_partition), Counts())

    def trades_per_record(self) -> float:
        """The mean so far; 1 before the first record."""
        return self.totals.trades / self.totals.records if self.totals.trades else 1.0

    def lag_trades(self) -> int | None:
        """Trades not yet admitted, over the partitions that are held; None while a watermark is unknown."""
        records = self.assignment.reader.lag_records()
        return None if records is None else round(records * self.trades_per_record())
