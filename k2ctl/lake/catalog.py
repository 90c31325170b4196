"""The catalog and the table: connect, check, create with K2's properties, load fresh."""

import errno
import logging
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import Final

from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.io import PY_IO_IMPL, FileIO, load_file_io
from pyiceberg.io.pyarrow import pyarrow_to_schema
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortField, SortOrder
from pyiceberg.transforms import HourTransform, IdentityTransform
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from k2ctl.domain.corrected_symbols import CORRECTED_PROPERTY, NONE_CORRECTED
from k2ctl.domain.rows import SORTED_BY, arrow_schema
from k2ctl.domain.topics import REFERENCE_TABLE, TABLE
from k2ctl.endpoints import Endpoints, without_password
from k2ctl.errors import LakeError, LakeUnanswered, UnknownTable, first_line
from k2ctl.lake.database import DatabaseCatalog, is_damaged, is_folder, is_gone, known_uuids, make_tables, rows_of
from k2ctl.lake.opened import check_readable, damaged
from k2ctl.lake.place import is_strange, last_commit, metadata_files, strangers
from k2ctl.lake.storage import IO_CLASS

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
    CORRECTED_PROPERTY: NONE_CORRECTED,
    "read.parquet.vectorization.enabled": "false",  # Spark's vectorised reader does not know our delta encodings
}

_REFUSED: Final = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR}
"""Errors of a disk that answers: it is full, read-only, forbidden, or not there."""

# Two writers both trim the metadata log; the second one's "file not found" is harmless.
logging.getLogger("pyiceberg.catalog").setLevel(logging.ERROR)


class Lake:
    """The table of trades in its catalog. One per process and thread that commits; holds a connection pool.

    storage: properties of the file IO that reaches the warehouse, such as `s3.endpoint`; empty for local files.
    trusting: believe the catalog, without a look at the files at the tables' places. name: of the table.
    """

    def __init__(
        self,
        catalog_uri: str,
        warehouse: str,
        storage: Mapping[str, str] = MappingProxyType({}),
        *,
        trusting: bool = False,
        name: str = TABLE,
    ) -> None:
        self.name = name
        self.catalog_uri = catalog_uri
        self.warehouse = warehouse
        self.storage = dict(storage)
        self._trusted = {name, REFERENCE_TABLE} if trusting else set[str]()
        if not trusting and is_gone(catalog_uri):
            self._require_nothing_at(name)  # before an empty catalog replaces the one that is gone
        properties = {
            **self.storage,
            PY_IO_IMPL: IO_CLASS,
            "uri": catalog_uri,
            "warehouse": warehouse,
            "pool_pre_ping": "true",
            "init_catalog_tables": "false",  # made below, so that many processes may open a new catalog at once
        }
        try:
            self.catalog = DatabaseCatalog(CATALOG_NAME, **properties)
            make_tables(self.catalog)
        except (SQLAlchemyError, OSError) as error:
            raise self._unanswered(error) from error

    @classmethod
    def at(cls, endpoints: Endpoints, *, trusting: bool = False) -> "Lake":
        """The lake of a running stack."""
        name = endpoints.table or TABLE
        return cls(endpoints.catalog_uri, endpoints.warehouse, endpoints.storage, trusting=trusting, name=name)

    def __enter__(self) -> "Lake":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.catalog.close()

    def file_io(self) -> FileIO:
        """What reaches the warehouse: the file IO of every table of this lake."""
        return load_file_io({**self.storage, PY_IO_IMPL: IO_CLASS}, self.warehouse)

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
        except (SQLAlchemyError, OSError) as error:
            if isinstance(error, FileNotFoundError):
                self._require_named_file(name)
            raise self._unanswered(error) from error
        except LakeError:
            raise
        except Exception as error:  # the parsers of JSON and of the metadata raise anything
            raise damaged(f"The metadata file of the table {name}", error) from error
        if name in (self.name, REFERENCE_TABLE):
            check_readable(name, table)
        if name not in self._trusted:
            self.require_known(name, table)
            self._trusted.add(name)
        return table

    def _require_nothing_at(self, name: str) -> None:
        """Refuse files of a table at its place when the catalog does not know the table."""
        with self.answering():
            found = metadata_files(self.file_io(), self.place_of(name))
        if found:
            raise UnknownTable(
                f"The catalog {without_password(self.catalog_uri)} does not know the table {name}, "
                f"and its metadata is there: {found[-1]}.",
                f"Register it again: k2ctl lake register. Or, to start afresh, move {self.place_of(name)} away.",
            )

    def _require_named_file(self, name: str) -> None:
        """The metadata file that the catalog names was not found: then it may not be gone from among others."""
        with self.answering():
            named = rows_of(self.catalog).get((CATALOG_NAME, name), "")
            found = metadata_files(self.file_io(), named.rpartition("/metadata/")[0] or self.place_of(name))
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
            known = known_uuids(self.catalog) if found else set()
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
        """The location of a table that the catalog does not know."""
        return f"{self.warehouse.rstrip('/')}/{name.replace('.', '/')}"

    @contextmanager
    def answering(self) -> Iterator[None]:
        """A block in which an error of the catalog or the warehouse is a `LakeUnanswered` that names it."""
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            raise self._unanswered(error) from error

    def _unanswered(self, error: Exception) -> LakeError:
        said = first_line(error)
        if isinstance(error, OSError):
            state = "cannot be used" if error.errno in _REFUSED else "does not answer"
            return LakeUnanswered(f"The warehouse {self.warehouse} {state}: {said}", "See: k2ctl stack status")
        uri = without_password(self.catalog_uri)
        if is_damaged(error):
            return UnknownTable(
                f"The file of the catalog {uri} is damaged: {said}",
                "Put back a copy of it. Or move it away, with its -wal and -shm, then: k2ctl lake register",
            )
        if is_folder(self.catalog_uri):
            return UnknownTable(
                f"A folder is at the place of the catalog {uri}, which is a file.",
                "Put back a copy of the file. Or move the folder away, then: k2ctl lake register",
            )
        return LakeUnanswered(f"The catalog {uri} does not answer: {said}", "See: k2ctl stack status")

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
            # Two processes that make it at once: the second row is refused, which is harmless.
            with suppress(NamespaceAlreadyExistsError, IntegrityError):
                self.catalog.create_namespace(name.rpartition(".")[0])
            try:
                return self.catalog.create_table(
                    name, schema, partition_spec=spec, sort_order=order, properties=TABLE_PROPERTIES
                )
            except TableAlreadyExistsError:
                return self.catalog.load_table(name)


def object_round_trip(endpoints: Endpoints) -> None:
    """Put an object into the warehouse, get it, delete it.

    Raises:
        LakeError: it did not come back as it was.
    """
    location = f"{endpoints.warehouse}/.probe/{uuid.uuid4().hex}"
    word = uuid.uuid4().bytes
    try:
        files = load_file_io(endpoints.storage, endpoints.warehouse)
        with files.new_output(location).create() as stream:
            stream.write(word)
        with files.new_input(location).open() as stream:
            got = stream.read()
        files.delete(location)
    except (OSError, ValueError) as error:
        raise LakeError(
            f"The warehouse {endpoints.warehouse} failed a write and read of an object: {first_line(error)}",
            "See: k2ctl stack status",
        ) from error
    if got != word:
        raise LakeError(
            f"The warehouse {endpoints.warehouse} returned another object than was written.", "See: k2ctl stack status"
        )


def require_known_tables(endpoints: Endpoints) -> None:
    """Refuse files at the tables' places that the catalog does not know.

    Raises:
        UnknownTable: the catalog was lost, or rolled back.
    """
    with Lake.at(endpoints) as lake:
        for name in (lake.name, REFERENCE_TABLE):
            lake.find_table(name)


def list_catalog(endpoints: Endpoints) -> list[str]:
    """The namespaces of the catalog.

    Raises:
        LakeError: it does not answer.
    """
    with Lake.at(endpoints) as lake, lake.answering():
        return [".".join(namespace) for namespace in lake.catalog.list_namespaces()]
