"""The consumer: reads, cleans and commits, until it is told to stop.

Every pass of the loop takes a batch through the steps in order: decode, admit, dedup, sequence, enrich; then collects a
finished commit and begins the next. The commit is the last step and the only one that others can see.
"""

import gc
import threading
from collections.abc import Callable

from k2ctl.broker.admin import BrokerAdmin
from k2ctl.broker.dead_letters import DeadLetters
from k2ctl.broker.reader import Fetched
from k2ctl.clock import Clock, SystemClock
from k2ctl.errors import FencedError
from k2ctl.home import Endpoints
from k2ctl.lake.aside import AsideFolder
from k2ctl.lake.catalog import Lake
from k2ctl.lake.expiry import SnapshotRetention
from k2ctl.lake.heads import Counts, Lane, Progress
from k2ctl.lake.ledger import Ledger
from k2ctl.lake.maintenance import BackgroundMaintenance
from k2ctl.lake.progress import progress_of
from k2ctl.lake.suspects import SuspectLookup
from k2ctl.lake.writer import TableWriter
from k2ctl.pipeline.admit import SHED, SPILL, Admission, mask_of
from k2ctl.pipeline.committer import Committer, Finished
from k2ctl.pipeline.decode import decode_batch
from k2ctl.pipeline.dedup import HybridDeduplicator
from k2ctl.pipeline.dedup_plan import plan_chunks
from k2ctl.pipeline.dedup_restore import restore
from k2ctl.pipeline.dedup_saver import DedupSaver
from k2ctl.pipeline.degradation import Controller, LagWindow, Signals
from k2ctl.pipeline.handover import Handover, fences_at, fences_moved
from k2ctl.pipeline.lanes import LaneReader
from k2ctl.pipeline.memory import rebuild
from k2ctl.pipeline.pending import Pending
from k2ctl.pipeline.plan import ConsumerPlan, Totals
from k2ctl.pipeline.pressure import Budget, MemoryGauge, Slope, release_freed
from k2ctl.pipeline.recovery import Recovery
from k2ctl.pipeline.reference_feed import ReferenceFeed
from k2ctl.pipeline.retention import RetentionWatch
from k2ctl.pipeline.sequence import SequenceTracker
from k2ctl.pipeline.spiller import Spiller
from k2ctl.pipeline.start import Beginning, settle_epochs, starting_offsets
from k2ctl.profiles.universe import Universe
from k2ctl.schema.topics import dead_letter_topic, reference_topic, trades_topic
from k2ctl.state.opening import open_store

GROUP = "k2ctl"
BATCH_TRADES = 50_000
"""Trades that go through the steps together, about: enough to make numpy's fixed costs small."""

BUDGET_BATCH_S = 0.1
IDLE_S = 0.005
STOP_WITHIN_S = 1.0
"""What a stop may take, of two seconds in all, to commit what is in hand; the rest is left in Kafka."""

CRITICAL_FIRST_FROM = 3
"""From AGGRESSIVE on the CRITICAL lane is read first, and the others with what is left (design, section 5)."""


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
        self.budget = Budget(plan.budget, self.clock)
        self.memory = MemoryGauge(plan.profile.consumer.memory_limit_mb, self.clock)
        self.slope = Slope(self.clock)
        self._chunks = plan_chunks(plan.profile.consumer)
        self._open()

    def _open(self) -> None:
        """Connect, find out where to begin, and remember what the table remembers."""
        profile, topic = self.plan.profile, self.topic
        self._lake = Lake.at(self.endpoints)
        self.references = ReferenceFeed(self.endpoints, self._reference_topic, self._lake, self.clock)
        writer = TableWriter(self._lake, self.clock, SnapshotRetention.from_profile(profile.lake.expire))
        with BrokerAdmin(self.endpoints) as admin:
            admin.create_topic(topic, profile.topic.partitions)
            admin.create_topic(dead_letter_topic(topic), 1)
            admin.create_topic(self._reference_topic, 1, {"cleanup.policy": "compact"})
            self.progress: Progress = progress_of(self._lake.table())
            self.beginning: Beginning = settle_epochs(
                self.endpoints, admin, writer, self.progress, topic, rebase=self.plan.rebase
            )
            self.progress = progress_of(self._lake.table())
            marks = admin.watermarks(topic)
        self.epoch = self.beginning.epoch
        offsets = starting_offsets(self.progress, topic, self.epoch, marks, marks)
        self._remember(offsets)
        self.committed_offsets = dict(offsets)
        highs = {partition: mark.high for partition, mark in marks.items()}
        self._goal = highs if self.plan.until_caught_up else None
        self.reader = LaneReader(
            self.endpoints,
            topic,
            GROUP,
            profile.topic.critical_partitions,
            {} if self.plan.backfill else offsets,
            highs,
        )
        self.pending = Pending(topic, self.epoch)
        if not self.plan.backfill:
            # The first commit names every partition, so that what is deleted before it is read counts as lost.
            self.pending.note_beginnings({p: o for p, o in offsets.items() if not self._knows(p)})
        self._last_submit_s = self.clock.monotonic_s()
        self._open_degradation(writer)

    def _knows(self, partition: int) -> bool:
        return Lane(self.topic, self.epoch, partition) in self.progress.heads

    def _remember(self, offsets: dict[int, int]) -> None:
        self.tracker = SequenceTracker(self.clock)
        platform = str(self._lake.table().metadata.table_uuid)
        store = open_store(self.plan.state or self.endpoints.state_url, platform, self.topic)
        self.handover = Handover(store, self.tracker, self.clock)
        since_us = self.clock.now_us() - self._chunks.window_us
        covered = self.handover.restore(fences_at(self.progress, self.topic, self.epoch, offsets), since_us)
        rebuild(self._lake, self.topic, offsets, since_us, self.tracker, self.epoch, covered)
        restored = restore(self._lake, self.topic, offsets, self._chunks, self.clock)
        self.remembered = restored.rows
        self._suspects = SuspectLookup(self._lake, self.clock)
        self.deduplicator = HybridDeduplicator(restored.memory, self._suspects, self.clock)
        self._dedup_saver = DedupSaver(restored.folder, self.topic, self._chunks, restored.progress, self.clock)
        release_freed()

    def _open_degradation(self, writer: TableWriter) -> None:
        """What becomes of trades under pressure, and how they come back."""
        profile, degradation = self.plan.profile, self.plan.profile.degradation
        self.retention = RetentionWatch(self.endpoints, self.topic, profile.topic.retention_hours, self.clock)
        self.admission = Admission(Universe(profile), can_shed=self.retention.holds_long_enough)
        owed = [entry.priorities for entry in self.ledger.entries]
        self.tracker.excuse(lambda symbol: any(mask >> self.admission.priority(symbol) & 1 for mask in owed))
        self.handover.begin()
        folder = AsideFolder(self._lake.table())
        self.spiller = Spiller(folder, self.admission, degradation.aside.spill_limit_mb * 1_000_000, self.clock)
        self.recovery = Recovery(
            self.endpoints, self._lake, self.admission, self.deduplicator, self.epoch, profile.topic.format
        )
        letters = DeadLetters(self.endpoints, self.topic, self.epoch)
        self.committer = Committer(writer, letters, self.spiller, self.clock)
        self.maintenance = BackgroundMaintenance(lambda: Lake.at(self.endpoints), profile.lake, self.clock)
        divisor = degradation.embedded_divisor if self.endpoints.engine == "embedded" else 1
        self.controller = Controller(degradation, self.clock, divisor)
        self._lag_window = LagWindow(max(2.0, 2 * profile.consumer.commit_interval_s), self.clock)

    @property
    def ledger(self) -> Ledger:
        """What is owed of this topic, as committed."""
        return self.progress.ledger.of(self.topic)

    def run(self, stop: threading.Event, on_tick: Callable[[], None] | None = None) -> Totals:
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
                if on_tick is not None:
                    on_tick()
            self._drain(hurry=stop.is_set())
            self._dedup_saver.save(self.deduplicator)
        finally:
            gc.unfreeze()
            self._close()
        return self.totals

    def _step(self) -> None:
        """One pass: read, clean, commit."""
        self.references.refresh()
        self._update_level()
        full = self.pending.rows >= self.plan.profile.consumer.pending_limit_rows
        if self.budget.exhausted or full or self.plan.backfill:
            self.clock.sleep(IDLE_S)
        else:
            self._read_and_clean()
        self._give_back()
        self._collect()
        self._submit_if_due()

    def _read_and_clean(self) -> None:
        before = self.reader.positions
        limit = BATCH_TRADES if self.budget.per_s is None else min(BATCH_TRADES, self.budget.per_s * BUDGET_BATCH_S)
        fetched = self.reader.fetch(
            max(100, round(limit / self.trades_per_record())),
            self.plan.profile.consumer.fetch_batch,
            critical_first=self.controller.number >= CRITICAL_FIRST_FROM,
        )
        for hole in self.reader.holes():
            self.pending.note_hole(hole)
            before[hole.partition] = max(before[hole.partition], hole.first)
        spans = self.pending.note_read(fetched, before, self.reader.oldest_critical_ms)
        if len(fetched):
            self._clean(fetched, spans)

    def _clean(self, fetched: Fetched, spans: dict[int, tuple[int, int]]) -> None:
        """Steps 1 to 5 of the design's section 4, in their order."""
        pending, level = self.pending, self.controller.level
        batch = decode_batch(
            fetched, self.topic, self.epoch, self.clock.now_us(), pending.tally, self.plan.profile.topic.format
        )
        pending.dead_letters += batch.dead_letters
        actions = self.admission.actions(level, spill_works=not self.spiller.trouble)
        admitted = self.admission.step(batch.rows, actions)
        if actions.any():
            number, shed_mask = self.controller.number, mask_of(actions, SHED)
            if shed_mask:
                entries = self.admission.shed_entries(admitted.shed, spans, number, shed_mask)
                pending.add_shed(admitted.shed, entries)
            pending.add_spilled(admitted.spill, mask_of(actions, SPILL), number)
            self.tracker.put_aside(admitted.shed.trades, admitted.shed.partition)
            self.tracker.put_aside(admitted.spill.trades, admitted.spill.partition)
        rows = self.deduplicator.step(admitted.process, pending.tally)
        self.tracker.step(rows.trades, rows.partition)
        if level.enrich:
            rows = self.references.table.step(rows)
        pending.add_rows(rows)
        self.budget.spend(len(admitted.process))
        self.totals.records += len(fetched)
        self.totals.trades += len(batch.rows)
        self.totals.by_priority += admitted.counts

    def _give_back(self) -> None:
        """Settle a part of the ledger: at NORMAL, or when Kafka is about to delete what it holds, or when told to.

        Only between commits, so that the ledger is known, and so much to a commit, which bounds the rate.
        """
        if self.committer.busy or self.pending.given_back or self.pending.shed or not self.ledger.entries:
            return
        if not (self.plan.backfill or self.controller.number == 0 or self.retention.presses(self.ledger)):
            return
        consumer, aside = self.plan.profile.consumer, self.plan.profile.degradation.aside
        wanted = round(aside.give_back_per_s * consumer.commit_interval_s)
        for part in self.recovery.parts(self.ledger, wanted, self.clock.now_us()):
            enriched = part.enriched(self.references.table.step) if self.controller.level.enrich else part
            self.pending.add_given_back(enriched)
            self.tracker.give_back(sum(entry.count - (left.count if left else 0) for entry, left in part.settled))

    def _submit_if_due(self) -> None:
        consumer = self.plan.profile.consumer
        if self.committer.busy or self.pending.empty:
            return
        interval_s = max(consumer.commit_interval_s, 2 * self.committer.typical_s())
        waited_s = self.clock.monotonic_s() - self._last_submit_s
        at_once = self.plan.backfill or self.pending.rows >= consumer.commit_rows or self._reached_goal()
        if waited_s >= interval_s or at_once:
            self._submit()

    def _submit(self) -> None:
        self._last_submit_s = self.clock.monotonic_s()
        pending, self.pending = self.pending, Pending(self.topic, self.epoch)
        self.deduplicator.seal()
        pending.learnt = self.handover.cut()
        self.committer.submit(pending, self.progress)

    def _collect(self, *, wait: bool = False) -> None:
        finished = self.committer.collect(wait=wait)
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
        self.deduplicator.publish()
        self._dedup_saver.note_commit(committed.progress, committed.commit_id)
        self._dedup_saver.save_if_due(self.deduplicator)
        self.handover.committed(finished.pending.learnt, fences_moved(self.progress, self.topic, self.epoch))
        totals = self.totals
        totals.commits += 1
        totals.stored += committed.stored
        totals.given_back += sum(len(part.rows) for part in finished.pending.given_back)
        totals.written_bytes += committed.written_bytes
        totals.last_commit, totals.last_commit_s = committed, finished.seconds
        totals.commit_times = totals.commit_times.plus(finished.seconds)
        totals.last_commit_at_us = self.clock.now_us()
        self.committed_offsets.update(finished.pending.end)
        self.reader.advise(finished.pending.end)

    def _update_level(self) -> None:
        lag, dedup = self.lag_trades(), self.deduplicator.statistics()
        slope = self.slope.add(lag) if lag is not None else 0.0
        self.controller.update(
            Signals(
                lag_trades=None if lag is None else self._lag_window.add(lag),
                memory=self.memory.share(dedup["bytes"], dedup["planned_bytes"]),
                lag_seconds=self.reader.age_at_position_s(critical=False),
                slope=slope,
                trouble=self.spiller.trouble,
            )
        )

    def _reached_goal(self) -> bool:
        if self.plan.backfill:
            return not self.ledger.entries and self.pending.empty and not self.committer.busy
        if self._goal is None:
            return False
        positions = self.reader.positions
        return all(positions[partition] >= goal for partition, goal in self._goal.items())

    def _drain(self, *, hurry: bool) -> None:
        """Commit everything that was read; in a hurry, what a second is enough for."""
        deadline_s = self.clock.monotonic_s() + STOP_WITHIN_S
        if hurry:
            self.spiller.give_up()
        self._collect(wait=True)
        if self.pending.empty:
            return
        if hurry and self.clock.monotonic_s() + self.committer.expected_s(self.pending.rows) > deadline_s:
            self.totals.left_in_kafka = self.pending.rows
            return
        self._submit()
        self._collect(wait=True)

    def _close(self) -> None:
        self.maintenance.stop()
        self.committer.close()
        self.handover.close()
        self.reader.close()
        self._suspects.close()
        self._lake.close()

    def counts(self) -> Counts:
        """The terms of the identity, for this topic and epoch, as committed."""
        heads = [head for lane, head in self.progress.heads.items() if lane[:2] == (self.topic, self.epoch)]
        return sum((head.counts for head in heads), Counts())

    def trades_per_record(self) -> float:
        """The mean so far; 1 before the first record."""
        return self.totals.trades / self.totals.records if self.totals.trades else 1.0

    def lag_trades(self) -> int | None:
        """Trades not yet admitted, over all partitions; None while a watermark is unknown."""
        records = self.reader.lag_records()
        return None if records is None else round(records * self.trades_per_record())
