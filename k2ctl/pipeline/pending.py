"""What has been read and not yet committed: rows, counts, letters, and the offsets they lead to."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from k2ctl.broker.dead_letters import DeadLetter
from k2ctl.broker.reader import Fetched, Hole
from k2ctl.lake.heads import Advance, Lane
from k2ctl.pipeline.tally import Tally
from k2ctl.schema.rows import Rows


@dataclass
class Pending:
    """One commit in the making.

    start, end: offsets per partition; [start, end) was read. rows: trades to store. oldest_ms: the earliest record
    timestamp among what was read.
    """

    topic: str
    epoch: str
    tally: Tally = field(default_factory=Tally)
    parts: list[Rows] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    start: dict[int, int] = field(default_factory=dict)
    end: dict[int, int] = field(default_factory=dict)
    rows: int = 0
    oldest_ms: int | None = None

    def note_read(self, fetched: Fetched, positions_before: Mapping[int, int]) -> None:
        """Move the ends of the partitions past what was fetched."""
        if not len(fetched):
            return
        highest = np.full(int(fetched.partition.max()) + 1, -1, np.int64)
        np.maximum.at(highest, fetched.partition, fetched.offset)
        for partition in np.flatnonzero(highest >= 0).tolist():
            self.start.setdefault(partition, positions_before[partition])
            self.end[partition] = int(highest[partition]) + 1
        self.oldest_ms = min((ms for ms in (self.oldest_ms, fetched.oldest_ms) if ms is not None), default=None)

    def note_hole(self, hole: Hole) -> None:
        """Count what retention deleted before it was read; a record there is counted as one trade."""
        self.start.setdefault(hole.partition, hole.asked)
        self.end[hole.partition] = max(hole.first, self.end.get(hole.partition, 0))
        where, amount = np.array([hole.partition], np.int32), np.array([hole.first - hole.asked])
        self.tally.add("seen", where, amount)
        self.tally.add("lost", where, amount)

    def add_rows(self, rows: Rows) -> None:
        """Rows to store."""
        if len(rows):
            self.tally.add("stored", rows.partition)
            self.parts.append(rows)
            self.rows += len(rows)

    @property
    def empty(self) -> bool:
        """Nothing was read."""
        return not self.end

    def all_rows(self) -> Rows:
        """Every row to store, as one batch."""
        return Rows.concatenate(self.parts) if self.parts else Rows.empty(self.topic, self.epoch)

    def advances(self) -> dict[Lane, Advance]:
        """What the commit does to each lane."""
        return {
            Lane(self.topic, self.epoch, partition): Advance(self.start[partition], end, self.tally.of(partition))
            for partition, end in self.end.items()
        }
