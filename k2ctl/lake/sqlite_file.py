"""A catalog in a file of SQLite, asked where tables are: a tenth of a query's time goes into importing SQLAlchemy.

Whatever else is asked of the catalog, such as a swap, `database.DatabaseCatalog` does; both have one layout and one
set-up of connections.
"""

import sqlite3
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.io import load_file_io
from pyiceberg.table import Table

from k2ctl.lake.known_metadata import KnownMetadata

_LOCATION: Final = """
    SELECT metadata_location FROM iceberg_tables
    WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND coalesce(iceberg_type, 'TABLE') = 'TABLE'
"""


class FileCatalog:
    """The same as `database.DatabaseCatalog`, quick to open. Thread-safe.

    known: the metadata that both have read. whole: opens that one, for all that is not done here.

    Raises:
        sqlite3.Error: the file is none of SQLite's, or its tables are not there, or of an older layout.
    """

    reads_back: Final = False
    lists_namespaces: Final = True
    side_suffix: Final = "-k2"

    def __init__(
        self, name: str, properties: Mapping[str, str], file: Path, known: KnownMetadata, whole: Callable[[], Any]
    ) -> None:
        self.name, self.properties, self._file = name, dict(properties), file
        self._known, self._open_whole = known, whole
        self._lock = threading.Lock()
        self._connected: tuple[sqlite3.Connection, tuple[int, int]] | None = None
        self.location_of("k2.none")

    def load_table(self, name: str | tuple[str, ...]) -> Table:
        """The table with its newest metadata.

        Raises:
            NoSuchTableError: the catalog does not know it. OSError: the metadata file cannot be read.
        """
        whole = name if isinstance(name, str) else ".".join(name)
        location = self.location_of(whole)
        if location is None:
            raise NoSuchTableError(f"Table does not exist: {whole}")
        metadata = self._known.read(load_file_io(self.properties, location), location)
        files = load_file_io({**self.properties, **metadata.properties}, location)
        return Table(tuple(whole.split(".")), metadata, location, files, self)  # type: ignore[arg-type]

    def location_of(self, name: str) -> str | None:
        """The metadata file of a table; None where there is no such table."""
        namespace, _, table = name.rpartition(".")
        with self._lock:
            found = self._connection().execute(_LOCATION, (self.name, namespace, table)).fetchone()
        return None if found is None else found[0]

    def _connection(self) -> sqlite3.Connection:
        """One to the file that is there now: in one that was replaced nobody else would look."""
        now = identity(self._file)
        if now is None:
            raise sqlite3.OperationalError(f"the file {self._file} is gone")
        if self._connected is not None and self._connected[1] != now:
            self._disconnect()
        if self._connected is None:
            opened = sqlite3.connect(
                f"file:{quote(str(self._file))}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
            )
            set_up(opened)
            self._connected = opened, now
        return self._connected[0]

    def _disconnect(self) -> None:
        if self._connected is not None:
            self._connected[0].close()
            self._connected = None

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            self._disconnect()
        if "_whole" in self.__dict__:
            self._whole.close()

    @cached_property
    def _whole(self) -> Any:
        return self._open_whole()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


def identity(file: Path) -> tuple[int, int] | None:
    """Which file is there; None without any."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def set_up(connection: sqlite3.Connection) -> None:
    """Let readers pass a writer, wait for a lock rather than fail at once, and have each commit on the disk."""
    connection.execute("PRAGMA busy_timeout=5000")
    # With NORMAL a power cut takes the last commits, rows and offsets together. But files that those had replaced are
    # deleted by then: spill files that were backfilled, old metadata. The table would lead to files that are gone.
    connection.execute("PRAGMA synchronous=FULL")
    # Two that open a new file at once both want to change its mode, and SQLite fails one of them without waiting. The
    # mode is the file's, so whoever comes first sets it for all.
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode=WAL")


def is_damaged(error: Exception) -> bool:
    """Whether SQLite says that a catalog's file is none of its own, which stays so however often it is asked."""
    return type(getattr(error, "orig", error)) is sqlite3.DatabaseError
