"""How far the table is and what it owes, from one metadata file; refuses to trust a table that was turned back."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from k2ctl.errors import LakeError
from k2ctl.lake.aside.folder import ledger_of
from k2ctl.lake.heads import PROPERTY, SUMMARY_COMMIT_ID, Progress

_STOP: Final = "Look at it with: k2ctl lake status. Going on would lose or double trades."


def progress_of(table: Table) -> Progress:
    """The offsets and counts that the table's current metadata holds.

    Raises:
        LakeError: rows without offsets, or offsets that the table's history cannot contain.
    """
    metadata = table.metadata
    text = metadata.properties.get(PROPERTY)
    current = metadata.current_snapshot()
    if text is None:
        if current is not None and _has_rows(current):
            raise LakeError(f"The table holds rows but no offsets ({PROPERTY} is missing).", _STOP)
        return Progress()
    progress = replace(Progress.loads(text), ledger=ledger_of(table))
    if progress.commit_id and not _history_may_contain(metadata, progress):
        raise LakeError(
            f"The table was rolled back: its history no longer holds commit {progress.commit_id}, "
            "but its offsets are from there.",
            "Make its last snapshot the current one again, for instance with Spark's set_current_snapshot.",
        )
    return progress


def _has_rows(snapshot: Snapshot) -> bool:
    if snapshot.summary is None:
        return True
    return snapshot.summary.additional_properties.get("total-records", "0") != "0"


def _history_may_contain(metadata: TableMetadata, progress: Progress) -> bool:
    """Whether the commit that wrote the offsets is an ancestor of the current snapshot, or was one and expired."""
    for snapshot in ancestors(metadata):
        if commit_id_of(snapshot) == progress.commit_id:
            return True
        if (snapshot.sequence_number or 0) <= progress.sequence_number:
            return False
    # Every ancestor still known is younger than that commit: it has expired, or there is no snapshot at all.
    return metadata.current_snapshot() is not None


def is_in_history(table: Table, commit_id: str) -> bool:
    """Whether the table was built upon a K2 commit, as far as its snapshots have not expired."""
    return any(commit_id_of(snapshot) == commit_id for snapshot in ancestors(table.metadata))


def ancestors(metadata: TableMetadata) -> Iterator[Snapshot]:
    """The current snapshot and its ancestors, newest first, as far as they have not expired."""
    by_id = {snapshot.snapshot_id: snapshot for snapshot in metadata.snapshots}
    snapshot = metadata.current_snapshot()
    while snapshot is not None:
        yield snapshot
        snapshot = by_id.get(snapshot.parent_snapshot_id or -1)


def commit_id_of(snapshot: Snapshot) -> str:
    """The id of the K2 commit that made a snapshot; empty for one that others made."""
    return (snapshot.summary.additional_properties.get(SUMMARY_COMMIT_ID) or "") if snapshot.summary else ""
