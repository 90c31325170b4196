"""The second copy of the offsets, which neither expiry nor compaction nor an edit of properties can erase.

Properties are not meant to hold state: a program may edit, remove or put them back. So every K2 commit keeps the texts
of both properties in the summary of its snapshot, with a digest of them, and moves a tag to it in the same transaction.
No expiry drops a snapshot that is tagged. A copy that is long, as with hundreds of partitions, is a file in the side
folder, which the summary names: each commit writes the summaries of all snapshots.

At every opening the properties are compared with the digest of the newest copy, and the tag with its snapshot. A copy
stays as long as its snapshot does, so a table that is rolled back to one gets its offsets.
"""

import base64
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import orjson
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from k2ctl.domain.checked_file import body_of, framed
from k2ctl.domain.checkpoint import PROPERTY, SUMMARY_OFFSETS_FILE, Checkpoints
from k2ctl.domain.ledger import LEDGER_PROPERTY, Ledger
from k2ctl.errors import LakeError, LakeUnanswered, OffsetsDiffer
from k2ctl.lake.pyiceberg_overrides.transaction import stage_tag
from k2ctl.lake.side_folder import OFFSETS, SideFolder, ledger_file, ledger_text

TAG: Final = "k2-offsets"
SUMMARY_OFFSETS: Final = "k2.offsets"
SUMMARY_DIGEST: Final = "k2.offsets-digest"
MOST_BYTES: Final = 4096
"""A longer copy is a file: there are some hundred snapshots, and each commit writes all of their summaries."""

MAGIC: Final = b"K2OFFSET"
_LEVEL: Final = 1
"""Of compression: three times as fast as the usual one, and a tenth longer."""

_RESTORE: Final = "Put it right from the second copy: k2ctl lake restore-offsets"
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True)
class WrittenOffsets:
    """Checkpoints and ledger as one commit writes them."""

    # The table's properties.
    properties: Mapping[str, str]
    # The copy, for the snapshot's summary.
    summary: Mapping[str, str]

    @property
    def ledger_file(self) -> str | None:
        """The file that the ledger's property names."""
        return ledger_file(self.properties[LEDGER_PROPERTY])

    def stage(self, transaction: Transaction, others: Mapping[str, str] = _NONE) -> None:
        """Add the properties, and `others`, to a transaction that has added the snapshot; the tag moves to it."""
        transaction.set_properties({**self.properties, **others})
        move_tag(transaction)


def write_offsets(table: Table, after: Checkpoints) -> WrittenOffsets:
    """What a commit needs to write checkpoints and ledger; files of a long ledger or a long copy are written now.

    Raises:
        OSError: the store takes no file.
    """
    properties = {PROPERTY: after.dumps(), LEDGER_PROPERTY: ledger_text(table, after.ledger)}
    texts = [*properties.values()]
    # A later commit deletes the file of a long ledger, so a copy that outlasts it has the ledger itself.
    texts += [after.ledger.dumps().decode()] if ledger_file(properties[LEDGER_PROPERTY]) else []
    document = zlib.compress(orjson.dumps(texts), _LEVEL)
    inline = base64.b85encode(document).decode()
    if len(inline) <= MOST_BYTES:
        copy = {SUMMARY_OFFSETS: inline}
    else:
        copy = {SUMMARY_OFFSETS_FILE: SideFolder(table).write(OFFSETS, framed(MAGIC, document), "copy")}
    return WrittenOffsets(properties, {**copy, SUMMARY_DIGEST: _digest(properties) or ""})


def copy_of(table: Table) -> dict[str, str]:
    """The copy in the table's newest K2 snapshot, for the summary of one that moves no offsets."""
    newest = newest_copy(table.metadata)
    found = _summary(newest) if newest else _NONE
    return {name: found[name] for name in (SUMMARY_OFFSETS, SUMMARY_OFFSETS_FILE, SUMMARY_DIGEST) if name in found}


def move_tag(transaction: Transaction) -> None:
    """Move the tag to the snapshot that a transaction has made."""
    snapshot = transaction.table_metadata.current_snapshot()
    if snapshot is not None and has_copy(snapshot):
        stage_tag(transaction, TAG, snapshot.snapshot_id)


def has_copy(snapshot: Snapshot) -> bool:
    """Whether a snapshot's summary has a copy of the offsets."""
    return SUMMARY_DIGEST in _summary(snapshot)


def newest_copy(metadata: TableMetadata) -> Snapshot | None:
    """The newest snapshot that has a copy, in the history or not."""
    newest_first = sorted(metadata.snapshots, key=lambda snapshot: snapshot.sequence_number or 0, reverse=True)
    return next(filter(has_copy, newest_first), None)


def check_copies(metadata: TableMetadata) -> None:
    """Compare the properties with the second copy.

    Raises:
        OffsetsDiffer: another program has changed one of them.
    """
    newest, digest, ref = newest_copy(metadata), _digest(metadata.properties), metadata.refs.get(TAG)
    if newest is None and ref is None and digest is None:
        return  # nobody has committed yet
    if digest is None:
        raise _differ(f"The table property {PROPERTY} was removed by another program.")
    if ref is None:
        raise _differ(f"The tag {TAG}, which keeps the second copy of the offsets, was dropped by another program.")
    tagged = metadata.snapshot_by_id(ref.snapshot_id)
    if newest is None or tagged is None or _summary(tagged).get(SUMMARY_DIGEST) != _summary(newest)[SUMMARY_DIGEST]:
        raise _differ(
            f"The tag {TAG} was moved by another program: snapshot {ref.snapshot_id} has not the newest copy."
        )
    if digest != _summary(newest)[SUMMARY_DIGEST]:
        names = f"{PROPERTY} and {LEDGER_PROPERTY}"
        raise _differ(f"The table properties {names} are not what commit {newest.sequence_number} wrote there.")


def _differ(what: str) -> OffsetsDiffer:
    return OffsetsDiffer(f"{what} Going on would lose or double trades.", _RESTORE)


def _digest(properties: Mapping[str, str]) -> str | None:
    """Of both properties; None where the offsets are missing."""
    if PROPERTY not in properties:
        return None
    texts = (properties[PROPERTY], properties.get(LEDGER_PROPERTY, ""))
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=16).hexdigest()


def _summary(snapshot: Snapshot) -> Mapping[str, str]:
    return snapshot.summary.additional_properties if snapshot.summary else _NONE


@dataclass(frozen=True)
class Copy:
    """A copy as it was read."""

    # The table's properties as they were written.
    properties: Mapping[str, str]
    # The same, and the whole ledger.
    checkpoints: Checkpoints


def read_copy(table: Table, snapshot: Snapshot) -> Copy:
    """The copy that a snapshot's summary holds or names.

    Raises:
        LakeError: it is damaged. LakeUnanswered: its file cannot be read.
    """
    found = _summary(snapshot)
    try:
        if SUMMARY_OFFSETS_FILE in found:
            document: bytes | memoryview = body_of(MAGIC, SideFolder(table).read(found[SUMMARY_OFFSETS_FILE]))
        else:
            document = base64.b85decode(found[SUMMARY_OFFSETS])
        offsets, ledger, *long = orjson.loads(zlib.decompress(document))
        properties = {PROPERTY: offsets, LEDGER_PROPERTY: ledger}
        checkpoints = replace(Checkpoints.loads(offsets), ledger=Ledger.loads(long[0] if long else ledger))
    except OSError as error:
        where = found[SUMMARY_OFFSETS_FILE]
        raise LakeUnanswered(f"The copy of the offsets {where} cannot be read: {error}", "Try again.") from error
    except (ValueError, KeyError, zlib.error) as error:
        raise LakeError(
            f"The copy of the offsets of snapshot {snapshot.snapshot_id} is damaged: {error}",
            "Go on from an older metadata file: k2ctl lake register --metadata FILE",
        ) from error
    return Copy(properties, checkpoints)
