"""How far the table has read: per topic, epoch and partition the next offset and what became of the trades.

This is the only truth about progress. It lives in one table property and moves only together with a snapshot.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, fields, replace
from typing import Final, NamedTuple

import orjson

from k2ctl.domain.ledger import Ledger, LedgerChange
from k2ctl.errors import LakeError

PROPERTY: Final = "k2.offsets"
NO_CHANGE: Final = LedgerChange()
SUMMARY_COMMIT_ID: Final = "k2.commit-id"
RETIRED_PARTITION: Final = -1
"""The partition number under which the counts of a whole epoch that is gone are kept."""


class Lane(NamedTuple):
    """One partition of one incarnation of a topic."""

    topic: str
    epoch: str
    partition: int


@dataclass(frozen=True)
class Counts:
    """What became of the trades of a lane. `shed` and `spilled` are what is outstanding.

    `undecodable` counts records, not trades: what cannot be decoded has no trades to count.
    """

    seen: int = 0
    stored: int = 0
    duplicate: int = 0
    shed: int = 0
    spilled: int = 0
    lost: int = 0
    dead_lettered: int = 0
    undecodable: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def balanced(self) -> bool:
        """The accounting identity of the design, section 4, for what has been committed (nothing is pending)."""
        parts = self.stored + self.duplicate + self.shed + self.spilled + self.lost + self.dead_lettered
        return self.seen == parts


COUNT_NAMES: Final = tuple(f.name for f in fields(Counts))


@dataclass(frozen=True)
class Head:
    """Where a lane stands: the next offset to read, its counts, and the commit that moved it last."""

    next_offset: int
    counts: Counts
    commit_id: str


@dataclass(frozen=True)
class Advance:
    """What one commit does to a lane: from the offset it started at to the next one to read.

    base: the commit that moved the lane last, as far as its author knows; None to compare offsets alone. Giving back
    what was put aside moves no offset, so two who do it are told apart by this.
    """

    start: int
    end: int
    counts: Counts
    base: str | None = None


@dataclass(frozen=True)
class Progress:
    """The properties as a value: every head, the commit and sequence number they were written with, the ledger."""

    commit_id: str = ""
    sequence_number: int = 0
    heads: Mapping[Lane, Head] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)

    def advanced(
        self,
        advances: Mapping[Lane, Advance],
        commit_id: str,
        sequence_number: int,
        change: LedgerChange = NO_CHANGE,
    ) -> "Progress":
        """The progress after a commit."""
        heads = dict(self.heads)
        for lane, advance in advances.items():
            before = heads.get(lane)
            counts = advance.counts if before is None else before.counts + advance.counts
            heads[lane] = Head(advance.end, counts, commit_id)
        return Progress(commit_id, sequence_number, heads, self.ledger.changed(change))

    def retired(self, topic: str, epoch: str, lost: int) -> "Progress":
        """Fold the lanes of an epoch that is gone into one entry; `lost` trades of it were never read.

        What was shed is gone with its Kafka, and lost too; what was spilled is still in its files.
        """
        ledger, shed = self.ledger.without_epoch(topic, epoch)
        total = Counts(seen=lost, lost=lost + shed, shed=-shed)
        heads = dict(self.heads)
        for lane in [lane for lane in heads if lane.topic == topic and lane.epoch == epoch]:
            total += heads.pop(lane).counts
        heads[Lane(topic, epoch, RETIRED_PARTITION)] = Head(0, total, self.commit_id)
        return replace(self, heads=heads, ledger=ledger)

    def lane_of(self, topic: str, epoch: str, partition: int) -> Lane:
        """Where the counts of a partition are kept: its own lane, or that of its epoch when that is gone."""
        own, retired = Lane(topic, epoch, partition), Lane(topic, epoch, RETIRED_PARTITION)
        return retired if own not in self.heads and retired in self.heads else own

    def epochs(self, topic: str) -> set[str]:
        """The epochs of a topic that are still being read."""
        return {lane.epoch for lane in self.heads if lane.topic == topic and lane.partition != RETIRED_PARTITION}

    def total(self) -> Counts:
        """The counts of all lanes together."""
        return sum((head.counts for head in self.heads.values()), Counts())

    def dumps(self) -> str:
        """The text of the offsets property; the ledger has its own."""
        heads = [[*lane, head.next_offset, head.commit_id, *astuple(head.counts)] for lane, head in self.heads.items()]
        document = {"commit_id": self.commit_id, "sequence_number": self.sequence_number, "heads": heads}
        return orjson.dumps(document).decode()

    @staticmethod
    def loads(text: str) -> "Progress":
        """Read the property.

        Raises:
            LakeError: it is not ours, or damaged.
        """
        try:
            document = orjson.loads(text)
            heads = {
                Lane(topic, epoch, partition): Head(next_offset, Counts(*counts), commit_id)
                for topic, epoch, partition, next_offset, commit_id, *counts in document["heads"]
            }
            return Progress(document["commit_id"], document["sequence_number"], heads)
        except (ValueError, KeyError, TypeError) as error:
            raise LakeError(
                f"The table property {PROPERTY} cannot be read: {error}", "Look at it with: k2ctl lake status"
            ) from error
