"""What a consumer does with a batch (design, section 4, steps 1 to 5), and what it remembers of the trades.

Message ids for deduplication and numbers for sequences follow the same way: restored from their store and the table
when partitions are assigned; fed by every batch; sealed into a checkpoint; published once that checkpoint is committed.
So no store ever holds more than the table does.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from k2ctl.clock import Clock
from k2ctl.consume.pending_checkpoint import PendingCheckpoint
from k2ctl.consume.platform import Platform
from k2ctl.consume.priority_lanes import PriorityReader
from k2ctl.dedup.chunk_plan import ChunkPlan
from k2ctl.dedup.deduplicator import HybridDeduplicator, Memory
from k2ctl.dedup.saved_state import DedupSaver, restore
from k2ctl.deferred.admission import SHED, SPILL, Admitted, mask_of
from k2ctl.deferred.backfill import Backfilled
from k2ctl.domain.checkpoint import Checkpoints
from k2ctl.domain.dedup_status import DedupStatus
from k2ctl.domain.ledger import DeferredRange
from k2ctl.domain.rows import Rows
from k2ctl.domain.status_parts import SequenceCounts, StateSyncStatus
from k2ctl.feeds.decode import decode_batch
from k2ctl.kafka.dead_letters import DeadLetter
from k2ctl.kafka.reader import Fetched, Hole
from k2ctl.kafka.registry import RegistryUnanswered
from k2ctl.lake.stored_lookup import SuspectLookup
from k2ctl.lake.written_offer import Committed
from k2ctl.memory import release_freed
from k2ctl.profiles.model import SequenceSettings
from k2ctl.sequence.channels import Gap, Priorities, is_deferred
from k2ctl.sequence.gathered import GatheredSteps
from k2ctl.sequence.state_sync import SequenceCut, StateSync, fences_at, fences_moved
from k2ctl.sequence.store_view import open_store
from k2ctl.sequence.symbol_state import rebuild
from k2ctl.sequence.tracker import SequenceTracker
from k2ctl.timing import Every


@dataclass(frozen=True)
class StateSnapshot:
    """What is remembered of the trades, by the names that a consumer's status has for it."""

    sequence: SequenceCounts
    state: StateSyncStatus
    dedup: DedupStatus
    # Why what deduplication remembers could not be saved; empty if it could.
    dedup_save_error: str


@dataclass
class TradeState:
    """Deduplicator and sequence tracker of one assignment, each with what saves it."""

    topic: str
    epoch: str
    numbers: GatheredSteps
    state_sync: StateSync
    deduplicator: HybridDeduplicator
    dedup_saver: DedupSaver
    suspects: SuspectLookup
    restored_rows: int
    """Rows that were read from the table to restore this."""
    chunks: ChunkPlan
    clock: Clock
    has_stopped: bool = False
    """True once sequence state is published no more."""

    @classmethod
    def restore(
        cls, platform: Platform, checkpoints: Checkpoints, offsets: Mapping[int, int], member: Collection[int] | None
    ) -> "TradeState":
        """Restore from the state store, the saved files of deduplication, and the rows of the table.

        offsets: where each partition is read from. member: the partitions, if a group assigned them; None for all.

        Raises:
            LakeError: the table does not answer.
        """
        lake, topic, epoch, clock = platform.lake, platform.topic, platform.epoch, platform.clock
        tracker = SequenceTracker(clock, settings=_followed(platform.plan.profile.topic.sequence, member))
        store = open_store(platform.plan.state or platform.endpoints.state_url, platform.table_id, topic)
        state_sync = StateSync(store, tracker, clock)
        since_us = clock.now_us() - platform.chunks.window_us
        covered = state_sync.restore(fences_at(checkpoints, topic, epoch, offsets), since_us)
        behind = [partition for partition, offset in offsets.items() if covered.get(partition) != offset]
        rebuild(lake, topic, behind, since_us, tracker, epoch, covered)
        restored = restore(lake, topic, offsets, platform.chunks, clock)
        suspects = SuspectLookup(lake, clock)
        deduplicator = HybridDeduplicator(restored.memory, suspects, clock)
        who = () if member is None else (platform.plan.consumer_id, member)
        saver = DedupSaver(restored.folder, topic, platform.chunks, restored.checkpoints, clock, *who)
        numbers, rows, chunks = GatheredSteps(tracker), restored.rows, platform.chunks
        return cls(topic, epoch, numbers, state_sync, deduplicator, saver, suspects, rows, chunks, clock)

    @property
    def tracker(self) -> SequenceTracker:
        """Follows the venue's numbers; it has followed all trades by now."""
        return self.numbers.tracker

    def begin(self) -> None:
        """Start publishing: what is known now is what is committed."""
        self.state_sync.begin()
        release_freed()

    def seal(self) -> SequenceCut:
        """A checkpoint is about to be committed: returns what its trades changed in the sequence state."""
        self.deduplicator.seal()
        self.numbers.follow()
        return self.state_sync.cut()

    def publish(self, sequence_cut: SequenceCut, committed: Committed, *, has_backfill: bool) -> dict[int, int]:
        """A sealed checkpoint is committed: its state may be published. Returns the offsets of its partitions now.

        has_backfill: it resolved ranges of the ledger, so a gap that they explained may be an open one now.
        """
        if not committed.fenced:
            self.deduplicator.publish()
            self.dedup_saver.note_commit(committed.checkpoints, committed.commit_id)
            self.dedup_saver.save_if_due(self.deduplicator)
        moved = fences_moved(committed.checkpoints, self.topic, self.epoch, committed.commit_id)
        self.state_sync.committed(sequence_cut, moved)
        if has_backfill:
            self.tracker.review_explained()
        return {partition: fence.offset for partition, fence in moved.items()}

    def save(self) -> None:
        """Save what deduplication remembers: whoever is assigned these partitions next reads it instead of rows."""
        self.dedup_saver.save(self.deduplicator)

    def remember(self, rows: Rows) -> Rows:
        """Backfilled rows that are not stored yet; as `HybridDeduplicator.remember`."""
        return self.deduplicator.remember(rows)

    def release(self) -> None:
        """Publish what is left of sequence state, if that is quick, and free what deduplication remembers."""
        self._stop_publishing()
        forgetful = HybridDeduplicator(Memory.empty(self.chunks), self.suspects, self.clock)
        forgetful.count_on(self.deduplicator)
        self.deduplicator = forgetful

    def close(self) -> None:
        """Publish what is left of sequence state, if that is quick, and close what looks up suspects in the table."""
        self._stop_publishing()
        self.suspects.close()

    def _stop_publishing(self) -> None:
        if not self.has_stopped:
            self.has_stopped = True
            self.state_sync.close()

    def explain_by(self, outstanding: Callable[[], Sequence[DeferredRange]], priorities: Priorities) -> None:
        """Explain gaps by the ledger. outstanding: the entries of these partitions, as they are when called."""
        channels = self.tracker.channels

        def is_outstanding(channel: int, gap: Gap) -> bool:
            partition = (self.topic, int(channels.partition[channel]))
            return is_deferred(outstanding(), partition, channels.symbol(channel), gap, priorities)

        self.tracker.explain_by(is_outstanding)

    def note_backfilled(self, part: Backfilled) -> None:
        """Trades that were deferred are about to be stored."""
        self.tracker.note_backfilled(part.rows.trades, part.rows.partition, part.resolved_trades)

    def snapshot(self) -> StateSnapshot:
        """The state as it stands."""
        saving = self.dedup_saver.last_error
        return StateSnapshot(self.tracker.counts(), self.state_sync.snapshot(), self.deduplicator.statistics(), saving)

    def count_on(self, before: "TradeState") -> None:
        """Begin the totals where the state of this consumer's previous assignment ended."""
        self.tracker.count_on(before.tracker)
        self.deduplicator.count_on(before.deduplicator)


def _followed(declared: SequenceSettings | None, member: Collection[int] | None) -> SequenceSettings | None:
    """What a consumer can follow of the numbers. A member of a group reads some partitions, so of a counter over all it
    sees only that its numbers rise; `k2ctl gaps` sees them all."""
    if member is None or declared is None or not declared.spans_partitions:
        return declared
    return SequenceSettings(numbers="ordered", session=declared.session)


BATCH_TRADES: Final = 30_000
"""Trades that go through the steps together, about: enough to make numpy's fixed costs small."""

SMALL_BATCH: Final = 2_000
"""Records, and trades, below which what a batch costs is mostly for the batch."""

LEAST_BATCH_RECORDS: Final = 100
"""The size of the first batch, and the smallest: how many trades a record holds is not known before it."""


ASK_AGAIN_S: Final = 1.0
"""How long a registry that did not answer is left alone."""

IDLE_S: Final = 0.005

CRITICAL_FIRST_FROM: Final = 3
"""From AGGRESSIVE on the CRITICAL lane is read first, and the others with what is left (design, section 5)."""


@dataclass(frozen=True)
class Read:
    """A batch as it was read, with the positions around the fetch and what was missing; see `note_read`."""

    fetched: Fetched
    before: Mapping[int, int]
    after: Mapping[int, int]
    holes: Sequence[Hole]
    oldest_critical_ms: int | None


class BatchProcessor:
    """Reads batches and takes them into a pending checkpoint; what they teach goes into the assignment's state."""

    def __init__(self, platform: Platform, reader: PriorityReader, state: TradeState) -> None:
        self._platform = platform
        self._reader = reader
        self._state = state
        self.batch_records = LEAST_BATCH_RECORDS
        """Records to read next, by the trades that the last ones held."""
        self.had_little = False
        """True if the last batch was a small one, and all that there was."""
        self._held: Read | None = None
        self._ask_again = Every(ASK_AGAIN_S, platform.clock)
        self.unanswered: RegistryUnanswered | None = None
        """Why the batch that was read last cannot be decoded yet; None while all can."""
        self.unanswered_since_s = 0.0

    @property
    def is_held(self) -> bool:
        """True while a batch waits for a registry."""
        return self._held is not None

    def read_into(self, checkpoint: PendingCheckpoint) -> None:
        """Read a batch, and take it through the steps.

        A batch whose schemas the registry does not give now is held, and is what is read next: no checkpoint has it.
        """
        if self._held is not None and not self._ask_again.due():
            self._platform.clock.sleep(IDLE_S)
            return
        read = self._held or self._read()
        decoded, dead_letters = Rows.empty(self._platform.topic, self._platform.epoch), list[DeadLetter]()
        try:
            if len(read.fetched):
                with self._platform.steps.timed("decode"):
                    decoded, dead_letters = self._decoded(read.fetched, checkpoint)
        except RegistryUnanswered as error:
            if self._held is None:
                self.unanswered_since_s = self._platform.clock.monotonic_s()
            self._held, self.unanswered = read, error
            return
        self._held = self.unanswered = None
        spans = checkpoint.note_read(read.fetched, read.before, read.after, read.holes, read.oldest_critical_ms)
        if len(read.fetched):
            checkpoint.add_dead_letters(dead_letters)
            self.process(read.fetched, decoded, spans, checkpoint)

    def _read(self) -> Read:
        reader, before = self._reader, self._reader.positions
        fetched = reader.fetch(
            self.batch_records,
            self._platform.plan.profile.consumer.fetch_batch,
            critical_first=self._platform.pressure.number >= CRITICAL_FIRST_FROM,
        )
        self.had_little = len(fetched) < min(self.batch_records, SMALL_BATCH)
        if self._platform.retention.room is not None:
            self._platform.retention.room.note_read(fetched)
        return Read(fetched, before, reader.positions, reader.holes(), reader.oldest_critical_ms)

    def process(
        self, fetched: Fetched, decoded: Rows, spans: Mapping[int, tuple[int, int]], checkpoint: PendingCheckpoint
    ) -> None:
        """Take the trades of n records through the steps. spans: what was read of each partition, see `note_read`."""
        platform, timed = self._platform, self._platform.steps.timed
        with timed("admit"):
            admitted = self._admitted(decoded, spans, checkpoint)
        with timed("dedup"):
            rows = self._state.deduplicator.step(admitted.process, checkpoint.tally)
        with timed("sequence"):
            self._state.numbers.step(rows.trades, rows.partition)
        if platform.pressure.level.enrich:
            with timed("enrich"):
                rows = platform.references.table.step(rows)
        checkpoint.add_rows(rows)
        self._account(len(fetched), len(decoded), admitted)

    def _decoded(self, fetched: Fetched, checkpoint: PendingCheckpoint) -> tuple[Rows, list[DeadLetter]]:
        platform = self._platform
        return decode_batch(
            fetched,
            platform.topic,
            platform.epoch,
            platform.kafka_time.now_us(fetched.newest_ms),
            checkpoint.tally,
            platform.decoder,
            platform.kafka_time.checked_us,
        )

    def _admitted(self, rows: Rows, spans: Mapping[int, tuple[int, int]], checkpoint: PendingCheckpoint) -> Admitted:
        """Divide by the level. What it defers goes into the checkpoint: shed trades as ranges, spilled ones as rows."""
        admission, pressure = self._platform.admission, self._platform.pressure
        spill_works = not self._platform.spiller.trouble
        actions = admission.actions(pressure.level, spill_works=spill_works)
        admitted = admission.step(rows, actions)
        if len(admitted.shed) and not self._platform.retention.fits(np.unique(admitted.shed.partition).tolist()):
            actions = admission.actions(pressure.level, fits=False, spill_works=spill_works)
            admitted = admission.step(rows, actions)
        if actions.any():
            shed_mask = mask_of(actions, SHED)
            if shed_mask:
                entries = admission.shed_entries(admitted.shed, spans, pressure.number, shed_mask)
                checkpoint.add_shed(admitted.shed, entries)
            checkpoint.add_spilled(admitted.spill, mask_of(actions, SPILL), pressure.number)
            for deferred in (admitted.shed, admitted.spill):
                self._state.tracker.note_deferred(deferred.trades, deferred.partition)
        return admitted

    def _account(self, records: int, trades: int, admitted: Admitted) -> None:
        """Count the batch, and choose the size of the next."""
        pressure, totals = self._platform.pressure, self._platform.totals
        pressure.budget.spend(len(admitted.process))
        # A record in which nothing can be decoded weighs like one that holds a trade.
        wanted = pressure.batch_limit(BATCH_TRADES) * records / max(records, trades)
        self.batch_records = max(LEAST_BATCH_RECORDS, round(wanted))
        self.had_little &= trades < SMALL_BATCH
        totals.records += records
        totals.trades += trades
        totals.by_priority += np.asarray(admitted.counts)
