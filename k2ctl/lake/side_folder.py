"""The folder beside the table: spill files, what has outgrown its property or summary, and deduplication state.

It is where tools that delete unreachable files do not see it: outside the table's location or, in a REST catalog, whose
keys open nothing else, inside under a name that begins with an underscore. Everything goes through
the table's own file IO, so that a consumer on any machine finds it; on a local disk it is private and synced.

Deduplication state has an index of each topic, or of each member of its group, which is replaced in one step after its
files are written, so it always names whole files. It names the commits that they cover; a loader adds the rows of later
commits. The table is authoritative: state that cannot be read is rebuilt from it.
"""

import hashlib
import logging
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import orjson
from pyarrow.fs import FileInfo, FileSelector, FileType
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table

from k2ctl.domain.checked_file import body_of, framed
from k2ctl.domain.checkpoint import SUMMARY_OFFSETS_FILE
from k2ctl.domain.ledger import INLINE_ENTRIES, LEDGER_PROPERTY, Ledger
from k2ctl.errors import LakeError, LakeUnanswered, first_line
from k2ctl.lake.addresses import local_path
from k2ctl.lake.storage import delete_or_leave, make_folder, sync_folder

SPILL: Final = "spill"
LEDGER: Final = "ledger"
DEDUP: Final = "dedup"
OFFSETS: Final = "offsets"
QUARANTINE: Final = "quarantine"


def side_suffix(table: Table) -> str:
    """What follows the table's location in that of its side folder: its kind of catalog decides."""
    suffix: str = table.catalog.side_suffix  # type: ignore[attr-defined]  # every catalog of a `Lake` has it
    return suffix


class Unanswered(OSError):
    """The object store does not answer: the file may be intact."""


class SideFolder:
    """Files beside one table, named by their full location."""

    def __init__(self, table: Table) -> None:
        self._io = table.io
        self._root = table.location().rstrip("/") + side_suffix(table)

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

    def has(self, location: str) -> bool:
        """Whether a file is there.

        Raises:
            OSError: the store does not answer.
        """
        return self._io.new_input(location).exists()

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
    summaries = (one.summary.additional_properties for one in table.metadata.snapshots if one.summary)
    copies = {summary[SUMMARY_OFFSETS_FILE] for summary in summaries if SUMMARY_OFFSETS_FILE in summary}
    text = table.metadata.properties.get(LEDGER_PROPERTY)
    if text is None:
        return copies
    return copies | ledger_of(table).spill_files | {location for location in [ledger_file(text)] if location}


def ledger_file(text: str) -> str | None:
    """The file that the property names; None when the entries are in the property itself."""
    return str(orjson.loads(text)["file"]) if text.startswith("{") else None


LOG: Final = logging.getLogger("k2ctl.lake")

INDEX_SUFFIX: Final = ".index.json"
MAGIC: Final = b"K2DEDUPI"
_VERSION: Final = 3


@dataclass(frozen=True)
class SavedChunk:
    """A chunk's file and what it covers."""

    file: str
    # Live, stray or closed.
    kind: str
    # Event times of its trades.
    first_us: int
    last_us: int
    # When the last id was added.
    stamp_us: int


@dataclass(frozen=True)
class DedupIndex:
    """What one consumer remembers of a topic."""

    topic: str
    # The table's uuid.
    table: str
    # Rows of commits up to this one are in the files.
    sequence_number: int
    # Per "epoch/partition", the Kafka offset after these commits.
    offsets: Mapping[str, int]
    saved_us: int
    window_us: int
    # The event time before which ids may be forgotten.
    floor_us: int
    # The file of the interval sets.
    sequenced: str
    chunks: tuple[SavedChunk, ...]
    # The member of a group that saved it; empty for a consumer that reads alone.
    member: str = ""
    # Those whose rows it covers; None for all.
    partitions: tuple[int, ...] | None = None
    # As `offsets`, after the last row that is remembered, and that no commit had stored yet.
    pending_ends: Mapping[str, int] = field(default_factory=dict)

    @property
    def files(self) -> set[str]:
        return {self.sequenced, *(chunk.file for chunk in self.chunks)}

    def live_files(self, now_us: int) -> set[str]:
        """The files that are still within the window; none when all has passed."""
        earliest = now_us - self.window_us
        live = {chunk.file for chunk in self.chunks if chunk.stamp_us >= earliest}
        return live | {self.sequenced} if live or self.saved_us >= earliest else set()


class DedupFolder:
    """The saved state of one table."""

    def __init__(self, table: Table) -> None:
        self._folder = SideFolder(table)
        self.table_id = str(table.metadata.table_uuid)

    def write(self, content: bytes) -> str:
        """A new file; returns its location. Raises OSError when the store does not take it."""
        return self._folder.write(DEDUP, content, "ids")

    def read(self, location: str) -> bytes:
        """The whole file. Raises OSError when it is gone."""
        return self._folder.read(location)

    def delete(self, locations: Iterable[str]) -> None:
        """Delete files; one that cannot be deleted now is left to orphan removal."""
        for location in locations:
            self._folder.delete(location)

    def put_index(self, index: DedupIndex) -> None:
        """Make an index the one of its topic. Raises OSError when the store does not take it."""
        # Kafka allows letters, digits, dots, dashes and underscores in topics.
        name = index.topic + (f"@{index.member}" if index.member else "") + INDEX_SUFFIX
        chunks = [vars(chunk) for chunk in index.chunks]
        document = orjson.dumps({"version": _VERSION, **vars(index), "chunks": chunks})
        self._folder.put(DEDUP, name, framed(MAGIC, document))

    def indexes(self, topic: str) -> list[DedupIndex]:
        """Every index of a topic that can be read, the newest commits first.

        Raises:
            OSError: the store does not answer.
        """
        ours = [name for name in self._folder.names(DEDUP) if _is_of(name, topic)]
        found = [index for index in map(self._index, ours) if index is not None]
        return sorted(found, key=lambda index: index.sequence_number, reverse=True)

    def _index(self, name: str) -> DedupIndex | None:
        try:
            found = parse_index(self._folder.read(self._folder.location(DEDUP, name)))
        except FileNotFoundError:
            return None
        except OSError as error:
            LOG.warning("a deduplication index cannot be read", extra={"index": name, "error": first_line(error)})
            return None
        if found is None:
            LOG.warning("a deduplication index is damaged or of another version", extra={"index": name})
        return found


def _is_of(name: str, topic: str) -> bool:
    return name.endswith(INDEX_SUFFIX) and name.removesuffix(INDEX_SUFFIX).partition("@")[0] == topic


def parse_index(content: bytes) -> DedupIndex | None:
    """An index from its file, a checked frame of a JSON object; None when it is damaged or of another version."""
    try:
        document: dict[str, Any] = orjson.loads(body_of(MAGIC, content))
        if document.pop("version") != _VERSION:
            return None
        chunks = tuple(SavedChunk(**chunk) for chunk in document.pop("chunks"))
        partitions = document.pop("partitions")
        return DedupIndex(chunks=chunks, partitions=None if partitions is None else tuple(partitions), **document)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def live_dedup_names(table: Table, names: Iterable[str], now_us: int) -> set[str]:
    """Of files beside the table (names without folders), those that an index needs, and the indexes in use."""
    folder, live = SideFolder(table), set[str]()
    for name in names:
        if not name.endswith(INDEX_SUFFIX):
            continue
        try:
            index = parse_index(folder.read(folder.location(DEDUP, name)))
        except FileNotFoundError:
            continue  # it was deleted after it was listed
        files = index.live_files(now_us) if index else set()
        if files:
            live |= {name, *(file.rpartition("/")[2] for file in files)}
    return live
