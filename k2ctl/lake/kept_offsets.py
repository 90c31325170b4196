"""Offsets of older snapshots: each commit keeps a small copy of the offsets in the snapshot's summary.

The properties have only the newest offsets. A copy stays as long as its snapshot does, so a table that is rolled back
to one gets its offsets. With very many partitions, or a long ledger, the copy would slow every commit down: those
offsets are found in the table's last metadata files only.
"""

import base64
import zlib
from dataclasses import replace
from typing import Final

import orjson
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from k2ctl.domain.checkpoint import PROPERTY, Checkpoints
from k2ctl.domain.ledger import LEDGER_PROPERTY, Ledger
from k2ctl.errors import LakeError
from k2ctl.lake.checkpoints import ancestors, commit_id_of, history_may_contain
from k2ctl.lake.side_folder import ledger_in

SUMMARY_OFFSETS: Final = "k2.offsets"
MOST_BYTES: Final = 4096
"""A longer copy is not kept: there are some hundred snapshots, and each commit writes all of their summaries."""

_MOST_ENTRIES: Final = 100


def kept(checkpoints: Checkpoints) -> dict[str, str]:
    """The copy for a snapshot's summary; empty where it would be too long."""
    if len(checkpoints.ledger.entries) > _MOST_ENTRIES:
        return {}
    document = orjson.dumps([checkpoints.dumps(), checkpoints.ledger.dumps().decode()])
    text = base64.b85encode(zlib.compress(document)).decode()
    return {SUMMARY_OFFSETS: text} if len(text) <= MOST_BYTES else {}


def offsets_at(table: Table, snapshot: Snapshot) -> Checkpoints:
    """The checkpoints at a snapshot. Appends of other programs, and compactions, move no offsets.

    Raises:
        LakeError: neither a summary nor one of the last metadata files has them.
    """
    passed = set()
    for one in ancestors(table.metadata, snapshot):
        passed.add(one.snapshot_id)
        copy = one.summary.additional_properties.get(SUMMARY_OFFSETS) if one.summary else None
        if copy is not None:
            return _read(copy)
        if commit_id_of(one):
            break
        if one.parent_snapshot_id is None:
            return Checkpoints()
    found = _in_last_metadata(table, passed)
    if found is None:
        raise LakeError(
            f"The offsets that belong to snapshot {snapshot.snapshot_id} are not kept any more.",
            "Undo the rollback: k2ctl lake undo-rollback",
        )
    return found


def _read(copy: str) -> Checkpoints:
    try:
        by_partition, ledger = orjson.loads(zlib.decompress(base64.b85decode(copy)))
    except (ValueError, zlib.error) as error:
        raise LakeError(
            f"The offsets in a snapshot's summary cannot be read: {error}", "Look at it with: k2ctl lake status"
        ) from error
    return replace(Checkpoints.loads(by_partition), ledger=Ledger.loads(ledger))


def _in_last_metadata(table: Table, snapshots: set[int]) -> Checkpoints | None:
    """The offsets of a metadata file whose current snapshot was one of these; None when none is left."""
    for entry in reversed(table.metadata.metadata_log):
        try:
            metadata = FromInputFile.table_metadata(table.io.new_input(entry.metadata_file))
        except FileNotFoundError:
            continue  # another commit has dropped it
        if metadata.current_snapshot_id in snapshots and PROPERTY in metadata.properties:
            checkpoints = Checkpoints.loads(metadata.properties[PROPERTY])
            if history_may_contain(metadata, checkpoints):
                return replace(checkpoints, ledger=ledger_in(table, metadata.properties.get(LEDGER_PROPERTY)))
    return None
