"""How far the table has read: per topic, epoch and partition the next offset and what became of the trades.

This is the only source of checkpoints. It lives in one table property and moves only together with a snapshot.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Final, NamedTuple

import numpy as np
import orjson

from k2ctl.domain.ledger import Ledger, LedgerChange
from k2ctl.errors import LakeError

PROPERTY: Final = "k2.offsets"
NO_CHANGE: Final = LedgerChange()
SUMMARY_COMMIT_ID: Final = "k2.commit-id"
SUMMARY_OFFERS: Final = "k2.offer-ids"
"""The ids of the offers that a commit took, where it is not the commit of one consumer, whose id is the commit's."""

SUMMARY_COMPACTION_ID: Final = "k2.compaction-id"
SUMMARY_OFFSETS_FILE: Final = "k2.offsets-file"
"""Marks of the snapshots that k2ctl commits, in their summaries."""

RETIRED_PARTITION: Final = -1
"""The partition number under which the counts of a whole epoch that is gone are kept."""


class TopicPartition(NamedTuple):
    """One partition of one incarnation of a topic."""

    topic: str
    epoch: str
    partition: int


@dataclass(frozen=True)
class Counts:
    """What became of the trades of a partition. `shed` and `spilled` are what is outstanding.

    `undecodable` counts records, not trades: what cannot be decoded has no trades to count. `filtered` counts what a
    feed's `where` says is no trade, records or parts of one. Neither is a term of the balance.
    """

    seen: int = 0
    stored: int = 0
    duplicate: int = 0
    shed: int = 0
    spilled: int = 0
    lost: int = 0
    dead_lettered: int = 0
    undecodable: int = 0
    filtered: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*map(int.__add__, _terms(self), _terms(other)))

    @property
    def balanced(self) -> bool:
        """The accounting identity of the design, section 4, for what has been committed (nothing is pending)."""
        parts = self.stored + self.duplicate + self.shed + self.spilled + self.lost + self.dead_lettered
        return self.seen == parts


COUNT_NAMES: Final = tuple(f.name for f in fields(Counts))
TERMS: Final = COUNT_NAMES[: COUNT_NAMES.index("undecodable")]
"""The terms of the accounting identity that are in trades: seen and what it is the sum of, but `pending`."""
_terms: Final = attrgetter(*COUNT_NAMES)
"""The counts as a tuple; `astuple` copies them deeply, which took 2 ms of a commit of 16 partitions."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a partition stands: the next offset to read, its counts, and the commit that moved it last."""

    next_offset: int
    counts: Counts
    commit_id: str


@dataclass(frozen=True)
class OffsetDelta:
    """What one commit does to a partition: from the offset it started at to the next one to read.

    base: the commit that moved the partition last, as far as its author knows; None to compare offsets alone. Backfill
    what was deferred moves no offset, so two who do it are distinguished by this.
    """

    start: int
    end: int
    counts: Counts
    base: str | None = None


@dataclass(frozen=True)
class Checkpoints:
    """The properties as a value: every checkpoint, the commit and sequence number they were written with, the
    ledger."""

    commit_id: str = ""
    sequence_number: int = 0
    by_partition: Mapping[TopicPartition, Checkpoint] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)

    def after(
        self,
        deltas: Mapping[TopicPartition, OffsetDelta],
        commit_id: str,
        sequence_number: int,
        change: LedgerChange = NO_CHANGE,
    ) -> "Checkpoints":
        """The checkpoints after a commit."""
        by_partition = dict(self.by_partition)
        for partition, delta in deltas.items():
            before = by_partition.get(partition)
            counts = delta.counts if before is None else before.counts + delta.counts
            by_partition[partition] = Checkpoint(delta.end, counts, commit_id)
        return Checkpoints(commit_id, sequence_number, by_partition, self.ledger.changed(change))

    def retired(self, topic: str, epoch: str, lost: int) -> "Checkpoints":
        """Fold the partitions of an epoch that is gone into one entry; `lost` trades of it were never read.

        What was shed is gone with its Kafka, and lost too; what was spilled is still in its files.
        """
        ledger, shed = self.ledger.without_epoch(topic, epoch)
        total = Counts(seen=lost, lost=lost + shed, shed=-shed)
        by_partition = dict(self.by_partition)
        for partition in [
            partition for partition in by_partition if partition.topic == topic and partition.epoch == epoch
        ]:
            total += by_partition.pop(partition).counts
        by_partition[TopicPartition(topic, epoch, RETIRED_PARTITION)] = Checkpoint(0, total, self.commit_id)
        return replace(self, by_partition=by_partition, ledger=ledger)

    def partition_of(self, topic: str, epoch: str, partition: int) -> TopicPartition:
        """Where the counts of a partition are kept: its own partition, or that of its epoch when that is gone."""
        own, retired = TopicPartition(topic, epoch, partition), TopicPartition(topic, epoch, RETIRED_PARTITION)
        return retired if own not in self.by_partition and retired in self.by_partition else own

    def epochs(self, topic: str) -> set[str]:
        """The epochs of a topic that are still being read."""
        return {
            partition.epoch
            for partition in self.by_partition
            if partition.topic == topic and partition.partition != RETIRED_PARTITION
        }

    @property
    def topics(self) -> set[str]:
        """The topics that are still being read."""
        return {at.topic for at in self.by_partition if at.partition != RETIRED_PARTITION}

    def total(self) -> Counts:
        """The counts of all partitions together."""
        return sum((checkpoint.counts for checkpoint in self.by_partition.values()), Counts())

    def dumps(self) -> str:
        """The text of the offsets property; the ledger has its own."""
        by_partition = [
            [*partition, checkpoint.next_offset, checkpoint.commit_id, *_terms(checkpoint.counts)]
            for partition, checkpoint in self.by_partition.items()
        ]
        document = {"commit_id": self.commit_id, "sequence_number": self.sequence_number, "by_partition": by_partition}
        return orjson.dumps(document).decode()

    @staticmethod
    def loads(text: str) -> "Checkpoints":
        """Read the property.

        Raises:
            LakeError: it is not ours, or damaged.
        """
        try:
            document = orjson.loads(text)
            by_partition = {
                TopicPartition(topic, epoch, partition): Checkpoint(next_offset, Counts(*counts), commit_id)
                for topic, epoch, partition, next_offset, commit_id, *counts in document["by_partition"]
            }
            return Checkpoints(document["commit_id"], document["sequence_number"], by_partition)
        except (ValueError, KeyError, TypeError) as error:
            raise LakeError(
                f"The table property {PROPERTY} cannot be read: {error}", "Look at it with: k2ctl lake status"
            ) from error


class Tally:
    """Counts per partition, one numpy row each; `seen` and its parts as in `Counts`."""

    def __init__(self) -> None:
        self._counts = np.zeros((0, len(COUNT_NAMES)), np.int64)

    def add(self, name: str, partition: np.ndarray, amount: np.ndarray | None = None) -> None:
        """Count one (or `amount[i]`) under `name` for each entry of `partition`, int32[n]."""
        if not len(partition):
            return
        highest = int(partition.max()) + 1
        if highest > len(self._counts):
            grown = np.zeros((highest, len(COUNT_NAMES)), np.int64)
            grown[: len(self._counts)] = self._counts
            self._counts = grown
        added = np.bincount(partition, amount, minlength=len(self._counts)).astype(np.int64)
        self._counts[:, COUNT_NAMES.index(name)] += added

    def move(self, name: str, to: str, partition: np.ndarray) -> None:
        """Count one under another name for each entry of `partition`, where it was counted under `name`."""
        self.add(name, partition, np.full(len(partition), -1))
        self.add(to, partition)

    def of(self, partition: int) -> Counts:
        """The counts of one partition."""
        if partition >= len(self._counts):
            return Counts()
        return Counts(*self._counts[partition].tolist())
