"""What is particular to a REST catalog: its word is not taken for it, it lets nobody in, it hands out keys."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog import rest
from pyiceberg.exceptions import ForbiddenError
from pyiceberg.table import CommitTableResponse
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.update import update_table_metadata

from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.domain.topics import TABLE
from k2ctl.endpoints import Endpoints
from k2ctl.errors import LakeError, LakeUnanswered, UnknownTable, UsageError
from k2ctl.lake import storage
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.duckdb_files import open_duckdb
from k2ctl.lake.live_files import live_files
from k2ctl.lake.maintenance.maintainer import compact_now, expire, whole_hours
from k2ctl.lake.maintenance.orphans import orphans, remove_orphans
from k2ctl.lake.place import same_file
from k2ctl.lake.pyiceberg_overrides.rest import REST_CAPABILITIES
from k2ctl.lake.registering import plan, register
from k2ctl.lake.rest_service import RestServiceCatalog
from k2ctl.lake.side_folder import SPILL, SideFolder
from k2ctl.lake.snapshots import pin
from k2ctl.lake.trial import limits_of, object_round_trip, try_service
from k2ctl.lake.writer import TableWriter
from k2ctl.lake.written_offer import Committed
from tests.made_trades import make_rows, make_trades
from tests.support.leases import of_this_machine
from tests.support.object_store import ObjectStore
from tests.support.polling import until
from tests.support.rest_server import CREDENTIAL, TOKEN, RestServer

CLOCK = SystemClock()


@pytest.fixture
def address(rest_server: RestServer, tmp_path: Path) -> str:
    """A catalog of the test's own."""
    return rest_server.catalog(f"file://{tmp_path}/warehouse")


@pytest.fixture
def lake(address: str) -> Iterator[Lake]:
    """Its lake; the warehouse is a name, and the service decides where the table is."""
    with Lake(address, "prod") as lake:
        yield lake


def commit(writer: TableWriter, start: int, count: int = 50) -> Committed:
    rows = make_rows(make_trades(count, start), start)
    delta = OffsetDelta(start, start + count, Counts(seen=count, stored=count))
    return writer.commit([rows], {TopicPartition("t", "e", 0): delta})


def offsets_of(lake: Lake) -> list[int]:
    return sorted(lake.table().scan(selected_fields=("kafka_offset",)).to_arrow()["kafka_offset"].to_pylist())


def platform(address: str, warehouse: str = "prod", **more: Any) -> Endpoints:
    return Endpoints("external", "127.0.0.1:1", address, warehouse, **more)


def test_a_commit_that_is_confirmed_and_not_there_is_made_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Polaris did: it answered 200 and dropped the write."""
    writer = TableWriter(lake, CLOCK)
    commit(writer, 0)
    real, dropped = lake.catalog.commit_table, []

    def drop(table: Any, requirements: Any, updates: Any) -> Any:
        if dropped:
            return real(table, requirements, updates)
        dropped.append(updates)
        after = update_table_metadata(table.metadata, updates)
        return CommitTableResponse(metadata=after, metadata_location=table.metadata_location)

    monkeypatch.setattr(lake.catalog, "commit_table", drop)
    done = commit(writer, 50)
    assert dropped
    assert (done.stored, done.attempts) == (50, 2)
    assert offsets_of(lake) == list(range(100))


def test_a_commit_that_is_seen_late_is_stored_once(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = TableWriter(lake, CLOCK)
    commit(writer, 0)
    real, before, stale = lake.catalog.load_table, lake.table(), iter([False, True])
    monkeypatch.setattr(lake.catalog, "load_table", lambda name: before if next(stale, False) else real(name))
    done = commit(writer, 50)
    assert done.attempts == 2
    assert offsets_of(lake) == list(range(100))


def test_a_service_that_hangs_is_asked_again_and_what_it_did_meanwhile_is_found(
    fragile_rest: RestServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RestServiceCatalog, "within_s", (1.0, 4.0))
    with Lake(fragile_rest.catalog(f"file://{tmp_path}/warehouse"), "prod") as lake:
        writer, hung = TableWriter(lake, CLOCK), threading.Event()
        real, done = lake.catalog.commit_table, list[Committed]()

        def hang(*arguments: Any) -> Any:
            if not hung.is_set():
                fragile_rest.pause()
                hung.set()
            return real(*arguments)

        monkeypatch.setattr(lake.catalog, "commit_table", hang)
        thread = threading.Thread(target=lambda: done.append(commit(writer, 0)))
        thread.start()
        assert hung.wait(10)
        until(lambda: bool(writer.trouble), 10)
        fragile_rest.resume()
        thread.join(30)
        assert done[0].stored == 50
        assert offsets_of(lake) == list(range(50))


def test_a_service_that_was_killed_and_is_back_goes_on(fragile_rest: RestServer, tmp_path: Path) -> None:
    with Lake(fragile_rest.catalog(f"file://{tmp_path}/warehouse"), "prod") as lake:
        writer = TableWriter(lake, CLOCK)
        commit(writer, 0)
        fragile_rest.stop()
        with pytest.raises(LakeUnanswered, match=r"does not answer: .*Connection refused"):
            lake.table()
        fragile_rest.start()
        commit(writer, 50)
        assert offsets_of(lake) == list(range(100))


def test_a_client_is_let_in_by_its_credential_and_again_once_its_token_has_ended(
    rest_server: RestServer, tmp_path: Path
) -> None:
    address = rest_server.catalog(f"file://{tmp_path}/warehouse", credential=CREDENTIAL)
    access = {"credential": CREDENTIAL}
    with Lake(address, "prod", {}, access) as lake, Lake(address, "prod", {}, access) as other:
        writer, theirs = TableWriter(lake, CLOCK), TableWriter(other, CLOCK)
        commit(writer, 0)  # each token that is given ends the one before
        commit(theirs, 50)
        commit(writer, 100)
        assert lake.catalog.location_of(TABLE) == other.table().metadata_location
        assert offsets_of(other) == list(range(150))


@pytest.mark.parametrize(
    "access", [{}, {"token": "hush-token"}, {"credential": "k2:hush-secret"}], ids=["nobody", "token", "credential"]
)
def test_a_refused_client_reads_one_line_without_a_secret(
    rest_server: RestServer, tmp_path: Path, access: dict[str, str]
) -> None:
    address = rest_server.catalog(f"file://{tmp_path}/warehouse", credential=CREDENTIAL)
    with pytest.raises(LakeError, match="refuses") as raised:
        Lake(address, "prod", {}, access)
    assert not isinstance(raised.value, LakeUnanswered)
    assert "hush" not in str(raised.value)
    assert "stack up --engine external" in str(raised.value.hint)


def test_a_token_lets_in(rest_server: RestServer, tmp_path: Path) -> None:
    address = rest_server.catalog(f"file://{tmp_path}/warehouse", token=TOKEN)
    with Lake(address, "prod", {}, {"token": TOKEN}) as lake:
        commit(TableWriter(lake, CLOCK), 0)
        assert len(offsets_of(lake)) == 50


def test_a_commit_that_the_service_forbids_is_not_tried_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, asked = TableWriter(lake, CLOCK), []

    def forbid(*_: Any) -> Any:
        asked.append(1)
        raise ForbiddenError("ForbiddenException: k2 may not write to trades")

    monkeypatch.setattr(rest.RestCatalog, "commit_table", forbid)
    with pytest.raises(LakeError, match="refuses: ForbiddenException: k2 may not write to trades"):
        commit(writer, 0)
    assert len(asked) == 1


def test_what_answers_and_is_no_catalog_is_named(object_store: ObjectStore, rest_server: RestServer) -> None:
    for address in (object_store.storage["s3.endpoint"], f"http://127.0.0.1:{rest_server.port}/nowhere"):
        with pytest.raises(LakeError, match=address) as raised:
            Lake(address, "prod")
        assert len(str(raised.value).splitlines()) == 1


def test_files_are_reached_with_the_keys_that_the_service_hands_out(
    rest_server: RestServer, object_store: ObjectStore
) -> None:
    """Ours are the address and the region of the store: without the service's keys it refuses everything."""
    theirs = object_store.storage
    address = rest_server.catalog_with_keys(object_store.folder(), theirs)
    ours = {name: value for name, value in theirs.items() if "key" not in name}
    with Lake(address, "prod", ours) as lake:
        writer = TableWriter(lake, CLOCK)
        for start in range(0, 200, 50):
            commit(writer, start)
        table = lake.table()
        assert SideFolder(table).write(SPILL, b"deferred", "k2spill").startswith(f"{table.location()}/_k2/spill/")
        pinned = pin(lake)
        assert pinned is not None
        with closing(open_duckdb(lake)) as connection:
            found = connection.sql("SELECT count(*) FROM read_parquet(?)", params=[pinned.intact().paths]).fetchall()
        assert found == [(200,)]
        assert compact_now(lake, CLOCK, whole_hours, of_this_machine)
        expire(lake, SnapshotRetention(1, 0, 0), CLOCK)
        remove_orphans(lake, 0.0, CLOCK)
        assert offsets_of(lake) == list(range(200))
    try_service(platform(address, storage=ours))
    object_round_trip(platform(address, storage=ours))


def test_other_files_are_in_a_folder_that_orphan_removal_knows(lake: Lake) -> None:
    commit(TableWriter(lake, CLOCK), 0)
    folder = SideFolder(lake.table())
    location = folder.write(SPILL, b"of nobody", "k2spill")
    assert f"_k2/spill/{location.rpartition('/')[2]}" in {orphan.name for orphan in orphans(lake, CLOCK)}
    remove_orphans(lake, 0.0, CLOCK)
    assert folder.names(SPILL) == []
    assert offsets_of(lake) == list(range(50))


def test_orphan_removal_leaves_what_other_tables_need(lake: Lake) -> None:
    commit(TableWriter(lake, CLOCK), 0)
    table = lake.table()
    inner = lake.catalog.create_table(
        "market_data.inner", table.schema(), location=f"{table.location()}/inner", properties={"format-version": "2"}
    )
    inner.append(table.scan().to_arrow())
    remove_orphans(lake, 0.0, CLOCK)
    assert len(lake.catalog.load_table("market_data.inner").scan().to_arrow()) == 50


def test_a_place_that_has_another_tables_metadata_is_refused(lake: Lake, address: str) -> None:
    """The catalog was emptied: that the place is taken shows once the service has chosen it."""
    commit(TableWriter(lake, CLOCK), 0)
    newest = lake.table().metadata_location
    lake.catalog.drop_table(TABLE)
    with Lake(address, "prod") as again:
        with pytest.raises(UnknownTable, match="another one that the catalog does not know"):
            again.ensure_table()
        assert again.find_table() is None
        with pytest.raises(UsageError, match="decides on the place of a table"):
            plan(again)
        (one,) = plan(again, newest)
        register(again, one)
    with Lake(address, "prod") as again:
        assert checkpoints_of(again.table()).total().stored == 50


def test_a_service_is_tried_and_nothing_stays(lake: Lake, address: str) -> None:
    assert try_service(platform(address)) == []
    assert lake.catalog.list_tables("market_data") == []
    assert limits_of(platform(address)) == []
    assert try_service(platform("sqlite:///:memory:", "file:///nowhere")) == []


def changed(commit_table: Callable[..., Any]) -> Callable[..., Any]:
    """A service that behaves otherwise when something is committed to the table that is tried."""

    def changed(self: RestServiceCatalog, table: Any, requirements: Any, updates: Any) -> Any:
        return commit_table(self, table, requirements, updates)

    return changed


def test_a_service_that_takes_a_commit_from_an_old_base_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = RestServiceCatalog.commit_table

    def rebase(self: RestServiceCatalog, table: Any, requirements: Any, updates: Any) -> Any:
        return real(self, table, tuple(one for one in requirements if one.type != "assert-ref-snapshot-id"), updates)

    monkeypatch.setattr(RestServiceCatalog, "commit_table", changed(rebase))
    with pytest.raises(LakeError, match="takes a commit that is built upon an old snapshot"):
        try_service(platform(address))


def test_a_service_that_drops_what_it_confirms_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(_: RestServiceCatalog, table: Any, __: Any, updates: Any) -> Any:
        after = update_table_metadata(table.metadata, updates)
        return CommitTableResponse(metadata=after, metadata_location=table.metadata_location)

    monkeypatch.setattr(RestServiceCatalog, "commit_table", changed(drop))
    with pytest.raises(LakeError, match="confirmed a commit, and does not have it"):
        try_service(platform(address))


def test_a_service_that_passes_over_tags_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Nessie does: it confirms them, and has none."""
    real = RestServiceCatalog.commit_table

    def without_tags(self: RestServiceCatalog, table: Any, requirements: Any, updates: Any) -> Any:
        kept = tuple(one for one in updates if getattr(one, "type", "") != SnapshotRefType.TAG)
        return real(self, table, requirements, kept)

    monkeypatch.setattr(RestServiceCatalog, "commit_table", changed(without_tags))
    with pytest.raises(LakeError, match="keeps no tags"):
        try_service(platform(address))


def dropping(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The next change of a table is confirmed and dropped; what was dropped."""
    real, dropped = lake.catalog.commit_table, list[Any]()

    def drop(table: Any, requirements: Any, updates: Any) -> Any:
        if dropped:
            return real(table, requirements, updates)
        dropped.append(updates)
        after = update_table_metadata(table.metadata, updates)
        return CommitTableResponse(metadata=after, metadata_location=table.metadata_location)

    monkeypatch.setattr(lake.catalog, "commit_table", drop)
    return dropped


def test_what_maintenance_changed_is_read_back_too(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = TableWriter(lake, CLOCK)
    for start in range(0, 200, 50):
        commit(writer, start)
    dropped = dropping(lake, monkeypatch)
    assert expire(lake, SnapshotRetention(1, 0, 0), CLOCK) == 3
    assert dropped
    assert len(lake.table().metadata.snapshots) == 1
    dropped.clear()
    done = compact_now(lake, CLOCK, whole_hours, of_this_machine)
    assert dropped
    assert sum(one.tries for one in done) > len(done)
    assert len(live_files(lake.table())) == len(done)
    assert offsets_of(lake) == list(range(200))


def test_what_a_service_does_not_offer_is_said_and_what_is_needed_is_demanded(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = [capability for capability in vars(REST_CAPABILITIES).values() if isinstance(capability, rest.Endpoint)]
    without = [REST_CAPABILITIES.V1_REGISTER_TABLE, REST_CAPABILITIES.V1_LIST_TABLES]
    monkeypatch.setattr(RestServiceCatalog, "can", lambda _, one: one in offered and one not in without)
    said = limits_of(platform(address))
    assert [text.split(" (")[0] for text in said] == ["list what it has", "register a table"]
    without.append(REST_CAPABILITIES.V1_UPDATE_TABLE)
    with pytest.raises(LakeError, match="does not offer to commit to a table"):
        limits_of(platform(address))


def test_keys_that_change_with_each_load_do_not_pile_up_connections() -> None:
    for number in range(3 * storage.OPENED_KEPT):
        keys = {"s3.access-key-id": f"id-{number}", "s3.secret-access-key": "none", "s3.region": "us-east-1"}
        storage.StorageIO(keys).fs_by_scheme("s3", None)
        assert storage.StorageIO(keys).fs_by_scheme("s3", None) is storage.StorageIO(keys).fs_by_scheme("s3", None)
    assert len(storage._opened) == storage.OPENED_KEPT


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("file:/data/t/metadata/1.json", "file:///data/t/metadata/1.json", True),
        ("/data/t/1", "file:///data/t/1", True),
        ("s3a://bucket/t/1", "s3://bucket/t/1", True),
        ("s3://bucket/t/1", "s3://bucket/t/2", False),
        ("s3://bucket/t/1", "s3://other/t/1", False),
    ],
)
def test_a_location_is_the_same_however_a_program_writes_its_scheme(one: str, other: str, same: bool) -> None:
    assert same_file(one, other) is same
