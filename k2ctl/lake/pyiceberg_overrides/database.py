"""pyiceberg's catalog in a database, with hooks; the rows that it has; and a commit that copies no metadata."""

from abc import abstractmethod
from datetime import datetime
from typing import Final

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog, SqlCatalogBaseTable
from pyiceberg.io import FileIO, load_file_io
from pyiceberg.table import CommitTableResponse, StagedTable, Table
from pyiceberg.table.locations import load_location_provider
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import (
    TableRequirement,
    TableUpdate,
    _apply_table_update,
    _TableMetadataUpdateContext,
    _update_table_metadata_log,
)
from pyiceberg.typedef import Identifier
from pyiceberg.utils.datetime import datetime_to_millis
from sqlalchemy import Engine

TABLE_ROWS: Final = IcebergTables
"""The catalog's rows of tables, as SQLAlchemy maps them."""


class HookedCatalog(SqlCatalog):
    """A catalog in a database whose subclass prepares the connections, reads metadata and deletes old files of it.

    The metadata of a table is shared with others, and is only read.
    """

    @abstractmethod
    def prepare(self, engine: Engine) -> None:
        """Called once, before the first connection."""

    @abstractmethod
    def drop_old_metadata(self, io: FileIO, dropped: set[str]) -> None:
        """Called after a commit that dropped metadata files from the table's log."""

    @abstractmethod
    def read_metadata(self, io: FileIO, location: str) -> TableMetadata:
        """The content of a metadata file that the catalog names."""

    @abstractmethod
    def note_written(self, location: str, metadata: TableMetadata) -> None:
        """Called after each commit, with the file that it has written."""

    def _init_catalog(self) -> None:
        self.prepare(self.engine)
        super()._init_catalog()

    def _convert_orm_to_iceberg(self, orm_table: IcebergTables) -> Table:
        location = str(orm_table.metadata_location)
        metadata = self.read_metadata(load_file_io(self.properties, location), location)
        name = (*Catalog.identifier_to_tuple(str(orm_table.table_namespace)), str(orm_table.table_name))
        return Table(name, metadata, location, self._load_file_io(metadata.properties, location), self)

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        response = super().commit_table(table, requirements, updates)
        self.note_written(response.metadata_location, response.metadata)
        return response

    def _update_and_stage_table(
        self,
        current_table: Table | None,
        table_identifier: Identifier,
        requirements: tuple[TableRequirement, ...],
        updates: tuple[TableUpdate, ...],
    ) -> StagedTable:
        """pyiceberg ends with a deep copy of the metadata: a quarter of a commit with a hundred snapshots."""
        if current_table is None:
            return super()._update_and_stage_table(current_table, table_identifier, requirements, updates)
        for requirement in requirements:
            requirement.validate(current_table.metadata)
        metadata = _updated(current_table.metadata, updates, current_table.metadata_location)
        version = self._parse_metadata_version(current_table.metadata_location) + 1
        places = load_location_provider(metadata.location, metadata.properties)
        location = places.new_table_metadata_file_location(version)
        files = self._load_file_io(metadata.properties, location)
        return StagedTable(table_identifier, metadata, location, files, self)

    def _delete_old_metadata(  # type: ignore[override]  # a static method there, called on the object
        self, io: FileIO, base: TableMetadata, metadata: TableMetadata
    ) -> None:
        dropped = {entry.metadata_file for entry in base.metadata_log}
        dropped -= {entry.metadata_file for entry in metadata.metadata_log}
        if dropped:
            self.drop_old_metadata(io, dropped)


def _updated(base: TableMetadata, updates: tuple[TableUpdate, ...], location: str) -> TableMetadata:
    """The metadata after some updates; location: of the file that has it before them.

    It shares with `base` what is not updated.
    """
    context, metadata = _TableMetadataUpdateContext(), base
    for update in updates:
        metadata = _apply_table_update(update, metadata, context)
    if context.has_changes():
        metadata = _update_table_metadata_log(metadata, location, base.last_updated_ms)
        if metadata.last_updated_ms == base.last_updated_ms:
            metadata = metadata.model_copy(update={"last_updated_ms": datetime_to_millis(datetime.now().astimezone())})
    metadata.spec().check_compatible(metadata.schema())
    metadata.sort_order().check_compatible(metadata.schema())
    return metadata


def catalog_tables() -> list[str]:
    """The names of the catalog's own tables."""
    return [*SqlCatalogBaseTable.metadata.tables]
