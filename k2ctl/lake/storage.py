"""The warehouse's file IO: local files are on the disk once they are closed, connections to a store are kept."""

import io
import logging
import os
import re
import threading
from pathlib import Path
from typing import Any, Final

from pyarrow.fs import FileSystem
from pyiceberg.io import FileIO, InputStream, OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowLocalFileSystem

from k2ctl.errors import first_line
from k2ctl.lake.opened import damaged
from k2ctl.lake.pyiceberg_overrides.files import HookedFileIO, of_kind, with_delayed_open
from k2ctl.lake.seal import Broken, hold, is_metadata, sealed

LOG: Final = logging.getLogger("k2ctl.lake")

IO_CLASS: Final = "k2ctl.lake.storage.StorageIO"
"""What the catalog's property `py-io-impl` names."""

_NEWER: Final = re.compile(rb'"format-version": ?[3-9]')
_opened: dict[tuple[tuple[str, str], ...], FileSystem] = {}
OPENED_KEPT: Final = 16
"""A REST service hands out other keys whenever a table is loaded, and each makes connections of its own."""

_lock: Final = threading.Lock()


class StorageIO(HookedFileIO):
    """pyiceberg's file IO on pyarrow, for a writer that commits every second.

    pyiceberg makes one for every table that it loads, each with connections of its own: these are shared. And a commit
    puts four small files one after the other: `allow_delayed_open`, for which pyiceberg has no property, does that with
    one request each instead of three (a multipart upload). An error of the store is then raised when a file is closed.

    Metadata is sealed as it is written, and compared with its seal as it is read: its formats have no checksum.

    All files that a commit names were closed before the catalog's swap. An object store has them then; on a local disk
    they are synced as they are closed, else a power cut could leave a table of empty files whose offsets say "stored".
    """

    def new_input(self, location: str) -> PyArrowFile:
        return _of_metadata(super().new_input(location))

    def new_output(self, location: str) -> PyArrowFile:
        return _of_metadata(super().new_output(location))

    def open_local(self) -> FileSystem:
        return _SyncedFileSystem()

    def open_s3(self, netloc: str | None) -> FileSystem:
        settings = tuple(
            sorted((name, str(value)) for name, value in self.properties.items() if name.startswith("s3."))
        )
        with _lock:
            found = _opened.pop(settings, None) or with_delayed_open(super().open_s3(netloc))
            while len(_opened) >= OPENED_KEPT:
                del _opened[next(iter(_opened))]
            _opened[settings] = found  # the last one used is the last one dropped
            return found


def _of_metadata(file: PyArrowFile) -> PyArrowFile:
    return of_kind(file, _SealedFile) if is_metadata(file.location) else file


class _SealedFile(PyArrowFile):
    """A manifest, a manifest list or a metadata file: small, and read and written as a whole."""

    def open(self, seekable: bool = True) -> InputStream:
        with super().open(seekable) as stream:
            content = stream.read()
        try:
            hold(_name(self.location), content)
        except Broken as error:
            if _NEWER.search(content):
                return io.BytesIO(content)  # another program has raised the format: the check of the table reports that
            raise damaged(f"The metadata file of the table {self.location}", error) from None
        return io.BytesIO(content)

    def create(self, overwrite: bool = False) -> OutputStream:
        return _SealedStream(_name(self.location), super().create(overwrite))


class _SealedStream(io.BytesIO):
    """Held in memory until it is closed, then written with its seal."""

    def __init__(self, name: str, sink: OutputStream) -> None:
        super().__init__()
        self._name, self._sink = name, sink

    def close(self) -> None:
        if not self.closed:
            content = self.getvalue()
            super().close()
            with self._sink:
                self._sink.write(sealed(self._name, content))


def _name(location: str) -> str:
    return location.rpartition("/")[2]


class _SyncedFileSystem(PyArrowLocalFileSystem):
    """The local file system; a file that was closed, its name and its folders survive a power cut."""

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
    """Make a folder and those above it, where missing, so that they survive a power cut."""
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


def delete_or_leave(files: FileIO, location: str) -> None:
    """Delete a file; one that cannot be deleted now is left to orphan removal."""
    try:
        files.delete(location)
    except FileNotFoundError:
        return  # another process has deleted it
    except OSError as error:
        LOG.warning("a file stays for orphan removal", extra={"file": location, "error": first_line(error)})
