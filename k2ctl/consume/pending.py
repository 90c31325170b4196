"""What has been read and not yet committed: rows, counts, dead letters, what is deferred, and the offsets they lead
to."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from k2ctl.deferred.backfill import Backfilled
from k2ctl.domain.checkpoint import Checkpoints, Counts, OffsetDelta, TopicPartition
from k2ctl.domain.ledger import DeferredRange, LedgerChange, in_one_step
from k2ctl.domain.rows import Rows
from k2ctl.domain.tally import Tally
from k2ctl.kafka.dead_letters import DeadLetter
from k2ctl.kafka.reader import Fetched, Hole
from k2ctl.sequence.state_sync import SequenceCut


@dataclass
class Pending:
    """One commit in the making.

    start, end: offsets per partition; [start, end) was read. oldest_ms, oldest_critical_ms: the earliest record
    timestamp among what was read, of all and of the CRITICAL lane. rows: trades held in memory, to store or to spill.
    sequence_cut: what its trades have taught the sequence tracker, to be published once they are committed.
    """

    topic: str
    epoch: str
    tally: Tally = field(default_factory=Tally)
    parts: list[Rows] = field(default_factory=list)
    spilled: list[Rows] = field(default_factory=list)
    spilled_priorities: int = 0
    shed: list[DeferredRange] = field(default_factory=list)
    backfilled: list[Backfilled] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    start: dict[int, int] = field(default_factory=dict)
    end: dict[int, int] = field(default_factory=dict)
    rows: int = 0
    level: int = 0
    oldest_ms: int | None = None
    oldest_critical_ms: int | None = None
    sequence_cut: SequenceCut = field(default_factory=dict)

    def note_read(
        self,
        fetched: Fetched,
        before: Mapping[int, int],
        after: Mapping[int, int],
        holes: Sequence[Hole],
        oldest_critical_ms: int | None,
    ) -> dict[int, tuple[int, int]]:
        """Move the ends of the partitions as far as they were read, which may be past more than records.

        before, after: positions around the fetch. Offsets that were passed and brought no record are a hole, which may
        lie before, behind or between the records, or never held a trade: marks of transactions, what was aborted or
        compacted. Returns what was read of each partition, without holes.
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

    @property
    def held(self) -> int:
        """What is in memory: rows, and dead letters."""
        return self.rows + len(self.dead_letters)

    @property
    def empty(self) -> bool:
        """There is nothing to commit."""
        return not self.end and not self.backfilled

    def batches(self) -> list[Rows]:
        """Every row to store; one batch for each epoch, because rows may be backfilled of one that is gone."""
        parts = [*self.parts, *(part.rows for part in self.backfilled if len(part.rows))]
        epochs = {(rows.topic, rows.epoch) for rows in parts}
        return [Rows.concatenate([rows for rows in parts if (rows.topic, rows.epoch) == of]) for of in sorted(epochs)]

    def deltas(self, checkpoints: Checkpoints) -> dict[TopicPartition, OffsetDelta]:
        """What the commit does to each lane, if the table stands as `checkpoints` says."""
        moved = {
            TopicPartition(self.topic, self.epoch, p): (self.start[p], end, self.tally.of(p))
            for p, end in self.end.items()
        }
        for part in self.backfilled:
            for at, counts in part.counts.items():
                lane = checkpoints.partition_of(*at)
                stands = checkpoints.by_partition[lane].next_offset
                start, end, before = moved.get(lane, (stands, stands, Counts()))
                moved[lane] = (start, end, before + counts)
        by_partition = checkpoints.by_partition
        return {
            lane: OffsetDelta(*values, base=by_partition[lane].commit_id if lane in by_partition else None)
            for lane, values in moved.items()
        }

    def change(self, spill_entries: list[DeferredRange]) -> LedgerChange:
        """What the commit does to the ledger."""
        resolved = in_one_step(resolution for part in self.backfilled for resolution in part.resolved)
        return LedgerChange((*self.shed, *spill_entries), resolved)


def _spans(fetched: Fetched, partitions: Collection[int]) -> dict[int, tuple[int, int]]:
    """From the first to behind the last record of those of some partitions of which records came."""
    offsets = {partition: fetched.offset[fetched.partition == partition] for partition in partitions}
    return {partition: (int(some.min()), int(some.max()) + 1) for partition, some in offsets.items() if len(some)}
