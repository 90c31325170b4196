"""Offsets that another program has changed: put right from the second copy, or the copy from them.

The newest copy is what the last K2 commit wrote. Only where that copy is gone, because somebody dropped its tag and its
snapshot, are the properties of a later commit than any copy: then a new copy is made of them.
"""

from dataclasses import dataclass, replace
from uuid import uuid4

from pyiceberg.table import Table

from k2ctl.clock import Clock
from k2ctl.domain.checkpoint import SUMMARY_COMMIT_ID, Checkpoints, TopicPartition
from k2ctl.errors import LakeError, OffsetsDiffer
from k2ctl.lake.catalog import Lake, require_kept
from k2ctl.lake.checkpoints import history_may_contain, recorded_checkpoints
from k2ctl.lake.commit import Try, commit_optimistically
from k2ctl.lake.pyiceberg_overrides.transaction import QuickTransaction, stage_tag
from k2ctl.lake.second_copy import TAG, Copy, check_copies, newest_copy, read_copy, write_offsets


@dataclass(frozen=True)
class PartitionRestored:
    """A partition whose offset changes; None where one side does not know the partition."""

    topic: str
    epoch: str
    partition: int
    now: int | None
    restored: int | None


@dataclass(frozen=True)
class Restoration:
    """What restoring the offsets does."""

    # What is wrong now.
    difference: str
    # The snapshot whose copy is right; None: the properties are right, and a new copy is made of them.
    snapshot: int | None
    partitions: tuple[PartitionRestored, ...]


def look(lake: Lake) -> Restoration:
    """What is to be restored.

    Raises:
        LakeError: the offsets and their copy are the same, or none of them is left.
    """
    table = lake.table()
    difference = _difference(table)
    if difference is None:
        raise LakeError("The offsets of the table and their second copy are the same.", "Nothing to do.")
    now, copy = _recorded(table), _right_copy(table)
    moved = () if copy is None else tuple(_moved(now or Checkpoints(), copy[1].checkpoints))
    return Restoration(difference, copy[0] if copy else None, moved)


def _difference(table: Table) -> str | None:
    try:
        check_copies(table.metadata)
    except OffsetsDiffer as error:
        return str(error)
    return None


def _recorded(table: Table) -> Checkpoints | None:
    """What the properties say; None where they cannot be read."""
    try:
        return recorded_checkpoints(table)
    except LakeError:
        return None


def _right_copy(table: Table) -> tuple[int, Copy] | None:
    """The newest copy and its snapshot, or None where the properties are of a later commit."""
    newest, recorded = newest_copy(table.metadata), _recorded(table)
    copied = (newest.sequence_number or 0) if newest else -1
    if recorded and recorded.sequence_number > copied and history_may_contain(table.metadata, recorded):
        return None
    if newest is None:
        raise LakeError(
            "No copy of the offsets is left in the table.",
            "Go on from an older metadata file: k2ctl lake register --metadata FILE",
        )
    return newest.snapshot_id, read_copy(table, newest)


def _moved(now: Checkpoints, restored: Checkpoints) -> list[PartitionRestored]:
    def offset(checkpoints: Checkpoints, at: TopicPartition) -> int | None:
        return checkpoints.by_partition[at].next_offset if at in checkpoints.by_partition else None

    every = sorted({*now.by_partition, *restored.by_partition})
    changed = [PartitionRestored(*at, offset(now, at), offset(restored, at)) for at in every]
    return [one for one in changed if one.now != one.restored]


def restore(lake: Lake, clock: Clock, seen: Restoration) -> None:
    """Carry it out.

    Raises:
        LakeError: the table is not as `seen` any more, or the catalog does not answer.
    """

    def once(one: Try) -> None:
        table = lake.table()
        if one.uncertain and _difference(table) is None:
            return  # by an earlier try whose answer was lost
        if look(lake) != seen:
            raise LakeError("The table has moved in the meantime.", "Look again: k2ctl lake restore-offsets")
        copy = _right_copy(table)
        if copy is None:
            _copy_again(table, recorded_checkpoints(table))
        else:
            _put_back(table, *copy)
        require_kept(lake, "the offsets", lambda now: _difference(now) is None)

    commit_optimistically(once, what="Restoring the offsets", hint="Try again.", clock=clock)


def _put_back(table: Table, snapshot: int, copy: Copy) -> None:
    """The properties as the copy has them. No snapshot is added, so that a rollback stays one; every K2 commit moves
    the tag, so the tag's place is what the catalog compares."""
    with QuickTransaction(table) as transaction:
        stage_tag(transaction, TAG, snapshot)
        transaction.set_properties(dict(copy.properties))


def _copy_again(table: Table, recorded: Checkpoints) -> None:
    """An empty append with a copy of the properties."""
    number = int(table.metadata.next_sequence_number())
    after = replace(recorded, commit_id=str(uuid4()), sequence_number=number)
    offsets = write_offsets(table, after)
    with QuickTransaction(table) as transaction:
        with transaction.update_snapshot(
            snapshot_properties={SUMMARY_COMMIT_ID: after.commit_id, **offsets.summary}
        ).merge_append():
            pass
        offsets.stage(transaction)
