"""A table that another program rolled back: accept it, with its offsets of then, or undo it.

Iceberg's rollback moves the current snapshot and leaves the properties alone. So the offsets say that trades are stored
which are not in the table any more, and consumers stop until one of the two is chosen.
"""

from dataclasses import dataclass, replace
from typing import Final
from uuid import uuid4

import orjson
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update.snapshot import ManageSnapshots

from k2ctl.clock import Clock
from k2ctl.domain.checkpoint import RETIRED_PARTITION, SUMMARY_COMMIT_ID, Checkpoints
from k2ctl.errors import LakeError
from k2ctl.lake.catalog import Lake, require_kept
from k2ctl.lake.checkpoints import (
    ancestors,
    commit_id_of,
    history_may_contain,
    is_in_history,
    offsets_at,
    recorded_checkpoints,
    snapshot_of_commit,
)
from k2ctl.lake.commit import Try, commit_optimistically
from k2ctl.lake.pyiceberg_overrides.transaction import QuickTransaction
from k2ctl.lake.second_copy import write_offsets

GIVEN_UP: Final = "k2.given-up"
"""Table property: ranges [after, up to] of the sequence numbers of commits that were given up by a rollback."""

_RANGES_KEPT: Final = 100
_TRY_AGAIN: Final = "The table is as it was: try again."
_AGAIN: Final = "The table has moved in the meantime."


@dataclass(frozen=True)
class PartitionBack:
    """A partition whose offset goes back."""

    topic: str
    epoch: str
    partition: int
    now: int
    # None where the table did not know the partition yet.
    then: int | None


@dataclass(frozen=True)
class Rollback:
    """What was rolled back."""

    # The snapshot that is current now.
    current: int
    # The one that it was rolled back from; None once it has expired.
    newest: int | None
    # Rows of K2's commits that are given up.
    rows: int
    # Partitions whose trades are read again from Kafka.
    partitions: tuple[PartitionBack, ...]
    # Ranges of the ledger that do not exist any more, and that are outstanding again.
    entries_gone: int
    entries_back: int
    # Trades that were outstanding then, less those that are now.
    deferred: int


def look(lake: Lake) -> Rollback:
    """What accepting the rollback gives up.

    Raises:
        LakeError: the table was not rolled back, or its offsets of then are not known.
    """
    table = lake.table()
    now = recorded_checkpoints(table)
    return _between(table, now, offsets_at(table, _current(table, now)))


@dataclass(frozen=True)
class WayBack:
    """What undoing the rollback gives up."""

    current: int
    # The snapshot to make current again.
    newest: int
    # Rows that only the current snapshot has.
    rows_since: int


def look_back(lake: Lake) -> WayBack:
    """What undoing the rollback gives up.

    Raises:
        LakeError: the table was not rolled back, or the snapshot that it was rolled back from has expired.
    """
    table = lake.table()
    now = recorded_checkpoints(table)
    current = table.metadata.current_snapshot()
    if not now.commit_id or history_may_contain(table.metadata, now):
        raise _not_rolled_back()
    newest = _newest(table.metadata, now)
    if newest is None:
        raise LakeError(
            "The snapshot that the table was rolled back from has expired.",
            "Go on from the current one: k2ctl lake accept-rollback",
        )
    shared = {one.snapshot_id for one in ancestors(table.metadata, newest)}
    since = [one for one in ancestors(table.metadata) if one.snapshot_id not in shared]
    return WayBack(current.snapshot_id if current else 0, newest.snapshot_id, sum(map(_added_rows, since)))


def _added_rows(snapshot: Snapshot) -> int:
    """Rows that a snapshot added, less those that it deleted."""
    totals = snapshot.summary.additional_properties if snapshot.summary else {}
    return int(totals.get("added-records", "0")) - int(totals.get("deleted-records", "0"))


def _not_rolled_back() -> LakeError:
    return LakeError("The table was not rolled back: its offsets belong to its current snapshot.", "Nothing to do.")


def _current(table: Table, now: Checkpoints) -> Snapshot:
    current = table.metadata.current_snapshot()
    if not now.commit_id or history_may_contain(table.metadata, now):
        raise _not_rolled_back()
    if current is None:
        raise LakeError("The table has no current snapshot any more.", "Undo the rollback: k2ctl lake undo-rollback")
    return current


def _between(table: Table, now: Checkpoints, then: Checkpoints) -> Rollback:
    newest, current = _newest(table.metadata, now), table.metadata.current_snapshot_id
    entries_now, entries_then = set(now.ledger.entries), set(then.ledger.entries)
    return Rollback(
        current=current or 0,
        newest=newest.snapshot_id if newest else None,
        rows=now.total().stored - then.total().stored,
        partitions=tuple(_moved(now, then)),
        entries_gone=len(entries_now - entries_then),
        entries_back=len(entries_then - entries_now),
        deferred=then.ledger.count - now.ledger.count,
    )


def _moved(now: Checkpoints, then: Checkpoints) -> list[PartitionBack]:
    found = []
    for partition, checkpoint in sorted(now.by_partition.items()):
        before = then.by_partition.get(partition)
        offset = before.next_offset if before else None
        if partition.partition != RETIRED_PARTITION and offset != checkpoint.next_offset:
            found.append(PartitionBack(*partition, checkpoint.next_offset, offset))
    return found


def _newest(metadata: TableMetadata, now: Checkpoints) -> Snapshot | None:
    """The last current snapshot whose history has the commit of the offsets."""
    by_id = {snapshot.snapshot_id: snapshot for snapshot in metadata.snapshots}
    for entry in reversed(metadata.snapshot_log):
        snapshot = by_id.get(entry.snapshot_id)
        if snapshot and any(commit_id_of(one) == now.commit_id for one in ancestors(metadata, snapshot)):
            return snapshot
    return snapshot_of_commit(metadata, now.commit_id)


def accept(lake: Lake, clock: Clock, seen: Rollback) -> Checkpoints:
    """Make the table's offsets those of its current snapshot; an empty append carries them.

    Raises:
        LakeError: the table is not as `seen` any more, or the catalog does not answer.
    """
    commit_id = str(uuid4())

    def once(one: Try) -> Checkpoints:
        table = lake.table()
        if one.uncertain and is_in_history(table, commit_id):
            return recorded_checkpoints(table)
        now = recorded_checkpoints(table)
        then = offsets_at(table, _current(table, now))
        if _between(table, now, then) != seen:
            raise LakeError(_AGAIN, "Look again: k2ctl lake accept-rollback")
        number = int(table.metadata.next_sequence_number())
        after = replace(then, commit_id=commit_id, sequence_number=number)
        ranges = [*_given_up(table), [then.sequence_number, number - 1]][-_RANGES_KEPT:]
        offsets = write_offsets(table, after)
        with QuickTransaction(table) as transaction:
            with transaction.update_snapshot(
                snapshot_properties={SUMMARY_COMMIT_ID: commit_id, **offsets.summary}
            ).merge_append():
                pass
            offsets.stage(transaction, {GIVEN_UP: orjson.dumps(ranges).decode()})
        require_kept(lake, f"commit {commit_id}", lambda table: is_in_history(table, commit_id))
        return after

    return commit_optimistically(once, what="Accepting the rollback", hint=_TRY_AGAIN, clock=clock)


def undo(lake: Lake, clock: Clock, seen: WayBack) -> None:
    """Make the snapshot current again that the table was rolled back from.

    Raises:
        LakeError: the table is not as `seen` any more, or the catalog does not answer.
    """

    def once(_: Try) -> None:
        table = lake.table()
        if table.metadata.current_snapshot_id == seen.newest:
            return  # by an earlier try whose answer was lost
        if look_back(lake) != seen:
            raise LakeError(_AGAIN, "Look again: k2ctl lake undo-rollback")
        with QuickTransaction(table) as transaction, ManageSnapshots(transaction) as manage:
            manage.set_current_snapshot(seen.newest)
        require_kept(lake, "the way back", lambda now: now.metadata.current_snapshot_id == seen.newest)

    commit_optimistically(once, what="Undoing the rollback", hint=_TRY_AGAIN, clock=clock)


def was_given_up(table: Table, sequence_number: int) -> bool:
    """True if a commit of this sequence number was given up: state saved by then has trades that are gone."""
    return any(after < sequence_number <= up_to for after, up_to in _given_up(table))


def _given_up(table: Table) -> list[list[int]]:
    try:
        return [
            [int(after), int(up_to)] for after, up_to in orjson.loads(table.metadata.properties.get(GIVEN_UP, "[]"))
        ]
    except (ValueError, TypeError) as error:
        raise LakeError(f"The table property {GIVEN_UP} cannot be read: {error}", "See: k2ctl lake status") from error
