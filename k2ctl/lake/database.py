"""pyiceberg's catalog in a database: its connections, its tables, and what rows it has. `rest_service` has the same."""

import logging
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pyiceberg.catalog import delete_files
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io import FileIO, load_file_io
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from sqlalchemy import ColumnElement, Engine, event, select, update
from sqlalchemy.exc import DisconnectionError, IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

from k2ctl.errors import first_line
from k2ctl.lake.known_metadata import KnownMetadata
from k2ctl.lake.place import read_all
from k2ctl.lake.pyiceberg_overrides.database import TABLE_ROWS, HookedCatalog, catalog_tables
from k2ctl.lake.sqlite_file import identity, set_up

LOG: Final = logging.getLogger("k2ctl.lake")


class DatabaseCatalog(HookedCatalog):
    """pyiceberg's catalog in a database, whose connections are set up before the first one is made."""

    reads_back: Final = False
    """A swap that the database has confirmed is there."""

    lists_namespaces: Final = True

    side_suffix: Final = "-k2"
    """The folder for other files is beside the table, where no tool looks that deletes unreachable files."""

    def __init__(self, name: str, known: KnownMetadata, **properties: str) -> None:
        self._known = known
        super().__init__(name, **properties)

    def read_metadata(self, io: FileIO, location: str) -> TableMetadata:
        return self._known.read(io, location)

    def note_written(self, location: str, metadata: TableMetadata) -> None:
        self._known.note(location, metadata)

    def prepare(self, engine: Engine) -> None:
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", lambda connection, _: set_up(connection))
            if engine.url.database not in (None, "", ":memory:"):
                _follow_file(engine, Path(str(engine.url.database)))
        elif engine.dialect.driver == "psycopg":
            from k2ctl.lake.psycopg_overrides import bound_waits

            bound_waits(engine)

    def drop_old_metadata(self, io: FileIO, dropped: set[str]) -> None:
        """Delete the metadata files that a commit drops from the log, but for those that another row names."""
        try:
            named = set(self.rows().values())
        except SQLAlchemyError as error:
            LOG.warning("old metadata stays for orphan removal", extra={"error": first_line(error)})
            return
        delete_files(io, dropped - named, "metadata")

    def rows(self) -> dict[tuple[str, str], str]:
        """(catalog's name, table's name) → its metadata file, of every table in the database."""
        with self.engine.connect() as connection:
            found = connection.execute(_ROWS).all()
        return {(owner, f"{namespace}.{name}"): location for owner, namespace, name, location in found if location}

    def known_uuids(self) -> set[str]:
        """The tables that the database knows, under whatever name and of whatever catalog."""
        return {file.table_uuid for file in read_all(load_file_io(dict(self.properties)), self.rows().values())}

    def location_of(self, name: str) -> str | None:
        """The metadata file of a table; None where there is no such table."""
        with self.engine.connect() as connection:
            found: str | None = connection.scalar(select(TABLE_ROWS.metadata_location).where(*self._is(name)))
        return found

    def read_table(self, name: str, location: str, io: FileIO) -> Table:
        """A table of `rows`, by its metadata file: it may be another catalog's of the same database."""
        metadata = FromInputFile.table_metadata(io.new_input(location))
        return Table(tuple(name.split(".")), metadata, location, io, self)

    def point_to(self, name: str, before: str, location: str) -> bool:
        """Give a table another metadata file; False where it has not `before` any more."""
        statement = (
            update(TABLE_ROWS)
            .where(*self._is(name), TABLE_ROWS.metadata_location == before)
            .values(metadata_location=location, previous_metadata_location=before)
        )
        with self.engine.begin() as connection:
            return connection.execute(statement).rowcount > 0

    def _is(self, name: str) -> tuple[ColumnElement[bool], ...]:
        namespace, _, table = name.rpartition(".")
        return (
            TABLE_ROWS.catalog_name == self.name,
            TABLE_ROWS.table_namespace == namespace,
            TABLE_ROWS.table_name == table,
        )


def open_database(name: str, properties: Mapping[str, str], known: KnownMetadata) -> DatabaseCatalog:
    """Open a catalog; its tables are made apart, so that many processes may open a new one at once.

    known: the metadata of its tables that is in memory.
    """
    settings: dict[str, str] = {**properties, "pool_pre_ping": "true", "init_catalog_tables": "false"}
    opened = DatabaseCatalog(name, known, **settings)
    make_tables(opened)
    return opened


def make_tables(catalog: SqlCatalog) -> None:
    """The catalog's own tables, where missing. Of two that make one at once the second fails, and finds it then."""
    for _ in catalog_tables():
        try:
            catalog.create_tables()
            return
        except (IntegrityError, ProgrammingError):
            continue
        except OperationalError as error:
            if "already exists" not in str(error):
                raise
    catalog.create_tables()


_ROWS: Final = select(
    TABLE_ROWS.catalog_name, TABLE_ROWS.table_namespace, TABLE_ROWS.table_name, TABLE_ROWS.metadata_location
)


def _follow_file(engine: Engine, file: Path) -> None:
    """Use no connection to a file that was deleted or replaced: what is written there nobody would find again."""

    def note(_: Any, record: Any) -> None:
        record.info["file"] = identity(file)

    def compare(_: Any, record: Any, __: Any) -> None:
        now = identity(file)
        if now is None:
            gone = sqlite3.OperationalError(f"the file {file} is gone")
            raise OperationalError("connect", {}, gone)
        if now != record.info["file"]:
            raise DisconnectionError(f"the file {file} was replaced")

    event.listen(engine, "connect", note)
    event.listen(engine, "checkout", compare)
