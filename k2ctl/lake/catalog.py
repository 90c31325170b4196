"""The catalog and the table: connect, create with K2's properties, load fresh."""

import errno
import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import Any, Final

from pyiceberg.catalog.sql import SqlCatalog, SqlCatalogBaseTable
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.io import PY_IO_IMPL, FileIO, load_file_io
from pyiceberg.io.pyarrow import pyarrow_to_schema
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortField, SortOrder
from pyiceberg.transforms import HourTransform, IdentityTransform
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

from k2ctl.errors import LakeError, LakeUnanswered, first_line
from k2ctl.home import Endpoints, without_password
from k2ctl.lake.opened import check_readable, damaged
from k2ctl.lake.storage import IO_CLASS
from k2ctl.schema.rows import arrow_schema
from k2ctl.schema.topics import TABLE

CATALOG_NAME: Final = "k2"
TABLE_PROPERTIES: Final = {
    "format-version": "2",
    "commit.retry.num-retries": "0",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "30",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "write.metadata.metrics.default": "full",
    "write.metadata.metrics.column.message_id": "counts",
    "write.parquet.compression-codec": "zstd",
    "read.parquet.vectorization.enabled": "false",  # Spark's vectorised reader does not know our delta encodings
}

_REFUSED: Final = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR}
"""What a disk says that answers well enough: it is full, read-only, another's, or not there."""

# Two writers both trim the metadata log; the second one's "file not found" is no news.
logging.getLogger("pyiceberg.catalog").setLevel(logging.ERROR)


class Lake:
    """The table of trades in its catalog. One per process and thread that commits; holds a connection pool.

    storage: properties of the file IO that reaches the warehouse, such as `s3.endpoint`; empty for local files.
    """

    def __init__(self, catalog_uri: str, warehouse: str, storage: Mapping[str, str] = MappingProxyType({})) -> None:
        self.catalog_uri = catalog_uri
        self.warehouse = warehouse
        self.storage = dict(storage)
        properties = {
            **self.storage,
            PY_IO_IMPL: IO_CLASS,
            "uri": catalog_uri,
            "warehouse": warehouse,
            "pool_pre_ping": "true",
            "init_catalog_tables": "false",  # they are made here, so that many may open a new catalog at once
        }
        try:
            self.catalog = _Catalog(CATALOG_NAME, **properties)
            _make_tables(self.catalog)
        except (SQLAlchemyError, OSError) as error:
            raise self._unanswered(error) from error

    @classmethod
    def at(cls, endpoints: Endpoints) -> "Lake":
        """The lake of a running stack."""
        return cls(endpoints.catalog_uri, endpoints.warehouse, endpoints.storage)

    def __enter__(self) -> "Lake":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self.catalog.close()

    def file_io(self) -> FileIO:
        """What reaches the warehouse: the file IO of every table of this lake."""
        return load_file_io(dict(self.catalog.properties), self.warehouse)

    def table(self) -> Table:
        """The table with its newest metadata.

        Raises:
            LakeError: there is no table yet, or the catalog does not answer.
        """
        table = self.find_table()
        if table is None:
            raise LakeError(f"There is no table {TABLE} yet.", "Make it with: k2ctl consume --until-caught-up")
        return table

    def find_table(self, name: str = TABLE) -> Table | None:
        """The table, or None before the first consumer has made it.

        Raises:
            LakeError: the catalog does not answer, the metadata is damaged, or the table is not as k2ctl reads it.
        """
        try:
            table = self.catalog.load_table(name)
        except NoSuchTableError:
            return None
        except (SQLAlchemyError, OSError) as error:
            raise self._unanswered(error) from error
        except Exception as error:  # whatever the parsers of JSON and of the metadata raise
            raise damaged(f"The metadata file of the table {name}", error) from error
        check_readable(name, table)
        return table

    @contextmanager
    def answering(self) -> Iterator[None]:
        """A block in which a catalog or a warehouse that does not answer is a `LakeError` that says which."""
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            raise self._unanswered(error) from error

    def _unanswered(self, error: Exception) -> LakeUnanswered:
        said = first_line(error)
        if isinstance(error, OSError):
            state = "cannot be used" if error.errno in _REFUSED else "does not answer"
            return LakeUnanswered(f"The warehouse {self.warehouse} {state}: {said}", "See: k2ctl stack status")
        uri = without_password(self.catalog_uri)
        return LakeUnanswered(f"The catalog {uri} does not answer: {said}", "See: k2ctl stack status")

    def ensure_table(self) -> Table:
        """The table of trades, made when missing."""
        schema = pyarrow_to_schema(arrow_schema())
        timestamp, symbol = schema.find_field("timestamp").field_id, schema.find_field("symbol").field_id
        order = SortOrder(
            SortField(symbol, transform=IdentityTransform()), SortField(timestamp, transform=IdentityTransform())
        )
        spec = PartitionSpec(PartitionField(timestamp, 1000, HourTransform(), "timestamp_hour"))
        return self.ensure(TABLE, schema, spec, order)

    def ensure(
        self,
        name: str,
        schema: Schema,
        spec: PartitionSpec = UNPARTITIONED_PARTITION_SPEC,
        order: SortOrder = UNSORTED_SORT_ORDER,
    ) -> Table:
        """A table with K2's properties, made when missing; another process may make it at the same moment."""
        found = self.find_table(name)
        if found is not None:
            return found
        with self.answering():
            # Two that make it at once: the second one's row is refused, by us or by the database.
            with suppress(NamespaceAlreadyExistsError, IntegrityError):
                self.catalog.create_namespace(name.rpartition(".")[0])
            try:
                return self.catalog.create_table(
                    name, schema, partition_spec=spec, sort_order=order, properties=TABLE_PROPERTIES
                )
            except TableAlreadyExistsError:
                return self.catalog.load_table(name)


class _Catalog(SqlCatalog):
    """pyiceberg's catalog in a database, whose connections are set up before the first one is made."""

    def _init_catalog(self) -> None:
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _set_up_sqlite)
        elif self.engine.dialect.driver == "psycopg":
            from k2ctl.lake.postgres import bound_waits

            bound_waits(self.engine)
        super()._init_catalog()


def _make_tables(catalog: SqlCatalog) -> None:
    """The catalog's own tables, where missing. Of two that make one at once the second fails, and finds it then."""
    for _ in SqlCatalogBaseTable.metadata.tables:
        try:
            catalog.create_tables()
            return
        except (IntegrityError, ProgrammingError):
            continue
        except OperationalError as error:
            if "already exists" not in str(error):
                raise
    catalog.create_tables()


def _set_up_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    """Let readers pass a writer, wait for a lock rather than fail at once, and have each commit on the disk."""
    connection.execute("PRAGMA busy_timeout=5000")
    # With NORMAL a power cut takes the last commits, rows and offsets together. But files that those had replaced are
    # deleted by then: spill files that were given back, old metadata. The table would lead to files that are gone.
    connection.execute("PRAGMA synchronous=FULL")
    # Two that open a new file at once both want to change its mode, and SQLite fails one of them without waiting. The
    # mode is the file's, so whoever comes first sets it for all.
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode=WAL")
