"""The metadata that a process has read or written last of each table: a metadata file never changes once written.

A writer that is alone finds the table each second as it has left it. To parse the metadata again, with a hundred
snapshots and the schema's indexes, would take a third of the processor time of a commit of few rows.
"""

from pathlib import Path
from typing import Final

from pyiceberg.io import FileIO
from pyiceberg.serializers import FromInputFile
from pyiceberg.table.metadata import TableMetadata

from k2ctl.lake.addresses import local_path

TABLES_KEPT: Final = 4

_Stamp = tuple[int, int, int] | None


class KnownMetadata:
    """The newest metadata of a few tables. Thread-safe; what it gives is shared, and only read."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, _Stamp, TableMetadata]] = {}

    def read(self, io: FileIO, location: str) -> TableMetadata:
        """The content of a metadata file; from memory where that is the file that was read or written last.

        Raises:
            OSError: the file cannot be read. DamagedFile: it is not as it was written.
        """
        stamp = _stamp(location)
        found = self._known.get(_folder(location))
        if found is not None and found[:2] == (location, stamp):
            return found[2]
        metadata = FromInputFile.table_metadata(io.new_input(location))
        self._keep(location, stamp, metadata)
        return metadata

    def note(self, location: str, metadata: TableMetadata) -> None:
        """A metadata file was written, and the catalog names it."""
        self._keep(location, _stamp(location), metadata)

    def _keep(self, location: str, stamp: _Stamp, metadata: TableMetadata) -> None:
        known = {folder: kept for folder, kept in self._known.items() if folder != _folder(location)}
        newest = list(known.items())[-(TABLES_KEPT - 1) :]
        self._known = {**dict(newest), _folder(location): (location, stamp, metadata)}


def _folder(location: str) -> str:
    return location.rpartition("/")[0]


def _stamp(location: str) -> _Stamp:
    """Which content a local file has: one that was altered since, or is gone, is read. None in a store."""
    path: Path | None = local_path(location)
    if path is None:
        return None
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0, 0
    return found.st_ino, found.st_mtime_ns, found.st_size
