"""pyiceberg's files on pyarrow."""

from typing import TypeVar

from pyarrow.fs import FileSystem, S3FileSystem
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

File = TypeVar("File", bound=PyArrowFile)


class HookedFileIO(PyArrowFileIO):
    """pyiceberg's file IO on pyarrow, whose subclass opens the file systems."""

    def open_local(self) -> FileSystem:
        return super()._initialize_local_fs()

    def open_s3(self, netloc: str | None) -> FileSystem:
        return super()._initialize_s3_fs(netloc)

    def _initialize_local_fs(self) -> FileSystem:
        return self.open_local()

    def _initialize_s3_fs(self, netloc: str | None) -> FileSystem:
        return self.open_s3(netloc)


def with_delayed_open(store: FileSystem) -> S3FileSystem:
    """A file system with the options of an S3 one, that sends a small file with one request instead of three."""
    _, (options,) = store.__reduce__()
    return S3FileSystem(**{**options, "allow_delayed_open": True})


def of_kind(file: PyArrowFile, kind: type[File]) -> File:
    """The same file as an object of a subclass."""
    return kind(file.location, file._path, file._filesystem, file._buffer_size)
