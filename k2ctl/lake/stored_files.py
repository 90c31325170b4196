"""The file system through which DuckDB reads an object store: the table's own file IO."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from fsspec import AbstractFileSystem
from pyiceberg.io import FileIO

from k2ctl.lake.data_files import FILES_KEPT, StoredFile, listed_bytes

_UNCHANGED: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Data files never change, so what DuckDB has kept of them is always valid."""


class StoredFiles(AbstractFileSystem):  # type: ignore[misc]
    """The part of a file system that DuckDB needs to read files by their full location. Thread-safe."""

    cachable = False

    def __init__(self, scheme: str, io: Callable[[], FileIO]) -> None:
        super().__init__()
        self.protocol = scheme
        self._io = io
        self._asked_size = lru_cache(FILES_KEPT)(lambda path: len(io().new_input(path)))

    def _size(self, path: str) -> int:
        """By the manifest, where it was planned from one: to ask the store is a request more."""
        known = listed_bytes(path)
        return int(self._asked_size(path)) if known is None else known

    def glob(self, path: str, **_: Any) -> list[str]:
        """No patterns: the file itself."""
        return [path]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return {"name": path, "size": self._size(path), "type": "file"}

    def modified(self, path: str) -> datetime:  # noqa: ARG002
        return _UNCHANGED

    def open(self, path: str, mode: str = "rb", **_: Any) -> StoredFile:
        if mode != "rb":
            raise PermissionError(f"{path} is only read")
        return StoredFile(self._io(), path, self._size(path))
