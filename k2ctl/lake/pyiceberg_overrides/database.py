"""pyiceberg's catalog in a database, with hooks; the rows that it has."""

from abc import abstractmethod
from typing import Final

from pyiceberg.catalog.sql import IcebergTables, SqlCatalog, SqlCatalogBaseTable
from pyiceberg.io import FileIO
from pyiceberg.table.metadata import TableMetadata
from sqlalchemy import Engine

TABLE_ROWS: Final = IcebergTables
"""The catalog's rows of tables, as SQLAlchemy maps them."""


class HookedCatalog(SqlCatalog):
    """A catalog in a database whose subclass prepares the connections and deletes old metadata."""

    @abstractmethod
    def prepare(self, engine: Engine) -> None:
        """Called once, before the first connection."""

    @abstractmethod
    def drop_old_metadata(self, io: FileIO, dropped: set[str]) -> None:
        """Called after a commit that dropped metadata files from the table's log."""

    def _init_catalog(self) -> None:
        self.prepare(self.engine)
        super()._init_catalog()

    def _delete_old_metadata(  # type: ignore[override]  # a static method there, called on the object
        self, io: FileIO, base: TableMetadata, metadata: TableMetadata
    ) -> None:
        dropped = {entry.metadata_file for entry in base.metadata_log}
        dropped -= {entry.metadata_file for entry in metadata.metadata_log}
        if dropped:
            self.drop_old_metadata(io, dropped)


def catalog_tables() -> list[str]:
    """The names of the catalog's own tables."""
    return [*SqlCatalogBaseTable.metadata.tables]
