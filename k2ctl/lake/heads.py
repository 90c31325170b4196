"""How far the table has read: per topic, epoch and partition the next offset and what became of the trades.

This is the only truth about progress. It lives in one table property and moves only together with a snapshot.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, fields, replace
from typing import Final, NamedTuple

import orjson

from k2ctl.errors import LakeError

PROPERTY: Final = "k2.offsets"
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
    """What one commit does to a lane: from the offset it started at to the next one to read."""

    start: int
    end: int
    counts: Counts


@dataclass(frozen=True)
class Progress:
    """The property as a value: every head, and the commit and sequence number it was written with."""

    commit_id: str = ""
    sequence_number: int = 0
    heads: Mapping[Lane, Head] = field(default_factory=dict)

    def advanced(self, advances: Mapping[Lane, Advance], commit_id: str, sequence_number: int) -> "Progress":
        """The progress after a commit."""
        heads = dict(self.heads)
        for lane, advance in advances.items():
            before = heads.get(lane)
            counts = advance.counts if before is None else before.counts + advance.counts
            heads[lane] = Head(advance.end, counts, commit_id)
        return Progress(commit_id, sequence_number, heads)

    def retired(self, topic: str, epoch: str, lost: int) -> "Progress":
        """Fold the lanes of an epoch that is gone into one entry; `lost` trades of it were never read."""
        total = Counts(seen=lost, lost=lost)
        heads = dict(self.heads)
        for lane in [lane for lane in heads if lane.topic == topic and lane.epoch == epoch]:
            total += heads.pop(lane).counts
        heads[Lane(topic, epoch, RETIRED_PARTITION)] = Head(0, total, self.commit_id)
        return replace(self, heads=heads)

    def epochs(self, topic: str) -> set[str]:
        """The epochs of a topic that are still being read."""
        return {lane.epoch for lane in self.heads if lane.topic == topic and lane.partition != RETIRED_PARTITION}

    def total(self) -> Counts:
        """The counts of all lanes together."""
        return sum((head.counts for head in self.heads.values()), Counts())

    def dumps(self) -> str:
        """The property's text."""
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
