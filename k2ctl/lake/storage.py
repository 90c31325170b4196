"""The warehouse's file IO: connections to an object store are kept for as long as the process lives."""

import threading
from typing import Final

from pyarrow.fs import FileSystem, S3FileSystem
from pyiceberg.io.pyarrow import PyArrowFileIO

IO_CLASS: Final = "k2ctl.lake.storage.StorageIO"
"""What the catalog's property `py-io-impl` names."""

_opened: dict[tuple[tuple[str, str], ...], FileSystem] = {}
_lock: Final = threading.Lock()


class StorageIO(PyArrowFileIO):
    """pyiceberg's file IO on pyarrow, for a writer that commits every second.

    pyiceberg makes one for every table that it loads, each with connections of its own: these are shared. And a commit
    puts four small files one after the other: `allow_delayed_open`, for which pyiceberg has no property, does that with
    one request each instead of three (a multipart upload). What the store refuses is then said when a file is closed.
    """

    def _initialize_s3_fs(self, netloc: str | None) -> FileSystem:
        settings = tuple(
            sorted((name, str(value)) for name, value in self.properties.items() if name.startswith("s3."))
        )
        with _lock:
            if settings not in _opened:
                _, (options,) = super()._initialize_s3_fs(netloc).__reduce__()
                _opened[settings] = S3FileSystem(**{**options, "allow_delayed_open": True})
            return _opened[settings]
