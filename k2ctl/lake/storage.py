"""The warehouse's file IO: local files are on the disk once they are closed, connections to a store are kept."""

import io
import os
import threading
from pathlib import Path
from typing import Any, Final

from pyarrow.fs import FileSystem, S3FileSystem
from pyiceberg.io.pyarrow import PyArrowFileIO, PyArrowLocalFileSystem

IO_CLASS: Final = "k2ctl.lake.storage.StorageIO"
"""What the catalog's property `py-io-impl` names."""

_opened: dict[tuple[tuple[str, str], ...], FileSystem] = {}
_lock: Final = threading.Lock()


class StorageIO(PyArrowFileIO):
    """pyiceberg's file IO on pyarrow, for a writer that commits every second.

    pyiceberg makes one for every table that it loads, each with connections of its own: these are shared. And a commit
    puts four small files one after the other: `allow_delayed_open`, for which pyiceberg has no property, does that with
    one request each instead of three (a multipart upload). What the store refuses is then said when a file is closed.

    Whatever a commit names was closed before the catalog's swap. An object store has it then; on a local disk the
    files are synced as they are closed, else a power cut could leave a table of empty files whose offsets say "stored".
    """

    def _initialize_local_fs(self) -> FileSystem:
        return _SyncedFileSystem()

    def _initialize_s3_fs(self, netloc: str | None) -> FileSystem:
        settings = tuple(
            sorted((name, str(value)) for name, value in self.properties.items() if name.startswith("s3."))
        )
        with _lock:
            if settings not in _opened:
                _, (options,) = super()._initialize_s3_fs(netloc).__reduce__()
                _opened[settings] = S3FileSystem(**{**options, "allow_delayed_open": True})
            return _opened[settings]


class _SyncedFileSystem(PyArrowLocalFileSystem):
    """The local file system, where a file that was closed, its name and its folders outlast a power cut."""

    def open_output_stream(
        self, path: str, *_: Any, buffer_size: int = io.DEFAULT_BUFFER_SIZE, **__: Any
    ) -> io.BufferedWriter:
        make_folder(Path(path).parent)
        return io.BufferedWriter(_SyncedFile(path, "wb"), buffer_size)


class _SyncedFile(io.FileIO):
    """Written to the disk when it is closed, and then its name in the folder."""

    def close(self) -> None:
        if self.closed:
            return
        try:
            os.fsync(self.fileno())
        finally:
            super().close()
        sync_folder(Path(os.fsdecode(self.name)).parent)


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a folder and those above it, where missing, so that they outlast a power cut."""
    if folder.is_dir():
        return
    make_folder(folder.parent, mode)
    folder.mkdir(mode, exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Write a folder's names to the disk: a file that was synced is lost when its name is not."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
