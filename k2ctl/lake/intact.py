"""Data files as they were written, or an error that names the file: the one place where they are opened to be read.

A file on a local disk is read whole and held to its seal before its first use, some GB a second, and again once its
size, time or inode have changed. Of a file in an object store that would be a download: there each block is held to
the seal as it is read. Size and rows are held to the manifest's. A file without a seal, which another program wrote, is
held to its page checksums, where it has some: on a local disk before its first use, in a store before it is merged.
"""

import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO

from k2ctl.errors import LakeError, first_line
from k2ctl.lake.seal import BLOCK, Broken
from k2ctl.lake.storage import local_path
from k2ctl.lake.stored import FILES_KEPT, Listed, StoredFile, damaged, expect, hold_to_manifest, read_seal

_AT_ONCE: Final = 4
_PIECE: Final = 16 * BLOCK
_BATCH_ROWS: Final = 100_000

_PAGE: Final = re.compile("CRC|[Tt]hrift|page|magic|Parquet|corrupt|Couldn't deserialize")
"""What Arrow says, as an OSError, of bytes that are not Parquet; of a disk or a store it says other things."""

_Stamp = tuple[int, int, int]
_good: Final[dict[Listed, _Stamp]] = {}
"""Local files that this process has found intact, with size, time and inode of then."""


def checked(io: FileIO, files: Iterable[Listed], *, anew: bool = False) -> list[str]:
    """The paths of some data files, for a reader that opens them by path: DuckDB.

    anew: checks also what was found intact before, and all of what is in a store; for who writes the rows again.

    Raises:
        DamagedFile: one is not what was written. LakeError: one cannot be read. What is gone is the reader's to say.
    """
    wanted = list(files)
    try:
        _check_local([file for file in wanted if local_path(file.path) is not None], anew=anew)
        for file in wanted:
            if local_path(file.path) is None:
                expect(file)
                if anew:
                    _read_through(io, file)
    except OSError as error:
        raise LakeError(f"A data file of the table cannot be read: {first_line(error)}", "See: k2ctl doctor") from error
    return [file.path for file in wanted]


@contextmanager
def open_intact(io: FileIO, file: Listed, **options: Any) -> Iterator[pq.ParquetFile]:
    """A data file, open until the end of the block. options: of `ParquetFile`.

    Raises:
        DamagedFile: it is not what was written; of a store also while it is read.
        OSError: it is gone, or the store does not answer.
    """
    _check_local([file] if local_path(file.path) is not None else [])
    with _opened(io, file, **options) as parquet:
        yield parquet


@contextmanager
def _opened(io: FileIO, file: Listed, **options: Any) -> Iterator[pq.ParquetFile]:
    """The file, whose pages are held to their checksums where it has some."""
    try:
        if local_path(file.path) is not None:
            source: Any = io.new_input(file.path).open()
        else:
            expect(file)
            source = StoredFile(io, file.path, len(io.new_input(file.path)))
        with source:
            yield pq.ParquetFile(pa.PythonFile(source, mode="r"), page_checksum_verification=True, **options)
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and not _PAGE.search(str(error)):
            raise
        raise damaged(file.path, first_line(error)) from error


def _check_local(files: Iterable[Listed], *, anew: bool = False) -> None:
    due = []
    for file in files:
        stamp = _stamp_of(file)
        if stamp is not None and (anew or _good.get(file) != stamp):
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
            hold_to_manifest("bytes", size, file.bytes)
            seal = read_seal(path.name, size, lambda at, count: os.pread(stream.fileno(), count, at))
            if seal is None:
                hold_to_manifest("rows", pq.read_metadata(path).num_rows, file.rows)
                _read_pages(pq.ParquetFile(path, page_checksum_verification=True))
            else:
                hold_to_manifest("rows", seal.rows, file.rows)
                for at in range(0, seal.body, _PIECE):
                    seal.check(os.pread(stream.fileno(), _PIECE, at), at)
    except FileNotFoundError:
        return
    except (Broken, pa.ArrowInvalid) as error:
        raise damaged(file.path, first_line(error)) from None
    except OSError as error:
        if not _PAGE.search(str(error)):
            raise
        raise damaged(file.path, first_line(error)) from None
    while len(_good) >= FILES_KEPT:
        _good.pop(next(iter(_good)), None)
    _good[file] = stamp


def _read_through(io: FileIO, file: Listed) -> None:
    """Read all of a file in a store, and so check all of it."""
    with _opened(io, file) as parquet:
        _read_pages(parquet)


def _read_pages(parquet: pq.ParquetFile) -> None:
    for _ in parquet.iter_batches(_BATCH_ROWS):
        pass
