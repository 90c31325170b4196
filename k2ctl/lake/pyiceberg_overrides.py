"""Where k2ctl builds upon parts of pyiceberg 0.12 that it does not promise to keep: nowhere but here.

Each has a reason, and a test in `tests/contract/test_library_overrides.py` that fails when pyiceberg changes the part,
or no longer gives the reason.

| part of pyiceberg | used by | reason |
|---|---|---|
| `Transaction._updates`, `_table` | `QuickTransaction` | `table_metadata` copies the metadata at every access |
| `update._apply_table_update` and its context | `QuickTransaction` | `update_table_metadata` ends with a deep copy |
| `Transaction._requirements` | `QuickTransaction` | no requirement of schema and spec can be stated |
| `update.snapshot._OverwriteFiles`, its `_summary` | `ReplacedFiles` | no API makes a `replace` snapshot |
| `Transaction._stage` | `stage_removal`, `stage_tag` | expiry, and a tag, cannot ride along with an append |
| a `ValueError` of a removed snapshot | `QuickTransaction` | two expiries at once are a conflict |
| `avro.file.BinaryEncoder`, its `_output_stream` | `QuickEncoder` | a commit of many files spends its time there |
| `avro.resolver.MapWriter` | `QuickMapWriter` | as above |
| `SqlCatalog._init_catalog` | `HookedCatalog` | nothing else comes before the first connection |
| `Catalog._delete_old_metadata` | `HookedCatalog` | it deletes files that another table's row names |
| `sql.IcebergTables`, `SqlCatalogBaseTable` | `TABLE_ROWS`, `catalog_tables` | no API asks for a location alone |
| `RestCatalog._config_headers` | `BoundedRestCatalog` | it is called for each session, and no property bounds a wait |
| `RestCatalog._session`, `_refresh_token`, `_split_identifier_for_path` | `in_short` | as above |
| `RestCatalog._supported_endpoints` | `can` | no API tells what the service offers |
| `PyArrowFileIO._initialize_local_fs`, `_initialize_s3_fs` | `HookedFileIO` | no property gives it a file system |
| `S3FileSystem.__reduce__` (pyarrow) | `with_delayed_open` | an open file system does not show its options |
| `PyArrowFile._path`, `_filesystem`, `_buffer_size` | `of_kind` | a `FileIO` cannot choose the class of its files |
"""

import itertools
from abc import abstractmethod
from collections.abc import Collection
from typing import Any, Final, TypeVar

from pyarrow.fs import FileSystem, S3FileSystem
from pyiceberg.avro import file as avro_file
from pyiceberg.avro import resolver as avro_resolver
from pyiceberg.avro.encoder import BinaryEncoder
from pyiceberg.avro.writer import IntegerWriter, MapWriter
from pyiceberg.catalog.rest import Capability, Endpoint, Endpoints, RestCatalog
from pyiceberg.catalog.rest.response import _handle_non_200_response
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog, SqlCatalogBaseTable
from pyiceberg.exceptions import (
    AuthorizationExpiredError,
    CommitFailedException,
    NoSuchTableError,
    UnauthorizedError,
)
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update import (
    AssertCurrentSchemaId,
    AssertDefaultSpecId,
    AssertRefSnapshotId,
    RemoveSnapshotsUpdate,
    SetSnapshotRefUpdate,
    _apply_table_update,
    _TableMetadataUpdateContext,
)
from pyiceberg.table.update.snapshot import _OverwriteFiles
from pyiceberg.typedef import EMPTY_DICT
from requests import HTTPError, PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from sqlalchemy import Engine

from k2ctl.errors import first_line

TABLE_ROWS: Final = IcebergTables
"""The catalog's rows of tables, as SQLAlchemy maps them."""

File = TypeVar("File", bound=PyArrowFile)


class QuickTransaction(Transaction):
    """`with QuickTransaction(table) as tx:` commits at the end of the block, once, without retries of its own.

    `Transaction.table_metadata` applies all staged updates to a deep copy of the metadata at every access, some
    seventeen times per commit: 88 % of a commit's time on a table with 150 snapshots. The staged metadata changes only
    when updates are added, so it is kept until then; it is only read, so it shares what is not updated.

    The files of a commit are written for the schema and the spec of the loaded table: where these have changed, it is
    a conflict.
    """

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        # pyiceberg's own retry would append a zombie's rows to fresh metadata without comparing offsets.
        table.metadata.properties["commit.retry.num-retries"] = "0"
        self._staged: tuple[Any, TableMetadata] | None = None
        self._requirements = (
            *self._requirements,
            AssertCurrentSchemaId.model_validate({"current-schema-id": table.metadata.current_schema_id}),
            AssertDefaultSpecId.model_validate({"default-spec-id": table.metadata.default_spec_id}),
        )

    @property
    def table_metadata(self) -> TableMetadata:
        if not self._updates:
            return self._table.metadata
        if self._staged is None or self._staged[0] is not self._updates:
            metadata, context = self._table.metadata, _TableMetadataUpdateContext()
            for update in self._updates:
                metadata = _apply_table_update(update, metadata, context)
            self._staged = (self._updates, metadata)
        return self._staged[1]

    def commit_transaction(self) -> Table:
        """Commit what is staged.

        Raises:
            CommitFailedException: another was first; also where it has dropped a snapshot that is to be dropped here.
        """
        try:
            return super().commit_transaction()
        except ValueError as error:
            if any(isinstance(update, RemoveSnapshotsUpdate) for update in self._updates):
                raise CommitFailedException(f"Another expiry was first: {first_line(error)}") from error
            raise


def stage_removal(transaction: Transaction, snapshot_ids: Collection[int]) -> None:
    """Add the removal of snapshots to a transaction."""
    transaction._stage((RemoveSnapshotsUpdate.model_validate({"snapshot-ids": list(snapshot_ids)}),))


class ReplacedFiles(_OverwriteFiles):
    """Files that take the place of others and hold the same rows: a snapshot of the operation `replace`.

    Readers that follow a table by increments pass over it; at an `overwrite` Spark's and Flink's streams stop.
    """

    def __init__(self, transaction: Transaction, summary: dict[str, str]) -> None:
        super().__init__(Operation.OVERWRITE, transaction, transaction._table.io, snapshot_properties=summary)

    def _summary(self, snapshot_properties: dict[str, str] = EMPTY_DICT) -> Summary:
        """pyiceberg adds up totals for other operations only."""
        return super()._summary(snapshot_properties).model_copy(update={"operation": Operation.REPLACE})


def _zigzag(integer: int) -> bytes:
    datum, encoded = (integer << 1) ^ (integer >> 63), bytearray()
    while datum & ~0x7F:
        encoded.append(datum & 0x7F | 0x80)
        datum >>= 7
    encoded.append(datum)
    return bytes(encoded)


_SMALL: Final = tuple(map(_zigzag, range(1 << 13)))


def _encoded(integer: int) -> bytes:
    return _SMALL[integer] if 0 <= integer < len(_SMALL) else _zigzag(integer)


class QuickEncoder(BinaryEncoder):
    """Writes a number at once: pyiceberg writes it byte by byte.

    The statistics of a file are some 280 numbers, most of them small.
    """

    def write_int(self, integer: int) -> None:
        self._output_stream.write(_encoded(integer))


class QuickMapWriter(MapWriter):
    """Writes a map of numbers at once."""

    def write(self, encoder: BinaryEncoder, val: dict[Any, Any]) -> None:
        if val and isinstance(self.key_writer, IntegerWriter) and isinstance(self.value_writer, IntegerWriter):
            numbers = (len(val), *itertools.chain.from_iterable(val.items()), 0)
            encoder.write(b"".join(map(_encoded, numbers)))
        else:
            super().write(encoder, val)


avro_file.BinaryEncoder = QuickEncoder  # type: ignore[attr-defined]  # no parameter chooses them
avro_resolver.MapWriter = QuickMapWriter  # type: ignore[attr-defined]


FOREVER_MS: Final = 2**63 - 1
"""The age up to which a tag stays; without one, a property that others may set decides."""


def stage_tag(transaction: Transaction, name: str, snapshot_id: int) -> None:
    """Move a tag, or make it, in a transaction. One that adds no snapshot is refused if the tag has moved meanwhile."""
    ref = transaction.table_metadata.refs.get(name)
    stands = {"ref": name, "snapshot-id": ref.snapshot_id if ref else None}
    tag = {"ref-name": name, "type": "tag", "snapshot-id": snapshot_id, "max-ref-age-ms": FOREVER_MS}
    # pyiceberg keeps one requirement of a kind: of a transaction that adds a snapshot it is that of the branch.
    transaction._stage((SetSnapshotRefUpdate.model_validate(tag),), (AssertRefSnapshotId.model_validate(stands),))


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


REST_CAPABILITIES: Final = Capability
"""What a REST service may offer, as pyiceberg names it."""


class BoundedRestCatalog(RestCatalog):
    """A catalog behind Iceberg's REST protocol, whose requests do not wait for ever.

    within_s: how long a connection, and then an answer, may take.
    """

    within_s: tuple[float, float]

    def _config_headers(self, session: Session) -> None:
        super()._config_headers(session)
        for scheme in ("http://", "https://"):
            session.mount(scheme, _BoundedAdapter(self.within_s))

    def can(self, capability: Endpoint) -> bool:
        """Whether the service offers a request."""
        return capability in self._supported_endpoints

    def in_short(self, name: str) -> dict[str, Any]:
        """What the service answers of a table, with no more snapshots than branches and tags name.

        Raises:
            NoSuchTableError: it does not know the table. RESTError, RequestException: it refuses, or does not answer.
        """
        url = self.url(Endpoints.load_table, prefixed=True, **self._split_identifier_for_path(name))
        try:
            return self._asked(url)
        except (AuthorizationExpiredError, UnauthorizedError):
            self._refresh_token()
            return self._asked(url)

    def _asked(self, url: str) -> dict[str, Any]:
        response = self._session.get(url, params={"snapshots": "refs"})
        try:
            response.raise_for_status()
        except HTTPError as error:
            _handle_non_200_response(error, {404: NoSuchTableError})
        found: dict[str, Any] = response.json()
        return found


class _BoundedAdapter(HTTPAdapter):
    """Connections whose waits end."""

    def __init__(self, within_s: tuple[float, float]) -> None:
        super().__init__()
        self._within_s = within_s

    def send(self, request: PreparedRequest, *arguments: Any, **named: Any) -> Response:
        return super().send(request, *arguments, **{**named, "timeout": named.get("timeout") or self._within_s})


class HookedFileIO(PyArrowFileIO):
    """pyiceberg's file IO on pyarrow, whose subclass opens the file systems."""

    def open_local(self) -> FileSystem:
        return super()._initialize_local_fs()

    def open_s3(self, netloc: str | None) -> FileSystem:
        return super()._initialize_s3_fs(netloc)

    def _initialize_local_fs(self) -> FileSystem:
        return self.open_local()

    def _initialize_s3_fs(self, netloc: str | None) -> FileSystem:
        return self.open_s3(netloc)


def with_delayed_open(store: FileSystem) -> S3FileSystem:
    """A file system with the options of an S3 one, that sends a small file with one request instead of three."""
    _, (options,) = store.__reduce__()
    return S3FileSystem(**{**options, "allow_delayed_open": True})


def of_kind(file: PyArrowFile, kind: type[File]) -> File:
    """The same file as an object of a subclass."""
    return kind(file.location, file._path, file._filesystem, file._buffer_size)
