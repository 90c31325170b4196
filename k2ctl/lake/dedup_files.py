"""Deduplication state saved beside the table: an index of each topic, or of each member of its group, and its files.

The index is replaced in one step after its files are written, so it always names whole files. It names the commits
that they cover; a loader adds the rows of later commits. The table is authoritative: state that cannot be read is
rebuilt from it.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pyiceberg.table import Table

from k2ctl.domain.checked_file import body_of, framed
from k2ctl.errors import first_line
from k2ctl.lake.side_folder import DEDUP, SideFolder

LOG: Final = logging.getLogger("k2ctl.lake")

INDEX_SUFFIX: Final = ".index.json"
MAGIC: Final = b"K2DEDUPI"
_VERSION: Final = 2


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
    # Per "epoch/partition", the Kafka offset after these commits; for people.
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

    @property
    def files(self) -> set[str]:
        """Every file that it names."""
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
