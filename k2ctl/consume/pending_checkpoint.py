"""The checkpoint in the making: all that was read since the last one, and how it is committed."""

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import numpy as np

from k2ctl.consume.group_commit.author import OfferAuthor
from k2ctl.dedup.shared.settled import Settled
from k2ctl.dedup.shared.settlement import Settlement
from k2ctl.deferred.backfill import Backfilled
from k2ctl.deferred.spill_files import Spiller
from k2ctl.domain.checkpoint import Checkpoints, Counts, OffsetDelta, Tally, TopicPartition
from k2ctl.domain.ledger import DeferredRange, LedgerChange, in_one_step
from k2ctl.domain.reasons import cause_of
from k2ctl.domain.rows import Rows
from k2ctl.kafka.dead_letters import DeadLetter, DeadLetters
from k2ctl.kafka.reader import Fetched, Hole
from k2ctl.lake.writer import TableWriter
from k2ctl.lake.written_offer import Committed
from k2ctl.sequence.state_sync import SequenceCut

LOG: Final = logging.getLogger("k2ctl.consume")

CAUSES_LOGGED: Final = 10
"""Of one commit's dead letters: the most frequent reasons, each with its first record."""


class StateToCommit(Protocol):
    """The state of deduplication and sequences: `TradeState` is one."""

    def seal(self) -> SequenceCut:
        """What the trades since the last call changed."""
        ...

    def publish(self, sequence_cut: SequenceCut, committed: Committed, *, has_backfill: bool) -> dict[int, int]:
        """The change is committed; returns the offsets of its partitions now."""
        ...


@dataclass(frozen=True)
class CommitTargets:
    """Where the parts of a checkpoint go."""

    dead_letters: DeadLetters
    spiller: Spiller
    writer: TableWriter
    author: OfferAuthor | None = None
    """Who announces it, where other consumers share the table."""
    settlement: Settlement | None = None
    """Where copies are looked for in the partitions of other consumers, too."""


@dataclass
class PendingCheckpoint:
    """One commit in the making: filled batch by batch, then committed once.

    It is committed in these steps; 1 and 7 on the consumer's thread, the others on the committing thread, so that the
    consumer goes on filling the next checkpoint meanwhile:

    1. `seal`: the deltas of deduplication and sequence state are taken. Nothing is added from here on.
    2. `store`: where deduplication spans partitions of other consumers, copies of what these store are taken out.
    3. Dead letters are published and acknowledged by Kafka.
    4. Spilled rows are made durable on disk.
    5. Rows, offsets, counts and ledger go into the table in one transaction, which is the commit.
    6. Spill files that the ledger does not name any more are deleted.
    7. `publish`: the state deltas are marked as committed, and may be published to their stores.

    A crash before 5 leaves everything to be read again; a crash after it loses only what 6 and 7 make good later.
    """

    topic: str
    epoch: str
    tally: Tally = field(default_factory=Tally)
    parts: list[Rows] = field(default_factory=list)
    """Rows to store."""
    spilled: list[Rows] = field(default_factory=list)
    """Rows to defer on disk."""
    spilled_priorities: int = 0
    """The priorities of the spilled rows, as bits."""
    shed: list[DeferredRange] = field(default_factory=list)
    """Ranges that stay in Kafka."""
    backfilled: list[Backfilled] = field(default_factory=list)
    """Parts of the ledger that this commit resolves."""
    dead_letters: list[DeadLetter] = field(default_factory=list)
    start: dict[int, int] = field(default_factory=dict)
    """The first offset that was read, per partition."""
    end: dict[int, int] = field(default_factory=dict)
    """The offset after the last one that was read, per partition."""
    rows: int = 0
    """Rows in memory, to store or to spill."""
    level: int = 0
    """The highest level at which rows were spilled."""
    oldest_ms: int | None = None
    """The earliest record timestamp among what was read."""
    oldest_critical_ms: int | None = None
    """The same of the CRITICAL lane."""
    _base: Checkpoints = field(default_factory=Checkpoints)
    """The table as it stood when this was sealed."""
    _sequence_cut: SequenceCut = field(default_factory=dict)
    """The delta of the sequence state."""

    def note_read(
        self,
        fetched: Fetched,
        before: Mapping[int, int],
        after: Mapping[int, int],
        holes: Sequence[Hole],
        oldest_critical_ms: int | None,
    ) -> dict[int, tuple[int, int]]:
        """Move the ends of the partitions as far as they were read, which may be past more than records.

        before, after: positions around the fetch. Offsets that were passed and brought no record are a hole, before,
        behind or between the records, or never were trades: marks of transactions, aborted or compacted records.
        Returns what was read of each partition, without holes.
        """
        moved = {partition: (before[partition], end) for partition, end in after.items() if end != before[partition]}
        for partition, (start, end) in moved.items():
            self.start.setdefault(partition, start)
            self.end[partition] = end
        for hole in holes:
            self._count_lost(hole)
            moved.pop(hole.partition, None)
        self.oldest_ms = min((ms for ms in (self.oldest_ms, fetched.oldest_ms) if ms is not None), default=None)
        if self.oldest_critical_ms is None:
            self.oldest_critical_ms = oldest_critical_ms
        return moved | _spans(fetched, {hole.partition for hole in holes})

    def note_starts(self, offsets: Mapping[int, int]) -> None:
        """Partitions that the table does not know yet, and where they are read from."""
        self.start.update(offsets)
        self.end.update(offsets)

    def _count_lost(self, hole: Hole) -> None:
        """Count what retention deleted before it was read; a record there is counted as one trade."""
        where, amount = np.array([hole.partition], np.int32), np.array([hole.first - hole.asked])
        LOG.warning(
            "partition %d: offsets %d to %d were deleted by retention before they were read",
            hole.partition,
            hole.asked,
            hole.first,
        )
        self.tally.add("seen", where, amount)
        self.tally.add("lost", where, amount)

    def add_rows(self, rows: Rows) -> None:
        """Rows to store."""
        if len(rows):
            self.tally.add("stored", rows.partition)
            self.parts.append(rows)
            self.rows += len(rows)

    def add_spilled(self, rows: Rows, priorities: int, level: int) -> None:
        """Rows to defer on disk, of the given priorities (as bits)."""
        if len(rows):
            self.spilled.append(rows)
            self.spilled_priorities |= priorities
            self.level = max(self.level, level)
            self.rows += len(rows)

    def add_shed(self, rows: Rows, entries: list[DeferredRange]) -> None:
        """Rows that stay in Kafka, and the ranges they are in."""
        self.tally.add("shed", rows.partition)
        self.shed += entries

    def add_backfilled(self, part: Backfilled) -> None:
        """A resolved part of the ledger."""
        self.backfilled.append(part)
        self.rows += len(part.rows)

    def add_dead_letters(self, dead_letters: list[DeadLetter]) -> None:
        """What could not become trades."""
        self.dead_letters += dead_letters

    @property
    def held(self) -> int:
        """Rows and dead letters in memory."""
        return self.rows + len(self.dead_letters)

    @property
    def is_empty(self) -> bool:
        """True if there is nothing to commit."""
        return not self.end and not self.backfilled

    @property
    def changes_ledger(self) -> bool:
        """True if the commit resolves or adds ranges that were not spilled."""
        return bool(self.backfilled or self.shed)

    @property
    def backfilled_rows(self) -> int:
        """Rows to store that had been deferred."""
        return sum(len(part.rows) for part in self.backfilled)

    def seal(self, state: StateToCommit, base: Checkpoints) -> None:
        """Step 1. base: the table as this consumer knows it, on which the commit is to be put."""
        self._sequence_cut, self._base = state.seal(), base

    def store(self, targets: CommitTargets, *, whole: bool, directly: bool = False) -> Committed:
        """Steps 2 to 6. whole: as `TableWriter.commit`. directly: by no committer, because no other consumer runs.

        Raises:
            SettlementGivenUp: this consumer does not wait for what others claim any longer; nothing was stored.
        """
        # 2. Copies of what other consumers store. They are copies on condition that the commit succeeds as a whole.
        settled = self._settled(targets.settlement) if targets.settlement is not None else None
        # 3. Dead letters.
        if self.dead_letters:
            targets.dead_letters.publish(self.dead_letters)
            _log_dead_letters(self.dead_letters)
        # 4. Spilled rows.
        spilled = targets.spiller.spill(self.spilled, self.level, self.spilled_priorities, self.tally)
        # 5. The transaction. From here on the rows are held once, and not as parts and as a whole.
        if self.parts:
            self.parts = [Rows.joined(self.parts)]
        change = self._ledger_change(spilled)
        through = targets.writer if directly or targets.author is None else targets.author
        is_whole = whole or settled is not None
        committed = through.commit(self.batches(), self.deltas(self._base), change, whole=is_whole)
        if targets.settlement is not None and settled is not None:
            targets.settlement.confirm(settled, committed)
        # 6. Spill files that are not named any more. What was announced may still be taken if the table is rolled back.
        own = {entry.spill for entry in spilled if entry.spill and not committed.announced}
        named = self._base.ledger.spill_files | own
        targets.spiller.delete(named - committed.checkpoints.ledger.spill_files)
        return committed

    def _settled(self, settlement: Settlement) -> Settled:
        """Step 2: what turns out to be a copy is not stored, and counted as one."""
        parts = [*self.parts, *(part.rows for part in self.backfilled)]
        settled = settlement.settle(parts, self.deltas(self._base), self._base)
        for rows, part in zip(self.parts, settled.parts, strict=False):
            self.tally.move("stored", "duplicate", rows.partition[part.copies])
        number = len(self.parts)
        self.parts = [part.rows for part in settled.parts[:number] if len(part.rows)]
        self.backfilled = [
            replace(found.without(part.copies), rows=part.rows)
            for found, part in zip(self.backfilled, settled.parts[number:], strict=True)
        ]
        self.rows -= sum(int(part.copies.sum()) for part in settled.parts)
        return settled

    def publish(self, state: StateToCommit, committed: Committed) -> dict[int, int]:
        """Step 7. Returns per partition the next offset, as committed."""
        return state.publish(self._sequence_cut, committed, has_backfill=bool(self.backfilled))

    def batches(self) -> list[Rows]:
        """Every row to store; one batch for each epoch, because backfilled rows may be of one that is gone."""
        parts = [*self.parts, *(part.rows for part in self.backfilled if len(part.rows))]
        epochs = {(rows.topic, rows.epoch) for rows in parts}
        return [Rows.concatenate([rows for rows in parts if (rows.topic, rows.epoch) == of]) for of in sorted(epochs)]

    def deltas(self, base: Checkpoints) -> dict[TopicPartition, OffsetDelta]:
        """What the commit does to each partition, if the table stands at `base`."""
        known = base.by_partition
        moved = {
            TopicPartition(self.topic, self.epoch, p): (self.start[p], end, self.tally.of(p))
            for p, end in self.end.items()
        }
        for part in self.backfilled:
            for at, counts in part.counts.items():
                partition = base.partition_of(*at)
                stands = known[partition].next_offset
                start, end, before = moved.get(partition, (stands, stands, Counts()))
                moved[partition] = (start, end, before + counts)
        return {
            partition: OffsetDelta(*values, base=known[partition].commit_id if partition in known else None)
            for partition, values in moved.items()
        }

    def _ledger_change(self, spilled: list[DeferredRange]) -> LedgerChange:
        """What the commit does to the ledger."""
        resolved = in_one_step(resolution for part in self.backfilled for resolution in part.resolved)
        return LedgerChange((*self.shed, *spilled), resolved)


def _log_dead_letters(dead_letters: list[DeadLetter]) -> None:
    """Their count by cause, with the first record of each."""
    causes = [cause_of(found.reason) for found in dead_letters]
    first = dict(zip(reversed(causes), reversed(dead_letters), strict=True))
    counted = Counter(causes).most_common(CAUSES_LOGGED)
    said = "; ".join(
        f"{count} × {cause} (first: partition {first[cause].partition}, offset {first[cause].offset})"
        for cause, count in counted
    )
    LOG.warning("%d dead letters: %s", len(dead_letters), said)


def _spans(fetched: Fetched, partitions: Collection[int]) -> dict[int, tuple[int, int]]:
    """From the first to behind the last record of those of some partitions of which records came."""
    offsets = {partition: fetched.offset[fetched.partition == partition] for partition in partitions}
    return {partition: (int(some.min()), int(some.max()) + 1) for partition, some in offsets.items() if len(some)}
