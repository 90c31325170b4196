"""An offer in the hands of its author: its rows, the files that hold them, and what is left where it is fenced."""

import uuid
from dataclasses import dataclass, field, replace

import numpy as np
from pyiceberg.manifest import DataFile

from k2ctl.domain.checkpoint import Checkpoints, TopicPartition
from k2ctl.domain.ledger import LedgerChange
from k2ctl.domain.offer_records import offer_document
from k2ctl.domain.offers import CommitterAnswer, Offer
from k2ctl.domain.rows import Rows
from k2ctl.lake.described_files import described


@dataclass(frozen=True)
class Committed:
    """The result of a commit."""

    # That of the partitions' checkpoints.
    commit_id: str
    # None when every partition was fenced and nothing was committed.
    snapshot_id: int | None
    # Rows that are in the table by this commit.
    stored: int
    # Partitions whose rows were dropped because the table's checkpoint is not where they start.
    fenced: tuple[TopicPartition, ...]
    attempts: int
    # Size of the Parquet files.
    written_bytes: int
    # The table's checkpoints after the commit.
    checkpoints: Checkpoints
    # True if it was announced: should the table be rolled back, a committer may still take it, with its spill files.
    announced: bool = False


@dataclass
class WrittenOffer:
    """What a commit offers to the table. Partitions that turn out to be fenced are dropped from it."""

    batches: list[Rows]
    offer: Offer
    # None until written.
    files: list[DataFile] | None = None
    fenced: set[TopicPartition] = field(default_factory=set)
    # Then only orphan removal deletes its files: a committer may have read of them.
    announced: bool = False

    def document(self) -> bytes:
        """The announcement, for `cut_records`."""
        self.announced = True
        return offer_document(replace(self.offer, files=tuple(map(described, self.files or []))))

    def drop(self, partitions: set[TopicPartition], checkpoints: Checkpoints) -> None:
        """Go on without some partitions, as another offer; the files are written again without their rows."""
        self.fenced |= partitions
        left = {at: delta for at, delta in self.offer.deltas.items() if at not in partitions}
        self.batches = [_without(rows, partitions, checkpoints) for rows in self.batches]
        change = _unfenced(self.offer.change, partitions, checkpoints)
        self.offer = replace(self.offer, id=str(uuid.uuid4()), deltas=left, change=change)
        self.files = None

    def committed(self, snapshot_id: int | None, checkpoints: Checkpoints, attempts: int) -> Committed:
        """The result, where it is in the table."""
        return Committed(
            commit_id=self.offer.id,
            snapshot_id=snapshot_id,
            stored=sum(map(len, self.batches)),
            fenced=tuple(sorted(self.fenced)),
            attempts=attempts,
            written_bytes=sum(file.file_size_in_bytes for file in self.files or []),
            checkpoints=checkpoints,
            announced=self.announced,
        )

    def stored_by(self, answer: CommitterAnswer, times: int) -> Committed:
        """The result, where a committer's answer says that it is in the table. times: how often it was announced."""
        return self.committed(answer.snapshot_id, answer.checkpoints, times)

    def not_stored(self, fenced: set[TopicPartition], checkpoints: Checkpoints, attempts: int) -> Committed:
        """The result, where nothing of it is in the table."""
        among = tuple(sorted(self.fenced | fenced))
        return Committed(self.offer.id, None, 0, among, attempts, 0, checkpoints, self.announced)


def _unfenced(change: LedgerChange, partitions: set[TopicPartition], checkpoints: Checkpoints) -> LedgerChange:
    """The part of a change that concerns other partitions."""
    return change.where(
        lambda entry: not _counts_in(partitions, checkpoints, entry.topic, entry.epoch, entry.partition)
    )


def _without(rows: Rows, fenced: set[TopicPartition], checkpoints: Checkpoints) -> Rows:
    """The rows whose partitions are not fenced."""
    partitions = np.unique(rows.partition).tolist()
    dropped = [p for p in partitions if _counts_in(fenced, checkpoints, rows.topic, rows.epoch, p)]
    return rows.take(~np.isin(rows.partition, dropped))


def _counts_in(
    partitions: set[TopicPartition], checkpoints: Checkpoints, topic: str, epoch: str, partition: int
) -> bool:
    """True if a partition is counted in one of `partitions`: its own, or that of its epoch when that is gone."""
    return not partitions.isdisjoint(
        {TopicPartition(topic, epoch, partition), checkpoints.partition_of(topic, epoch, partition)}
    )
