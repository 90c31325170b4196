"""The catalog and the table: connect, create with K2's properties, load fresh."""

import contextlib
import logging
import sqlite3
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.io.pyarrow import pyarrow_to_schema
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortField, SortOrder
from pyiceberg.transforms import HourTransform, IdentityTransform
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

from k2ctl.errors import LakeError
from k2ctl.home import Endpoints, without_password
from k2ctl.schema.rows import arrow_schema
from k2ctl.schema.topics import TABLE

CATALOG_NAME: Final = "k2"
OPEN_TRIES: Final = 3
OPEN_PAUSE_S: Final = 0.05
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
}

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
        properties = {**self.storage, "uri": catalog_uri, "warehouse": warehouse, "pool_pre_ping": "true"}
        try:
            self.catalog = _opened(properties)
            if catalog_uri.startswith("sqlite"):
                event.listen(self.catalog.engine, "connect", _use_write_ahead_log)
        except (SQLAlchemyError, OSError) as error:
            raise _unreachable(catalog_uri, error) from error

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
        """The table, or None before the first consumer has made it."""
        try:
            return self.catalog.load_table(name)
        except NoSuchTableError:
            return None
        except (SQLAlchemyError, OSError) as error:
            raise _unreachable(self.catalog_uri, error) from error

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
        try:
            with contextlib.suppress(NamespaceAlreadyExistsError, IntegrityError):
                self.catalog.create_namespace(name.rpartition(".")[0])
            return self.catalog.create_table(
                name, schema, partition_spec=spec, sort_order=order, properties=TABLE_PROPERTIES
            )
        except TableAlreadyExistsError:
            return self.catalog.load_table(name)
        except (SQLAlchemyError, OSError) as error:
            raise _unreachable(self.catalog_uri, error) from error


def _opened(properties: Mapping[str, str]) -> SqlCatalog:
    """The catalog, with its own tables. Of several that make them at one moment all but one fail, and look again."""
    for _ in range(OPEN_TRIES - 1):
        try:
            return SqlCatalog(CATALOG_NAME, **properties)
        except (OperationalError, ProgrammingError, IntegrityError):
            time.sleep(OPEN_PAUSE_S)
    return SqlCatalog(CATALOG_NAME, **properties)


def _use_write_ahead_log(connection: sqlite3.Connection, _: Any) -> None:
    """Let readers pass a writer, and wait for a lock rather than fail at once."""
    connection.execute("PRAGMA busy_timeout=5000")
    # Two that open a new file at once both want to change its mode, and SQLite fails one of them without waiting. The
    # mode is the file's, so whoever comes first sets it for all.
    with contextlib.suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode=WAL")


def _unreachable(uri: str, error: Exception) -> LakeError:
    return LakeError(
        f"The catalog {without_password(uri)} does not answer: {str(error).splitlines()[0]}", "See: k2ctl stack status"
    )
