"""Data files as they were written, or an error that names the file: the one place that opens them.

A file on a local disk is read whole and compared with its seal before its first use, some GB a second, and again once
its size, time or inode have changed. Of a file in an object store that would be a download: there each block is
compared as it is read. Size and rows are compared with the manifest's. A file without a seal, which another program
wrote, has its page checksums checked where it has some: on a local disk before its first use, in a store before a
merge.
"""

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import NativeFile
from pyarrow.fs import FileType
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import DataFile

from k2ctl.errors import DamagedFile, LakeUnanswered, first_line
from k2ctl.lake.addresses import local_path
from k2ctl.lake.seal import BLOCK, Broken, Seal, length_of_seal, parse_seal

ReadAt = Callable[[int, int], bytes]
"""Offset and count → bytes."""

RESTORE: Final = "Restore this file from a backup, then ask again. Nothing was answered from it."
FILES_KEPT: Final = 65_536
_AT_ONCE: Final = 4
_PIECE: Final = 16 * BLOCK
READ_WHOLE_BYTES: Final = 32 * BLOCK
"""A file of a store that is no larger is read by one request: each takes longer than so many bytes do."""
_BATCH_ROWS: Final = 100_000

_PAGE: Final = re.compile("CRC|[Tt]hrift|page|magic|Parquet|corrupt|Couldn't deserialize")
"""What Arrow says, as an OSError, of bytes that are not Parquet; of a disk or a store it says other things."""


@dataclass(frozen=True)
class Listed:
    """What a manifest says of a data file."""

    path: str
    bytes: int
    rows: int

    @staticmethod
    def of(file: DataFile) -> "Listed":
        """The part of a manifest's entry that the file is compared with."""
        return Listed(file.file_path, file.file_size_in_bytes, file.record_count)


_Stamp = tuple[int, int, int]
_intact: Final[dict[Listed, _Stamp]] = {}
"""Local files that this process has found intact, with size, time and inode of then."""

_listed: Final[dict[str, Listed]] = {}
"""What the manifests say of the files of stores that were planned in this process."""


def checked(io: FileIO, files: Iterable[Listed], *, again: bool = False) -> list[str]:
    """The paths of some data files, for a reader that opens them by path: DuckDB.

    again: also checks what was found intact before, and all bytes of a file in a store; for a program that writes the
    rows a second time.

    Raises:
        DamagedFile: one is not what was written. LakeUnanswered: one cannot be read. The reader reports files that are
        gone.
    """
    wanted = list(files)
    with reading():
        _check_local([file for file in wanted if local_path(file.path) is not None], again=again)
        for file in wanted:
            if local_path(file.path) is None:
                _expect(file)
                if again:
                    _read_whole(io, file)
    return [file.path for file in wanted]


def not_as_listed(io: FileIO, files: Iterable[Listed]) -> dict[str, str]:
    """Path → what is wrong, of files that are gone or of another size than their manifest states. Reads no file.

    Raises:
        LakeUnanswered: the store does not answer.
    """
    listed = list(files)
    found: dict[str, str] = {}
    if not listed:
        return found
    arrow_io = cast(PyArrowFileIO, io)
    places = [arrow_io.parse_location(file.path, arrow_io.properties) for file in listed]
    scheme, netloc, _ = places[0]
    with reading():
        infos = arrow_io.fs_by_scheme(scheme, netloc).get_file_info([path for _, _, path in places])
    for file, info in zip(listed, infos, strict=True):
        if info.type != FileType.File:
            found[file.path] = "it is gone"
        elif info.size != file.bytes:
            found[file.path] = f"it has {info.size:,} bytes, and {file.bytes:,} were written"
    return found


@contextmanager
def open_data_file(io: FileIO, file: Listed, **options: Any) -> Iterator[pq.ParquetFile]:
    """A data file, open until the end of the block. options: of `ParquetFile`.

    Raises:
        DamagedFile: it is not what was written; of a store also while it is read.
        LakeUnanswered: it is gone, or the store does not answer.
    """
    with reading(file.path):
        _check_local([file] if local_path(file.path) is not None else [])
        with _opened(io, file, **options) as parquet:
            yield parquet


@contextmanager
def reading(path: str = "") -> Iterator[None]:
    """A block that reads data files. An OSError in it is a `LakeUnanswered`, with the path where it is given."""
    try:
        yield
    except OSError as error:
        which = f"{path}: " if path else ""
        raise LakeUnanswered(
            f"A data file of the table cannot be read: {which}{first_line(error)}", "See: k2ctl doctor"
        ) from error


def _damaged(path: str, what: str) -> DamagedFile:
    return DamagedFile(f"A data file of the table cannot be read: {path}: it is damaged, {what}", RESTORE)


@contextmanager
def _opened(io: FileIO, file: Listed, **options: Any) -> Iterator[pq.ParquetFile]:
    """The file; its pages are compared with their checksums where it has some."""
    try:
        if local_path(file.path) is not None:
            source: Any = io.new_input(file.path).open()
        else:
            _expect(file)
            source = StoredFile(io, file.path, len(io.new_input(file.path)))
        with source:
            yield pq.ParquetFile(pa.PythonFile(source, mode="r"), page_checksum_verification=True, **options)
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and not _PAGE.search(str(error)):
            raise
        raise _damaged(file.path, first_line(error)) from error


def _check_local(files: Iterable[Listed], *, again: bool = False) -> None:
    due = []
    for file in files:
        stamp = _stamp_of(file)
        if stamp is not None and (again or _intact.get(file) != stamp):
            due.append((file, stamp))
    if len(due) > 1:
        with ThreadPoolExecutor(_AT_ONCE, "k2-intact") as pool:
            list(pool.map(lambda one: _check(*one), due))
    elif due:
        _check(*due[0])


def _path(file: Listed) -> Path:
    return local_path(file.path) or Path(file.path)


def _stamp_of(file: Listed) -> _Stamp | None:
    try:
        status = _path(file).stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


def _check(file: Listed, stamp: _Stamp) -> None:
    path, size = _path(file), stamp[0]
    try:
        with path.open("rb", buffering=0) as stream:
            _compare("bytes", size, file.bytes)
            seal = _read_seal(path.name, size, lambda at, count: os.pread(stream.fileno(), count, at))
            if seal is None:
                _compare("rows", pq.read_metadata(path).num_rows, file.rows)
                _read_pages(pq.ParquetFile(path, page_checksum_verification=True))
            else:
                _compare("rows", seal.rows, file.rows)
                for at in range(0, seal.body, _PIECE):
                    seal.check(os.pread(stream.fileno(), _PIECE, at), at)
    except FileNotFoundError:
        return  # a compaction may have replaced it; the reader reports it if not
    except (Broken, pa.ArrowInvalid) as error:
        raise _damaged(file.path, first_line(error)) from None
    except OSError as error:
        if not _PAGE.search(str(error)):
            raise
        raise _damaged(file.path, first_line(error)) from None
    while len(_intact) >= FILES_KEPT:
        _intact.pop(next(iter(_intact)), None)
    _intact[file] = stamp


def _read_whole(io: FileIO, file: Listed) -> None:
    """All of a file of a store: by its seal, which no page has to be decoded for, or by its page checksums."""
    with StoredFile(io, file.path, len(io.new_input(file.path))) as source:
        if source.is_sealed():
            for at in range(0, source.size, _PIECE):
                source.seek(at)
                source.read(_PIECE)
            return
    with _opened(io, file) as parquet:
        _read_pages(parquet)


def _read_pages(parquet: pq.ParquetFile) -> None:
    for _ in parquet.iter_batches(_BATCH_ROWS):
        pass


def _read_seal(name: str, size: int, read_at: ReadAt) -> Seal | None:
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


def _compare(what: str, found: int, listed: int) -> None:
    """Raises Broken when a file's count of `what`, bytes or rows, is not what the manifest says."""
    if found != listed:
        raise Broken(f"it has {found:,} {what}, and its manifest says {listed:,}")


def _expect(listed: Listed) -> None:
    """From now on, compare a file of a store with its manifest's entry whenever it is opened."""
    while len(_listed) >= FILES_KEPT:
        _listed.pop(next(iter(_listed)), None)
    _listed[listed.path] = listed


def listed_bytes(path: str) -> int | None:
    """How long a file of a store is by its manifest, with which it is compared when it is opened; None of others."""
    listed = _listed.get(path)
    return None if listed is None else listed.bytes


class StoredFile:
    """An open file of a store, for DuckDB and for Arrow. Each thread has a position of its own.

    The store is asked nothing before the first read. A read raises `DamagedFile` where the content was altered.
    """

    def __init__(self, io: FileIO, path: str, size: int) -> None:
        self._io = io
        self._path = path
        self.size = size
        self._lock = threading.Lock()
        self._stream: NativeFile | None = None
        self._seal: Seal | None = None
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
            raise _damaged(self._path, str(error)) from None
        self._position.at = at + len(content)
        return content

    def is_sealed(self) -> bool:
        """Whether it has a seal, with which every read compares. Raises: DamagedFile: the seal itself is damaged."""
        self.seek(0)
        self.read(1)
        return self._seal is not None

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
                    _compare("bytes", stream.size(), listed.bytes)
                if self.size <= READ_WHOLE_BYTES:
                    with stream:
                        stream = pa.BufferReader(stream.read_at(self.size, 0))
                self._seal = _read_seal(name, self.size, lambda at, count: stream.read_at(count, at))
                if listed is not None:
                    _compare("rows", self._rows(stream), listed.rows)
                self._stream = stream
            return self._stream

    def _rows(self, stream: NativeFile) -> int:
        if self._seal is not None:
            return self._seal.rows
        try:
            return int(pq.read_metadata(stream).num_rows)
        except pa.ArrowException as error:
            raise Broken(first_line(error)) from None

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def __enter__(self) -> "StoredFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
