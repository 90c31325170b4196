"""The data files that another program has added to the table, and their rows."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pyarrow as pa
from pyiceberg.io import FileIO
from pyiceberg.table.snapshots import Snapshot

from k2ctl.domain.checkpoint import SUMMARY_COMMIT_ID, SUMMARY_COMPACTION_ID
from k2ctl.domain.rows import arrow_schema
from k2ctl.errors import LakeUnanswered
from k2ctl.lake.data_files import Listed, reading
from k2ctl.lake.readers import WHOLE_ROWS, WHOLE_TEXTS, Damage, batches_but_damaged
from k2ctl.lake.seal import SEAL_END, length_of_seal
from k2ctl.lake.snapshots import Pinned

_AT_ONCE: Final = 16
_TEXTS: Final = (*WHOLE_TEXTS, "kafka_epoch", "sector")


def rows_of_others(pinned: Pinned, damage: Damage) -> Iterator[pa.RecordBatch]:
    """The rows of these files, with all columns of k2ctl's. damage: as of `readers.stored_trades`."""
    scan = pinned.scan()
    for file in _files_of_others(pinned):
        yield from batches_but_damaged(scan, file, arrow_schema().names, _TEXTS, WHOLE_ROWS, damage)


def _files_of_others(pinned: Pinned) -> list[Listed]:
    """Data files that were added by a snapshot without k2ctl's mark; of expired snapshots, those without its seal."""
    snapshots = {found.snapshot_id: found for found in pinned.table.metadata.snapshots}
    others, unknown = [], []
    for entry in pinned.scan().all_entries():
        added_by = snapshots.get(entry.snapshot_id or -1)
        if added_by is None:
            unknown.append(Listed.of(entry.data_file))
        elif not _is_ours(added_by):
            others.append(Listed.of(entry.data_file))
    with ThreadPoolExecutor(_AT_ONCE, "k2-seals") as pool:
        sealed = list(pool.map(lambda file: _has_seal(pinned.table.io, file), unknown))
    return others + [file for file, is_sealed in zip(unknown, sealed, strict=True) if not is_sealed]


def _is_ours(snapshot: Snapshot) -> bool:
    properties = snapshot.summary.additional_properties if snapshot.summary else {}
    return SUMMARY_COMMIT_ID in properties or SUMMARY_COMPACTION_ID in properties


def _has_seal(io: FileIO, file: Listed) -> bool:
    try:
        with reading(file.path), io.new_input(file.path).open() as stream:
            stream.seek(max(0, file.bytes - SEAL_END))
            return length_of_seal(stream.read(SEAL_END)) is not None
    except LakeUnanswered as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return True  # the reader of its rows reports that it is gone
        raise
