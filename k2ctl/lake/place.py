"""The place of a table, and the metadata files in it.

Every commit leaves a metadata file. So a catalog that was lost, replaced by a backup or by an empty one is
recognised: the place has metadata of a table, or of commits, that the catalog does not know. A new table at this place,
or a removal of its files, would destroy what can be registered again.
"""

import gzip
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

import orjson
from pyarrow.fs import FileSelector, FileType
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata, TableMetadataV1

from k2ctl.errors import DamagedFile

SUFFIX: Final = ".metadata.json"
READERS: Final = 16
_SCHEME: Final = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:/*")
_KEPT: Final = 100_000

_read: dict[str, "MetadataFile"] = {}
"""What was read already: a metadata file does not change."""


@dataclass(frozen=True)
class MetadataFile:
    """A metadata file in short."""

    location: str
    table_uuid: str
    # The sequence number of its last commit.
    commit: int
    updated_ms: int
    # Of its current snapshot.
    rows: int
    manifest_list: str | None
    # How many snapshots it has.
    snapshots: int

    @property
    def name(self) -> str:
        return self.location.rpartition("/")[2]

    def __str__(self) -> str:
        moment = datetime.fromtimestamp(self.updated_ms / 1000, UTC)
        return f"{self.location} ({self.rows:,} rows, {moment:%Y-%m-%d %H:%M:%S} UTC, table {self.table_uuid})"


def without_scheme(location: str) -> str:
    """A location as it compares: programs write `file:/x` or `file:///x`, and `s3://` or `s3a://`, of the same file."""
    return _SCHEME.sub("/", location)


def same_file(one: str, other: str) -> bool:
    """Whether two locations are of the same file."""
    return without_scheme(one) == without_scheme(other)


def metadata_files(io: FileIO, place: str) -> list[MetadataFile]:
    """Every metadata file of a place that can be read, of whatever table, the newest last.

    Raises:
        OSError: the warehouse does not answer.
    """
    found = read_all(io, _listed(io, f"{place.rstrip('/')}/metadata"))
    return sorted(found, key=lambda file: (file.commit, file.updated_ms, file.name))


def read_all(io: FileIO, locations: Iterable[str]) -> list[MetadataFile]:
    """The short form of the metadata files that name data files.

    One without a snapshot does not: it is left of a table that two made at once. Neither does one that was not written
    to its end.
    """
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(lambda location: _short(io, location), locations)
        return [file for file in found if file is not None and file.snapshots]


def strangers(io: FileIO, table: Table) -> list[MetadataFile]:
    """Metadata at a table's place that is not of its past: that of other tables, and of later commits.

    Metadata of one commit more is no stranger: a writer that is swapping now, or was killed, leaves it.
    """
    place = table.location().rstrip("/") + "/metadata"
    known = {table.metadata_location, *(entry.metadata_file for entry in table.metadata.metadata_log)}
    names = {location.rpartition("/")[2] for location in known}
    others = [location for location in _listed(io, place) if location.rpartition("/")[2] not in names]
    return [file for file in read_all(io, others) if is_strange(file, table)]


def is_strange(file: MetadataFile, table: Table) -> bool:
    """Whether a metadata file is another table's, or of commits that this table does not know of."""
    metadata = table.metadata
    return file.table_uuid != str(metadata.table_uuid) or file.commit > last_commit(metadata) + 1


def last_commit(metadata: TableMetadata) -> int:
    """The sequence number of a table's last commit; 0 in the first format, which has none."""
    return 0 if isinstance(metadata, TableMetadataV1) else int(metadata.last_sequence_number)


def _listed(io: FileIO, folder: str) -> list[str]:
    """The locations of the metadata files in a folder; none if there is no such folder."""
    files = cast(PyArrowFileIO, io)
    scheme, netloc, path = files.parse_location(folder, files.properties)
    found = files.fs_by_scheme(scheme, netloc).get_file_info(FileSelector(path, allow_not_found=True))
    return [
        f"{folder}/{info.base_name}" for info in found if info.type == FileType.File and info.base_name.endswith(SUFFIX)
    ]


def _short(io: FileIO, location: str) -> MetadataFile | None:
    if location not in _read:
        if len(_read) >= _KEPT:
            _read.clear()
        found = _parsed(io, location)
        if found is None:
            return None  # it may be in the middle of being written
        _read[location] = found
    return _read[location]


def _parsed(io: FileIO, location: str) -> MetadataFile | None:
    try:
        with io.new_input(location).open() as stream:
            content = stream.read()
        packed = location.endswith(".gz" + SUFFIX)
        document: dict[str, Any] = orjson.loads(gzip.decompress(content) if packed else content)
        current = document.get("current-snapshot-id")
        snapshot: dict[str, Any] = next((s for s in document.get("snapshots", []) if s["snapshot-id"] == current), {})
        return MetadataFile(
            location,
            str(document["table-uuid"]),
            int(document.get("last-sequence-number", 0)),
            int(document["last-updated-ms"]),
            int(snapshot.get("summary", {}).get("total-records", 0)),
            snapshot.get("manifest-list"),
            len(document.get("snapshots", [])),
        )
    # A writer is in the middle of it, or was killed there: a sealed file that is half written counts as damaged.
    except (DamagedFile, FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, EOFError):
        return None
