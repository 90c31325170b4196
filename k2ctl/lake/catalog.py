"""The catalog and the table: connect, check, create with K2's properties, load fresh."""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pyiceberg.exceptions import (
    CommitStateUnknownException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    ServerError,
    TableAlreadyExistsError,
)
from pyiceberg.io import PY_IO_IMPL, FileIO, load_file_io
from pyiceberg.io.pyarrow import pyarrow_to_schema
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortField, SortOrder
from pyiceberg.transforms import HourTransform, IdentityTransform

from k2ctl.domain.corrected_symbols import CORRECTED_PROPERTY, NONE_CORRECTED
from k2ctl.domain.rows import SORTED_BY, arrow_schema
from k2ctl.domain.topics import REFERENCE_TABLE, TABLE
from k2ctl.endpoints import Endpoints, without_password
from k2ctl.errors import LakeError, UnknownTable
from k2ctl.lake.addresses import GLUE, file_of, is_gone, is_rest
from k2ctl.lake.known_metadata import KnownMetadata
from k2ctl.lake.library_errors import taken_errors
from k2ctl.lake.opened import check_readable, damaged
from k2ctl.lake.place import is_strange, last_commit, metadata_files, strangers
from k2ctl.lake.sqlite_file import FileCatalog
from k2ctl.lake.storage import IO_CLASS
from k2ctl.lake.trouble import trouble, trouble_of
from k2ctl.retry import RetryPolicy, retry

if TYPE_CHECKING:
    from k2ctl.lake.database import DatabaseCatalog
    from k2ctl.lake.glue_service import GlueServiceCatalog
    from k2ctl.lake.rest_service import RestServiceCatalog

    AnyCatalog = FileCatalog | DatabaseCatalog | RestServiceCatalog | GlueServiceCatalog

CATALOG_NAME: Final = "k2"
TABLE_PROPERTIES: Final = {
    "format-version": "2",
    "commit.retry.num-retries": "0",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "30",
    # Some two hundred files. With the default of 8 MB a merge rewrote all that there are: 0.3 s in 1,000 hours.
    "commit.manifest.target-size-bytes": "131072",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "write.metadata.metrics.default": "full",
    "write.metadata.metrics.column.message_id": "counts",
    "write.parquet.compression-codec": "zstd",
    CORRECTED_PROPERTY: NONE_CORRECTED,
    "read.parquet.vectorization.enabled": "false",  # Spark's vectorised reader does not know our delta encodings
}

_OF_COLUMN: Final = "write.metadata.metrics.column."

MAKING: Final = RetryPolicy(within_s=5.0, pause_s=0.1, jitter=True)

KEYS_LAST_S: Final = 300.0
"""How long keys of a REST service are used until the table is loaded again: they last 15 minutes at least."""

# Two writers both trim the metadata log; the second one's "file not found" is harmless.
logging.getLogger("pyiceberg.catalog").setLevel(logging.ERROR)


def properties_for(schema: Schema) -> dict[str, str]:
    """K2's properties of a table. A REST service refuses those of a column that the table does not have."""
    there = {_OF_COLUMN + name for name in schema.column_names}
    return {name: value for name, value in TABLE_PROPERTIES.items() if not name.startswith(_OF_COLUMN) or name in there}


class Lake:
    """The table of trades in its catalog. One per process and thread that commits; holds a connection pool.

    storage: properties of the file IO that reaches the warehouse, such as `s3.endpoint`; empty for local files.
    access: the token or the credential for a REST service. trusting: believe the catalog, without a look at the files
    at the tables' places. name: of the table.
    """

    def __init__(
        self,
        catalog_uri: str,
        warehouse: str,
        storage: Mapping[str, str] = MappingProxyType({}),
        access: Mapping[str, str] = MappingProxyType({}),
        *,
        trusting: bool = False,
        name: str = TABLE,
    ) -> None:
        self.name = name
        self.catalog_uri = catalog_uri
        self.warehouse = warehouse
        self.storage = dict(storage)
        self._trusted = {name, REFERENCE_TABLE} if trusting else set[str]()
        self._keys: tuple[float, FileIO] | None = None
        self._io: FileIO | None = None
        if not trusting and not is_rest(catalog_uri) and is_gone(catalog_uri):
            self._require_nothing_at(name)  # before an empty catalog replaces the one that is gone
        with self.answering():
            self.catalog = self._opened(access)

    def _opened(self, access: Mapping[str, str]) -> "AnyCatalog":
        properties = {**self.storage, PY_IO_IMPL: IO_CLASS, "uri": self.catalog_uri, "warehouse": self.warehouse}
        if is_rest(self.catalog_uri):
            from k2ctl.lake.rest_service import open_service

            return open_service(CATALOG_NAME, self.catalog_uri, properties, access)
        if self.catalog_uri.startswith(GLUE):
            return _glue(self.catalog_uri, properties)
        return _in_database(self.catalog_uri, properties)

    @classmethod
    def at(cls, endpoints: Endpoints, *, trusting: bool = False) -> "Lake":
        """The lake of a running stack."""
        name = endpoints.table or TABLE
        storage, access = endpoints.storage, endpoints.catalog_access
        return cls(endpoints.catalog_uri, endpoints.warehouse, storage, access, trusting=trusting, name=name)

    def __enter__(self) -> "Lake":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.catalog.close()

    def file_io(self) -> FileIO:
        """What reaches the warehouse: the file IO of every table of this lake.

        The keys of a REST service are a table's own, and end: those of the last time that it was loaded are used.
        """
        if is_rest(self.catalog_uri):
            if self._keys is None or self._keys[0] < time.monotonic() - KEYS_LAST_S:
                self.find_table()
            if self._keys is not None:
                return self._keys[1]
        return self._own_io()

    def _own_io(self) -> FileIO:
        if self._io is None:
            self._io = load_file_io({**self.storage, PY_IO_IMPL: IO_CLASS}, self.warehouse)
        return self._io

    def table(self) -> Table:
        """The table with its newest metadata.

        Raises:
            LakeError: there is no table yet, or the catalog does not answer.
        """
        table = self.find_table()
        if table is None:
            raise LakeError(f"There is no table {self.name} yet.", "Make it with: k2ctl consume --until-caught-up")
        return table

    def find_table(self, name: str = "") -> Table | None:
        """The table, or another by name, or None before the first consumer has made it.

        Raises:
            LakeError: the catalog does not answer, the metadata is damaged, or the table is not as k2ctl reads it.
            UnknownTable: the files at its place are not those that the catalog names.
        """
        name = name or self.name
        try:
            table = self.catalog.load_table(name)
        except NoSuchTableError:
            if name not in self._trusted:
                self._require_nothing_at(name)
            return None
        except trouble() as error:
            if isinstance(error, FileNotFoundError):
                self._require_named_file(name)
            raise self._trouble(error) from error
        except LakeError:
            raise
        except Exception as error:  # the parsers of JSON and of the metadata raise anything
            raise damaged(f"The metadata file of the table {name}", error) from error
        if name in (self.name, REFERENCE_TABLE):
            check_readable(name, table)
        if name not in self._trusted:
            self.require_known(name, table)
            self._trusted.add(name)
        if name == self.name:
            self._keys = (time.monotonic(), table.io)
        return table

    def _require_nothing_at(self, name: str) -> None:
        """Refuse files of a table at its place when the catalog does not know the table."""
        place = self.place_of(name)
        if not place:
            return
        with self.answering():
            found = metadata_files(self._own_io(), place)
        if found:
            raise UnknownTable(
                f"The catalog {without_password(self.catalog_uri)} does not know the table {name}, "
                f"and its metadata is there: {found[-1]}.",
                f"Register it again: k2ctl lake register. Or, to start afresh, move {place} away.",
            )

    def _require_named_file(self, name: str) -> None:
        """The metadata file that the catalog names was not found: then it may not be gone from among others."""
        with self.answering():
            named = self.catalog.location_of(name) or ""
            found = metadata_files(self._own_io(), named.rpartition("/metadata/")[0] or self.place_of(name))
        if found and all(file.location != named for file in found):
            raise UnknownTable(
                f"The metadata file {named}, which the catalog names as the table {name}, is gone; "
                f"the newest one there is {found[-1]}.",
                "Put it back from a backup, or go on from the newest one: k2ctl lake register",
            )

    def require_known(self, name: str, table: Table) -> None:
        """Refuse metadata at a table's place that the catalog does not know.

        Raises:
            UnknownTable: another table's metadata, or that of later commits of this one.
        """
        with self.answering():
            found = strangers(table.io, table)
            if found:
                table = self.catalog.load_table(name)  # other processes may have committed in between
                found = [file for file in found if is_strange(file, table)]
            known = self.catalog.known_uuids() if found else set()
        own = str(table.metadata.table_uuid)
        found = [file for file in found if file.table_uuid == own or file.table_uuid not in known]
        if not found:
            return
        newest = max(found, key=lambda file: (file.commit, file.updated_ms))
        if newest.table_uuid == own:
            what = (
                f"The catalog was rolled back, as by a restored copy: it has the table {name} as of "
                f"commit {last_commit(table.metadata)}, and metadata of commit {newest.commit} is there"
            )
        else:
            what = f"At the place of the table {name} is metadata of another one that the catalog does not know"
        raise UnknownTable(f"{what}: {newest}.", "Choose the one to go on with: k2ctl lake register")

    def place_of(self, name: str) -> str:
        """The location of a table that the catalog does not know; empty where a REST service decides on it."""
        if "://" not in self.warehouse:
            return ""
        folder = name.replace(".", ".db/" if self.catalog_uri.startswith(GLUE) else "/")
        return f"{self.warehouse.rstrip('/')}/{folder}"

    @contextmanager
    def answering(self) -> Iterator[None]:
        """A block in which an error of the catalog or the warehouse is a `LakeUnanswered` that names it."""
        try:
            yield
        except trouble() as error:
            raise self._trouble(error) from error

    def _trouble(self, error: Exception) -> LakeError:
        return trouble_of(error, self.catalog_uri, self.warehouse)

    def ensure_table(self) -> Table:
        """The table of trades, made when missing."""
        schema = pyarrow_to_schema(arrow_schema())
        fields = (schema.find_field(name).field_id for name in SORTED_BY)
        order = SortOrder(*(SortField(field, transform=IdentityTransform()) for field in fields))
        timestamp = schema.find_field("timestamp").field_id
        spec = PartitionSpec(PartitionField(timestamp, 1000, HourTransform(), "timestamp_hour"))
        return self.ensure(self.name, schema, spec, order)

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
            # Two that make the same at once: a service may answer one of them with an error, and has it then.
            made = retry(
                lambda: self._made(name, schema, spec, order),
                policy=MAKING,
                again=lambda error: isinstance(error, ServerError),
            )
        if not self.place_of(name):
            self._require_new(name, made)
        return made

    def _made(self, name: str, schema: Schema, spec: PartitionSpec, order: SortOrder) -> Table:
        namespace = name.rpartition(".")[0]
        if not self.catalog.namespace_exists(namespace):
            # Two processes that make it at once: the second row is refused, which is harmless.
            with suppress(NamespaceAlreadyExistsError, *taken_errors()):
                self.catalog.create_namespace(namespace)
        try:
            return self.catalog.create_table(
                name, schema, partition_spec=spec, sort_order=order, properties=properties_for(schema)
            )
        except TableAlreadyExistsError:
            return self.catalog.load_table(name)

    def _require_new(self, name: str, made: Table) -> None:
        """Refuse the place of a table that was just made where another one's metadata is, which nobody knew before."""
        try:
            self.require_known(name, made)
        except UnknownTable:
            with self.answering():
                self.catalog.drop_table(name)
            raise


def require_kept(lake: Lake, what: str, is_kept: Callable[[Table], bool]) -> None:
    """Look for a change of the table that a service has confirmed.

    Raises:
        CommitStateUnknownException: it is not there: dropped, or not to be seen yet.
    """
    if lake.catalog.reads_back and not is_kept(lake.table()):
        raise CommitStateUnknownException(f"The catalog has confirmed {what}, and does not have it")


def _in_database(uri: str, properties: Mapping[str, str]) -> "FileCatalog | DatabaseCatalog":
    """A file of SQLite that has a catalog's tables is read as it is."""

    known = KnownMetadata()

    def whole() -> "DatabaseCatalog":
        from k2ctl.lake.database import open_database

        return open_database(CATALOG_NAME, properties, known)

    file = file_of(uri)
    if file is None or not file.is_file():
        return whole()
    try:
        return FileCatalog(CATALOG_NAME, properties, file, known, whole)
    except sqlite3.OperationalError as error:
        if "no such" not in str(error):  # table, or column of the newer layout
            raise
        return whole()


def _glue(uri: str, properties: Mapping[str, str]) -> "GlueServiceCatalog":
    try:
        from k2ctl.lake.glue_service import open_glue  # needs AWS's client, which few need
    except ModuleNotFoundError as error:
        raise LakeError(
            f"The catalog {uri} needs AWS's client, which is not installed.", "Install it: pip install 'k2ctl[glue]'"
        ) from error
    return open_glue(CATALOG_NAME, uri, properties)


def require_known_tables(endpoints: Endpoints) -> None:
    """Refuse files at the tables' places that the catalog does not know.

    Raises:
        UnknownTable: the catalog was lost, or rolled back.
    """
    with Lake.at(endpoints) as lake:
        for name in (lake.name, REFERENCE_TABLE):
            lake.find_table(name)


def list_catalog(endpoints: Endpoints) -> list[str]:
    """The namespaces of the catalog; none where a REST service lists none.

    Raises:
        LakeError: it does not answer.
    """
    with Lake.at(endpoints) as lake, lake.answering():
        if not lake.catalog.lists_namespaces:
            return []
        return [".".join(namespace) for namespace in lake.catalog.list_namespaces()]
