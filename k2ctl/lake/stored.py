"""Data files of an object store: each block is held to the file's seal as it is read."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

import pyarrow.parquet as pq
from pyarrow import ArrowException, NativeFile
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile

from k2ctl.errors import DamagedFile, first_line
from k2ctl.lake.seal import BLOCK, Broken, Seal, length_of_seal, parse_seal

ReadAt = Callable[[int, int], bytes]
"""Offset and count → bytes."""


@dataclass(frozen=True)
class Listed:
    """What a manifest says of a data file."""

    path: str
    bytes: int
    rows: int

    @staticmethod
    def of(file: DataFile) -> "Listed":
        """The part of a manifest's entry that is held against the file."""
        return Listed(file.file_path, file.file_size_in_bytes, file.record_count)


RESTORE: Final = "Restore this file from a backup, then ask again. Nothing was answered from it."


def damaged(path: str, what: str) -> DamagedFile:
    """The error of a data file that is not what was written."""
    return DamagedFile(f"A data file of the table cannot be read: {path}: it is damaged, {what}", RESTORE)


def read_seal(name: str, size: int, read_at: ReadAt) -> Seal | None:
    """The seal of a file; None for one that another program wrote.

    Raises:
        Broken: it is damaged.
    """
    start = max(0, (size - BLOCK) // BLOCK * BLOCK)
    ending = read_at(start, size - start)
    length = length_of_seal(ending)
    if length is None:
        return None
    if len(ending) < length <= size:
        ending = read_at(size - length, length)
    return parse_seal(name, ending, size)


def hold_to_manifest(what: str, found: int, listed: int) -> None:
    """Raises Broken when a file's count of `what`, bytes or rows, is not what the manifest says."""
    if found != listed:
        raise Broken(f"it has {found:,} {what}, and its manifest says {listed:,}")


FILES_KEPT: Final = 65_536
_listed: Final[dict[str, Listed]] = {}
"""What the manifests say of the files of stores that were planned in this process."""


def expect(listed: Listed) -> None:
    """Hold a file of a store to its manifest's entry whenever it is opened from now on."""
    while len(_listed) >= FILES_KEPT:
        _listed.pop(next(iter(_listed)), None)
    _listed[listed.path] = listed


class StoredFile:
    """An open file of a store, for DuckDB and for Arrow. Each thread has a position of its own.

    Nothing is asked of the store before the first read. What is read raises `DamagedFile` where it was altered.
    """

    def __init__(self, io: FileIO, path: str, size: int) -> None:
        self._io = io
        self._path = path
        self.size = size
        self._lock = threading.Lock()
        self._stream: NativeFile | None = None
        self._seal: Seal | None = None
        self._ending = b""  # what lies behind the body
        self._position = threading.local()

    @property
    def closed(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position.at = offset + {0: 0, 1: self.tell(), 2: self.size}[whence]
        return int(self._position.at)

    def tell(self) -> int:
        return getattr(self._position, "at", 0)

    def read(self, count: int = -1) -> bytes:
        at = self.tell()
        wanted = self.size - at if count < 0 else min(count, self.size - at)
        try:
            content = self._read(at, wanted)
        except Broken as error:
            raise damaged(self._path, str(error)) from None
        self._position.at = at + len(content)
        return content

    def _read(self, at: int, count: int) -> bytes:
        stream = self._opened()
        if self._seal is None:
            return bytes(stream.read_at(count, at))
        start, end = at // BLOCK * BLOCK, min(self.size, -(-(at + count) // BLOCK) * BLOCK)
        content = stream.read_at(end - start, start)
        if len(content) < end - start:
            raise Broken("bytes are missing")
        self._seal.check(content, start)
        return bytes(memoryview(content)[at - start : at - start + count])

    def _opened(self) -> NativeFile:
        with self._lock:
            if self._stream is None:
                stream = cast(NativeFile, self._io.new_input(self._path).open())
                listed, name = _listed.get(self._path), self._path.rpartition("/")[2]
                if listed is not None:
                    hold_to_manifest("bytes", self.size, listed.bytes)
                self._seal = read_seal(name, self.size, lambda at, count: stream.read_at(count, at))
                if listed is not None:
                    hold_to_manifest("rows", self._rows(stream), listed.rows)
                self._stream = stream
            return self._stream

    def _rows(self, stream: NativeFile) -> int:
        if self._seal is not None:
            return self._seal.rows
        try:
            return int(pq.read_metadata(stream).num_rows)
        except ArrowException as error:
            raise Broken(first_line(error)) from None

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def __enter__(self) -> "StoredFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
