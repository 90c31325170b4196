"""Every part of a library that k2ctl overrides is there, and its reason still holds: see `lake/*_overrides.py`."""

import inspect
import io
import socket
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import S3FileSystem
from pyiceberg.avro import file as avro_file
from pyiceberg.avro import resolver as avro_resolver
from pyiceberg.avro.encoder import BinaryEncoder
from pyiceberg.avro.writer import MapWriter
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.rest import Capability, Endpoints, RestCatalog
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
from pyiceberg.table import Table, Transaction
from pyiceberg.table.snapshots import Operation, Summary, update_snapshot_summaries
from pyiceberg.table.update import AssertTableUUID, RemoveSnapshotsUpdate, update_table_metadata
from pyiceberg.types import IntegerType, LongType, MapType

from k2ctl.lake.catalog import Lake
from k2ctl.lake.psycopg_overrides import BoundedConnection
from k2ctl.lake.pyiceberg_overrides.encoder import QuickEncoder, QuickMapWriter
from k2ctl.lake.pyiceberg_overrides.files import of_kind, with_delayed_open
from k2ctl.lake.pyiceberg_overrides.transaction import (
    FOREVER_MS,
    QuickTransaction,
    ReplacedFiles,
    stage_removal,
    stage_tag,
)
from k2ctl.lake.storage import StorageIO
from tests.support.rest_server import CREDENTIAL, RestServer

S3 = {"s3.endpoint": "http://127.0.0.1:9", "s3.access-key-id": "a", "s3.secret-access-key": "b", "s3.region": "x"}


@pytest.fixture
def table(tmp_path: Path) -> Table:
    with Lake(f"sqlite:///{tmp_path}/catalog.db", f"file://{tmp_path}/warehouse") as lake:
        return lake.ensure_table()


def test_a_transaction_still_copies_its_metadata_at_every_access_and_ours_does_not(table: Table) -> None:
    theirs, ours = Transaction(table), QuickTransaction(table)
    for transaction in (theirs, ours):
        transaction.set_properties({"a": "b"})
    assert theirs.table_metadata is not theirs.table_metadata
    assert ours.table_metadata is ours.table_metadata
    assert ours.table_metadata.properties == theirs.table_metadata.properties


def test_pyiceberg_still_adds_up_no_totals_of_a_replace_snapshot_and_ours_has_them(table: Table) -> None:
    with pytest.raises(ValueError, match="not implemented"):
        update_snapshot_summaries(Summary(Operation.REPLACE))
    table.append(table.schema().as_arrow().empty_table())
    with QuickTransaction(table) as transaction, ReplacedFiles(transaction, {"ours": "1"}):
        pass
    theirs, ours = (snapshot.summary for snapshot in table.metadata.snapshots)
    assert theirs is not None
    assert ours is not None
    assert ours.operation is Operation.REPLACE
    assert ours["ours"] == "1"
    totals = {name for name in theirs.additional_properties if name.startswith("total-")}
    assert totals
    assert totals <= set(ours.additional_properties)


def test_metadata_with_updates_is_still_copied_deeply_and_says_the_same_as_ours(table: Table) -> None:
    theirs, ours = Transaction(table), QuickTransaction(table)
    for transaction in (theirs, ours):
        transaction.set_properties({"a": "b"})
    copied, shared = theirs.table_metadata, ours.table_metadata
    assert copied.schemas[0] is not table.metadata.schemas[0]
    assert shared.schemas[0] is table.metadata.schemas[0]
    assert shared.model_copy(update={"last_updated_ms": copied.last_updated_ms}) == copied


def test_a_transaction_still_states_no_schema_and_no_spec_and_ours_requires_both(table: Table) -> None:
    theirs, ours = Transaction(table), QuickTransaction(table)
    for transaction in (theirs, ours):
        transaction.set_properties({"a": "b"})
    assert theirs._requirements == ()
    assert [type(requirement).__name__ for requirement in ours._requirements] == [
        "AssertCurrentSchemaId",
        "AssertDefaultSpecId",
    ]


def test_a_commit_still_sends_the_requirements_that_a_transaction_holds(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []

    def note(updates: Any, requirements: Any) -> None:
        sent.extend(requirements)

    monkeypatch.setattr(table, "_do_commit", note)
    with QuickTransaction(table) as transaction:
        transaction.set_properties({"a": "b"})
    assert [type(one) for one in sent][-1] is AssertTableUUID
    assert len(sent) == 3


def test_staging_still_takes_a_removal_of_snapshots(table: Table) -> None:
    for _ in range(2):
        with QuickTransaction(table) as transaction, transaction.update_snapshot().fast_append():
            pass
    first, second = (one.snapshot_id for one in table.metadata.snapshots)
    with QuickTransaction(table) as transaction:
        stage_removal(transaction, [first])
    assert [one.snapshot_id for one in table.metadata.snapshots] == [second]


def test_staging_still_takes_a_tag_which_stays_for_ever_and_alone_is_compared_with_where_it_stood(
    table: Table,
) -> None:
    for _ in range(2):
        with QuickTransaction(table) as transaction:
            with transaction.update_snapshot().fast_append():
                pass
            snapshot = transaction.table_metadata.current_snapshot_id or 0
            stage_tag(transaction, "t", snapshot)
        assert table.metadata.refs["t"].snapshot_id == snapshot
        assert table.metadata.refs["t"].max_ref_age_ms == FOREVER_MS
    stale = table.catalog.load_table(table.name())
    table.manage_snapshots().create_tag(table.metadata.snapshots[0].snapshot_id, "t").commit()
    with pytest.raises(CommitFailedException), QuickTransaction(stale) as transaction:
        stage_tag(transaction, "t", snapshot)


def test_a_removed_snapshot_that_is_gone_is_still_a_value_error_and_a_conflict_for_us(table: Table) -> None:
    removal = RemoveSnapshotsUpdate.model_validate({"snapshot-ids": [1]})
    with pytest.raises(ValueError, match="not exist"):
        update_table_metadata(table.metadata, (removal,))
    transaction = QuickTransaction(table)
    transaction._updates = (removal,)
    with pytest.raises(CommitFailedException, match="Another expiry"):
        transaction.commit_transaction()


@pytest.mark.parametrize("integer", [0, 1, 63, 64, 8191, 8192, 2**31, 2**63 - 1, -1, -64, -65, -(2**63)])
def test_pyiceberg_still_writes_avro_with_the_encoder_that_its_module_names_and_ours_writes_the_same(
    integer: int,
) -> None:
    assert avro_file.BinaryEncoder is QuickEncoder
    assert "BinaryEncoder(" in inspect.getsource(avro_file.AvroOutputFile)
    theirs, ours = io.BytesIO(), io.BytesIO()
    BinaryEncoder(theirs).write_int(integer)  # type: ignore[arg-type]
    QuickEncoder(ours).write_int(integer)  # type: ignore[arg-type]
    assert ours.getvalue() == theirs.getvalue()


@pytest.mark.parametrize("numbers", [{}, {1: 2}, {column: 3**column for column in range(40)}, {-1: -(2**40)}])
def test_pyiceberg_still_makes_the_writer_of_maps_that_its_module_names_and_ours_writes_the_same(
    numbers: dict[int, int],
) -> None:
    kind = MapType(1, IntegerType(), 2, LongType())
    ours = avro_resolver.construct_writer(kind)
    assert type(ours) is QuickMapWriter
    theirs = MapWriter(ours.key_writer, ours.value_writer)
    written = [io.BytesIO(), io.BytesIO()]
    for writer, stream in zip((theirs, ours), written, strict=True):
        writer.write(BinaryEncoder(stream), numbers)  # type: ignore[arg-type]
    assert written[0].getvalue() == written[1].getvalue()


def test_a_catalog_in_a_database_still_connects_in_one_method_and_not_before(tmp_path: Path) -> None:
    seen: list[bool] = []

    class Watched(SqlCatalog):
        def _init_catalog(self) -> None:
            seen.append((tmp_path / "catalog.db").exists())
            super()._init_catalog()

    Watched("k2", uri=f"sqlite:///{tmp_path}/catalog.db").close()
    assert seen == [False]


def test_old_metadata_is_still_deleted_by_one_method_whatever_other_rows_name(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[Any] = []
    monkeypatch.setattr(table.catalog, "_delete_old_metadata", lambda *found: called.append(found))
    before = table.metadata
    with QuickTransaction(table) as transaction:
        transaction.set_properties({"a": "b"})
    assert called == [(table.io, before, table.metadata)]
    assert "IcebergTables" not in inspect.getsource(Catalog._delete_old_metadata)


def test_the_rows_of_a_catalog_still_have_the_columns_that_are_asked_for() -> None:
    assert {column.name for column in IcebergTables.__table__.columns} >= {
        "catalog_name",
        "table_namespace",
        "table_name",
        "metadata_location",
        "previous_metadata_location",
    }


def test_a_rest_client_still_sets_up_each_session_in_one_method_and_bounds_no_wait(
    rest_server: RestServer, tmp_path: Path
) -> None:
    sessions: list[Any] = []

    class Watched(RestCatalog):
        def _config_headers(self, session: Any) -> None:
            super()._config_headers(session)
            sessions.append(session)

    address = rest_server.catalog(f"file://{tmp_path}/warehouse", credential=CREDENTIAL)
    access = {"credential": CREDENTIAL, "oauth2-server-uri": f"{address}/v1/oauth/tokens"}
    with closing(Watched("k2", uri=address, **access)) as catalog:
        assert catalog._session is sessions[-1]
        assert len(sessions) == 2, "one for the configuration, one for all that follows"
        assert "timeout" not in inspect.getsource(RestCatalog)
        assert Capability.V1_LOAD_TABLE in catalog._supported_endpoints
        before = catalog._session.auth.auth_manager.auth_header()
        catalog._refresh_token()
        assert catalog._session.auth.auth_manager.auth_header() != before
        assert catalog.url(Endpoints.load_table, prefixed=True, **catalog._split_identifier_for_path("a.b")) == (
            f"{address}/v1/namespaces/a/tables/b"
        )


def test_a_file_io_still_opens_its_file_systems_in_two_methods() -> None:
    opened: list[str] = []

    class Watched(PyArrowFileIO):
        def _initialize_local_fs(self) -> Any:
            opened.append("local")
            return super()._initialize_local_fs()

        def _initialize_s3_fs(self, netloc: str | None) -> Any:
            opened.append(f"s3 {netloc}")
            return super()._initialize_s3_fs(netloc)

    files = Watched(S3)
    files.new_input("file:///nowhere")
    files.new_input("s3://bucket/nowhere")
    assert opened == ["local", "s3 bucket"]


def test_an_object_store_of_pyarrow_still_shows_its_options_only_by_being_reduced() -> None:
    store = PyArrowFileIO(S3).fs_by_scheme("s3", "bucket")
    assert isinstance(store, S3FileSystem)
    options = with_delayed_open(store).__reduce__()[1][0]
    assert options["allow_delayed_open"] is True
    assert options["endpoint_override"] == "http://127.0.0.1:9"
    assert not store.__reduce__()[1][0]["allow_delayed_open"]


def test_a_file_of_pyiceberg_still_holds_what_another_of_its_class_is_made_of(tmp_path: Path) -> None:
    class Other(PyArrowFile):
        pass

    (tmp_path / "file").write_bytes(b"content")
    again = of_kind(StorageIO().new_input(f"file://{tmp_path}/file"), Other)
    with again.open() as stream:
        assert type(again) is Other
        assert stream.read() == b"content"


def test_psycopg_still_waits_in_one_method_that_raises_when_its_time_has_passed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that speaks the protocol as far as the first query, and then hangs."""
    monkeypatch.setattr("k2ctl.lake.psycopg_overrides.ANSWER_WITHIN_S", 0.3)
    ready = b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            client.recv(1024)
            client.sendall(ready)
            client.recv(1024)
            time.sleep(2)
            client.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        address = f"host=127.0.0.1 port={server.getsockname()[1]} user=u sslmode=disable gssencmode=disable"
        connection = BoundedConnection.connect(address, autocommit=True)
        with pytest.raises(psycopg.OperationalError, match="has not answered"):
            connection.execute("SELECT 1")
        assert connection.closed


def test_pyarrow_still_hands_over_a_footer_once_the_file_is_written() -> None:
    footers: list[pq.FileMetaData] = []
    rows = pa.table({"a": [1, 2, 3]})
    with pq.ParquetWriter(pa.BufferOutputStream(), rows.schema, metadata_collector=footers) as writer:
        writer.write_table(rows)
    assert footers[0].num_rows == 3
