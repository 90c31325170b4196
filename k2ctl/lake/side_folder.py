"""The folder beside the table: spill files, and a ledger that has outgrown its property.

It is outside the table's location, so that tools that delete unreachable files do not see it. Everything goes through
the table's own file IO, so that a consumer on any machine finds it; on a local disk it is private and synced.
"""

import hashlib
import uuid
from pathlib import Path
from typing import Final, cast

import orjson
from pyarrow.fs import FileInfo, FileSelector, FileType
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table

from k2ctl.domain.ledger import INLINE_ENTRIES, LEDGER_PROPERTY, Ledger
from k2ctl.errors import LakeError, LakeUnanswered
from k2ctl.lake.storage import delete_or_leave, local_path, make_folder, sync_folder

SPILL: Final = "spill"
LEDGER: Final = "ledger"
DEDUP: Final = "dedup"
QUARANTINE: Final = "quarantine"
SUFFIX: Final = "-k2"


class Unanswered(OSError):
    """The object store does not answer: the file may be intact."""


class SideFolder:
    """Files beside one table, named by their full location."""

    def __init__(self, table: Table) -> None:
        self._io = table.io
        self._root = table.location().rstrip("/") + SUFFIX

    def write(self, kind: str, content: bytes, suffix: str) -> str:
        """Write a new file and make it durable; returns its location.

        Raises:
            OSError: the disk is full, or the store does not answer. No half file is left behind.
        """
        location = f"{self._root}/{kind}/{uuid.uuid4()}.{suffix}"
        local = local_path(location)
        if local is not None:
            make_folder(local.parent, 0o700)
            local.parent.parent.chmod(0o700)
        try:
            with self._io.new_output(location).create(overwrite=True) as stream:
                stream.write(content)
        except OSError:
            self.delete(location)
            raise
        return location

    def put(self, kind: str, name: str, content: bytes) -> str:
        """Write a file of a fixed name and replace the one before; returns its location.

        Raises:
            OSError: the disk is full, or the store does not answer. The file before is still there.
        """
        location = f"{self._root}/{kind}/{name}"
        local = local_path(location)
        if local is None:  # an object store shows the old one or the new one, never a part
            with self._io.new_output(location).create(overwrite=True) as stream:
                stream.write(content)
            return location
        Path(str(local_path(self.write(kind, content, "new")))).replace(local)
        sync_folder(local.parent)
        return location

    def names(self, kind: str) -> list[str]:
        """The names of all files of a kind.

        Raises:
            OSError: the store does not answer.
        """
        return [info.base_name for info in self._listed(kind)]

    def _listed(self, kind: str) -> list[FileInfo]:
        """The files of a kind; one that is deleted meanwhile may be missing."""
        io = cast(PyArrowFileIO, self._io)
        scheme, netloc, path = io.parse_location(f"{self._root}/{kind}", io.properties)
        found = io.fs_by_scheme(scheme, netloc).get_file_info(FileSelector(path, allow_not_found=True))
        return [info for info in found if info.type == FileType.File]

    def location(self, kind: str, name: str) -> str:
        """The location of a file of a fixed name."""
        return f"{self._root}/{kind}/{name}"

    def read(self, location: str) -> bytes:
        """The whole file.

        Raises:
            Unanswered: the object store does not answer.
            OSError: it is gone or cannot be read.
        """
        try:
            with self._io.new_input(location).open() as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            raise
        except OSError as error:
            if local_path(location) is None:
                raise Unanswered(str(error)) from error
            raise

    def delete(self, location: str) -> None:
        """Delete a file; one that is gone, or cannot be deleted now, is no error."""
        delete_or_leave(self._io, location)

    def quarantine(self, location: str, content: bytes) -> None:
        """Keep a copy of a damaged file for a person to look at; the file itself is deleted after its backfill.

        Raises:
            OSError: the disk is full, or the store does not answer.
        """
        self.put(QUARANTINE, location.rpartition("/")[2], content)

    def used_bytes(self) -> int:
        """What the spill files take on a local disk; 0 elsewhere, where space is not limited by us."""
        if local_path(self._root) is None:
            return 0
        return sum(info.size for info in self._listed(SPILL))


def ledger_text(table: Table, ledger: Ledger) -> str:
    """The ledger's property; a long ledger is written to a file first, which the property then names."""
    document = ledger.dumps()
    if len(ledger.entries) <= INLINE_ENTRIES:
        return document.decode()
    location = SideFolder(table).write(LEDGER, document, "json")
    return orjson.dumps({"file": location, "sha256": hashlib.sha256(document).hexdigest()}).decode()


def ledger_of(table: Table) -> Ledger:
    """The ledger that the table's current metadata holds or names.

    Raises:
        LakeError: it is damaged, or its file cannot be read.
    """
    return ledger_in(table, table.metadata.properties.get(LEDGER_PROPERTY))


def ledger_in(table: Table, text: str | None) -> Ledger:
    """The ledger that a property of that text holds or names. Raises: as `ledger_of`."""
    if text is None:
        return Ledger()
    location = ledger_file(text)
    if location is None:
        return Ledger.loads(text)
    try:
        document = SideFolder(table).read(location)
    except OSError as error:
        raise LakeUnanswered(
            f"The ledger's file {location} cannot be read: {error}", "See: k2ctl lake status"
        ) from error
    if hashlib.sha256(document).hexdigest() != orjson.loads(text)["sha256"]:
        raise LakeError(f"The ledger's file {location} is damaged.", "Restore it from a copy; nothing else is wrong.")
    return Ledger.loads(document)


def side_locations(table: Table) -> set[str]:
    """The files beside the table that its current metadata refers to."""
    text = table.metadata.properties.get(LEDGER_PROPERTY)
    if text is None:
        return set()
    return ledger_of(table).spill_files | {location for location in [ledger_file(text)] if location}


def ledger_file(text: str) -> str | None:
    """The file that the property names; None when the entries are in the property itself."""
    return str(orjson.loads(text)["file"]) if text.startswith("{") else None
