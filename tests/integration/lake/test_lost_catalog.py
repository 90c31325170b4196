"""A catalog that was lost, replaced or rolled back, beside the table's metadata: said everywhere, and mended."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from k2ctl.cli import main
from k2ctl.clock import SystemClock
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.domain.topics import REFERENCE_TABLE, TABLE
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.errors import ExitCode, LakeError, UnknownTable
from k2ctl.lake import place
from k2ctl.lake.catalog import Lake
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.maintenance.maintainer import compact_now, expire, whole_hours
from k2ctl.lake.maintenance.orphans import remove_orphans
from k2ctl.lake.snapshots import TableFollower
from k2ctl.lake.writer import TableWriter
from tests.made_trades import make_rows, make_trades, quick_profile
from tests.support.cli import called
from tests.support.leases import of_this_machine

CLOCK = SystemClock()
KEEP_ONE = SnapshotRetention(1, 0, 0)


@pytest.fixture
def endpoints(embedded_stack: Endpoints, home: Path) -> Endpoints:
    (home / "lake").mkdir()
    made = Endpoints(
        "embedded",
        embedded_stack.bootstrap_servers,
        f"sqlite:///{home}/lake/catalog.db",
        f"file://{home}/lake/warehouse",
        control_socket=embedded_stack.control_socket,
        epoch=embedded_stack.epoch,
    )
    save_endpoints(made)
    return made


def append(endpoints: Endpoints, start: int, commits: int = 2) -> None:
    with Lake.at(endpoints) as lake:
        writer = TableWriter(lake, CLOCK)
        for at in range(start, start + commits * 50, 50):
            advance = OffsetDelta(at, at + 50, Counts(seen=50, stored=50))
            assert not writer.commit(
                [make_rows(make_trades(50, at), at)], {TopicPartition("t", "e", 0): advance}
            ).fenced


def catalog_file(endpoints: Endpoints) -> Path:
    return Path(endpoints.catalog_uri.removeprefix("sqlite:///"))


def lose(endpoints: Endpoints) -> None:
    for path in catalog_file(endpoints).parent.glob("catalog.db*"):
        path.unlink()


def empty(endpoints: Endpoints) -> None:
    lose(endpoints)
    catalog_file(endpoints).touch()


def drop(endpoints: Endpoints) -> None:
    SqlCatalog("k2", uri=endpoints.catalog_uri, warehouse=endpoints.warehouse).drop_table(TABLE)


def scribble(endpoints: Endpoints) -> None:
    lose(endpoints)
    catalog_file(endpoints).write_bytes(b"no database of anybody's" * 100)


def lose_newest_metadata(endpoints: Endpoints) -> None:
    with Lake.at(endpoints) as lake:
        Path(lake.table().metadata_location.removeprefix("file://")).unlink()


def files_of(endpoints: Endpoints) -> set[str]:
    folder = Path(endpoints.warehouse.removeprefix("file://"))
    return {str(path) for path in folder.rglob("*") if path.is_file()}


def rows_of(endpoints: Endpoints) -> int:
    table = SqlCatalog("k2", uri=endpoints.catalog_uri, warehouse=endpoints.warehouse).load_table(TABLE)
    return len(table.scan().to_arrow())


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code, and what was said."""
    code, out, err = called(capsys, *arguments)
    return code, out + err


COMMANDS = [
    ("consume", "--until-caught-up"),
    ("backfill",),
    ("query", "recent", "S00", "--window", "all"),
    ("query", "recent", "S00", "--lake-only"),
    ("query", "sql", "SELECT count(*) FROM trades"),
    ("query", "sql", "SELECT * FROM snapshots"),
    ("query", "ohlcv", "S00", "--bar", "1m", "--window", "all"),
    ("query", "explain", "S00"),
    ("gaps",),
    ("lake", "status"),
    ("lake", "compact", "--all"),
    ("lake", "expire", "--older-than", "0"),
]


@pytest.mark.parametrize("lost", [lose, empty, drop], ids=["deleted", "emptied", "table dropped"])
def test_every_command_says_so_and_none_makes_or_deletes_anything(
    endpoints: Endpoints, capsys: pytest.CaptureFixture[str], lost: object
) -> None:
    append(endpoints, 0)
    lost(endpoints)  # type: ignore[operator]
    before = files_of(endpoints)
    for command in COMMANDS:
        code, said = run(capsys, *command)
        assert code != ExitCode.OK, command
        assert "k2ctl lake register" in said, (command, said)
        assert files_of(endpoints) == before, command
    assert catalog_file(endpoints).exists() == (lost is not lose)
    code, said = run(capsys, "lake", "register", "--yes")
    assert code == ExitCode.OK, said
    assert rows_of(endpoints) == 100
    append(endpoints, 100)
    assert run(capsys, "lake", "status")[0] == ExitCode.OK
    assert rows_of(endpoints) == 200


def test_a_warehouse_that_was_moved_away_is_no_place_to_register(
    endpoints: Endpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    append(endpoints, 0)
    warehouse = Path(endpoints.warehouse.removeprefix("file://"))
    warehouse.rename(warehouse.with_name("elsewhere"))
    code, text = run(capsys, "lake", "register", "--yes")
    assert code == 1
    assert "no metadata of market_data.trades is at its place" in text
    assert "Put the warehouse back" in text


@pytest.mark.parametrize(
    ("harm", "rows"), [(scribble, 100), (lose_newest_metadata, 50)], ids=["catalog damaged", "metadata file gone"]
)
def test_what_is_damaged_for_good_is_said_at_once_with_the_way_back(
    endpoints: Endpoints, capsys: pytest.CaptureFixture[str], harm: Callable[[Endpoints], None], rows: int
) -> None:
    append(endpoints, 0)
    harm(endpoints)
    before = files_of(endpoints)
    for command in COMMANDS:
        code, said = run(capsys, *command)
        assert code == ExitCode.FAILED, (command, said)
        assert "k2ctl lake register" in said, (command, said)
        assert files_of(endpoints) == before, command
    if harm is scribble:
        lose(endpoints)  # as the message says
    assert run(capsys, "lake", "register", "--yes")[0] == ExitCode.OK
    assert rows_of(endpoints) == rows


def test_doctor_and_status_name_the_way_back(endpoints: Endpoints, capsys: pytest.CaptureFixture[str]) -> None:
    from k2ctl.stack.readiness import health, lost_catalog

    append(endpoints, 0)
    assert health(endpoints, "catalog") == "healthy"
    assert lost_catalog(endpoints) == ""
    lose(endpoints)
    assert "k2ctl lake register" in health(endpoints, "catalog")
    assert "k2ctl lake register" in lost_catalog(endpoints)


def test_the_service_does_not_answer_that_there_is_nothing(endpoints: Endpoints) -> None:
    append(endpoints, 0)
    with Lake.at(endpoints) as lake:
        follower = TableFollower(lake)
        drop(endpoints)
        with pytest.raises(UnknownTable):
            follower.pin()


def test_a_reference_table_that_was_lost_is_named_and_registered_too(
    endpoints: Endpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    from k2ctl.domain.trade import REFERENCE
    from k2ctl.lake.references import store_references

    append(endpoints, 0)
    with Lake.at(endpoints) as lake:
        assert store_references(lake, REFERENCE.empty(3), CLOCK.now_us())
    catalog = SqlCatalog("k2", uri=endpoints.catalog_uri, warehouse=endpoints.warehouse)
    catalog.drop_table(REFERENCE_TABLE)
    with pytest.raises(UnknownTable, match="reference"):
        Consumer(endpoints, ConsumerPlan(quick_profile()))
    assert run(capsys, "lake", "register", "--yes")[0] == ExitCode.OK
    assert len(catalog.load_table(REFERENCE_TABLE).scan().to_arrow()) == 3


def second_table_at_the_place(endpoints: Endpoints) -> Table:
    """What a program does that does not look: the catalog is lost, and a new table is made at the same place."""
    lose(endpoints)
    with Lake(endpoints.catalog_uri, endpoints.warehouse, trusting=True) as lake:
        writer = TableWriter(lake, CLOCK)
        writer.commit(
            [make_rows(make_trades(10, 5000), 0)], {TopicPartition("u", "e", 0): OffsetDelta(0, 10, Counts(10, 10))}
        )
        return lake.table()


def test_two_tables_at_one_place_are_an_error_until_one_is_chosen(
    endpoints: Endpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    append(endpoints, 0)
    with Lake.at(endpoints) as lake:
        older = lake.table()
    second_table_at_the_place(endpoints)
    before = files_of(endpoints)
    for command in COMMANDS:
        code, said = run(capsys, *command)
        assert code != ExitCode.OK, command
        assert "k2ctl lake register" in said, (command, said)
    assert files_of(endpoints) == before
    code, said = run(capsys, "lake", "register")
    assert code == ExitCode.USAGE
    assert older.metadata_location in said
    code, said = run(capsys, "lake", "register", "--metadata", older.metadata_location, "--yes")
    assert code == ExitCode.OK, said
    assert rows_of(endpoints) == 100
    assert run(capsys, "lake", "status")[0] == ExitCode.OK
    append(endpoints, 100)


def test_a_running_consumers_own_maintenance_deletes_nothing_of_another_table(endpoints: Endpoints) -> None:
    append(endpoints, 0)
    second_table_at_the_place(endpoints)
    before = files_of(endpoints)
    with (
        Lake(endpoints.catalog_uri, endpoints.warehouse, trusting=True) as lake,
        pytest.raises(UnknownTable, match="another one that the catalog does not know"),
    ):
        remove_orphans(lake, 0.0, CLOCK)
    assert files_of(endpoints) == before


def test_what_a_second_name_of_the_table_refers_to_outlasts_compaction_and_collection(endpoints: Endpoints) -> None:
    """Under another name of the same catalog, and of another catalog in the same database."""
    append(endpoints, 0, commits=4)
    catalog = SqlCatalog("k2", uri=endpoints.catalog_uri, warehouse=endpoints.warehouse)
    other = SqlCatalog("other", uri=endpoints.catalog_uri, warehouse=endpoints.warehouse)
    kept = catalog.load_table(TABLE).metadata_location
    catalog.create_namespace("backup")
    other.create_namespace("market_data")
    copies = [catalog.register_table("backup.trades", kept), other.register_table(TABLE, kept)]
    with Lake.at(endpoints) as lake:
        compact_now(lake, CLOCK, whole_hours, of_this_machine)
        append(endpoints, 200, commits=25)
        expire(lake, KEEP_ONE, CLOCK)
        assert remove_orphans(lake, 0.0, CLOCK).files
    assert [len(copy.refresh().scan().to_arrow()) for copy in copies] == [200, 200]


def test_a_table_whose_files_are_not_known_stops_the_collection(endpoints: Endpoints) -> None:
    append(endpoints, 0)
    catalog = SqlCatalog("k2", uri=endpoints.catalog_uri, warehouse=endpoints.warehouse)
    catalog.create_namespace("backup")
    copy = Path(endpoints.warehouse.removeprefix("file://")) / "elsewhere.metadata.json"
    copy.write_bytes(b"{ damaged")
    with sqlite3.connect(catalog_file(endpoints)) as connection:
        connection.execute(
            "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, iceberg_type) "
            "VALUES ('k2', 'backup', 'trades', ?, 'TABLE')",
            (f"file://{copy}",),
        )
    with Lake.at(endpoints) as lake, pytest.raises(LakeError, match="so nothing is deleted"):
        remove_orphans(lake, 0.0, CLOCK)


def test_a_catalog_that_was_turned_back_is_recognised_and_can_go_on_from_either(
    endpoints: Endpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    append(endpoints, 0)
    backup = catalog_file(endpoints).with_name("backup.db")
    shutil.copy(catalog_file(endpoints), backup)
    append(endpoints, 100, commits=3)
    for chosen, rows in (("older", 100), ("newest", 250)):
        lose(endpoints)
        shutil.copy(backup, catalog_file(endpoints))
        code, said = run(capsys, "lake", "expire", "--older-than", "0")
        assert code == ExitCode.FAILED
        assert "rolled back" in said
        if chosen == "older":
            continue
        assert run(capsys, "lake", "register", "--yes")[0] == ExitCode.OK
        assert rows_of(endpoints) == rows
    with Lake(endpoints.catalog_uri, endpoints.warehouse, trusting=True) as lake:
        newest = lake.table().metadata_location
    lose(endpoints)
    shutil.copy(backup, catalog_file(endpoints))
    with Lake(endpoints.catalog_uri, endpoints.warehouse, trusting=True) as lake:
        older = lake.table().metadata_location
    assert run(capsys, "lake", "register", "--metadata", older, "--yes")[0] == ExitCode.OK
    assert rows_of(endpoints) == 100
    assert not Path(newest.removeprefix("file://")).exists()
    append(endpoints, 100)


def test_a_consumer_writes_nothing_into_a_catalog_file_that_was_deleted(endpoints: Endpoints) -> None:
    append(endpoints, 0)
    with Lake.at(endpoints) as lake:
        lake.table()
        lose(endpoints)
        with pytest.raises(LakeError, match="is gone"):
            lake.table()
    assert not catalog_file(endpoints).exists()


def test_a_table_that_two_make_at_once_leaves_nothing_strange(endpoints: Endpoints) -> None:
    """The one that comes second leaves a metadata file without a snapshot behind."""
    append(endpoints, 0)
    with Lake.at(endpoints) as lake:
        table = lake.table()
        schema, spec = table.schema(), table.spec()
    with SqlCatalog("k2", uri="sqlite:///:memory:", warehouse=endpoints.warehouse, init_catalog_tables="true") as loser:
        loser.create_namespace("market_data")
        loser.create_table(TABLE, schema, partition_spec=spec)
    place._read.clear()
    append(endpoints, 100)


def test_a_new_stack_begins_at_an_empty_place(endpoints: Endpoints) -> None:
    with Lake.at(endpoints) as lake:
        assert lake.find_table() is None
    append(endpoints, 0)
    assert rows_of(endpoints) == 100


def test_a_metadata_file_that_another_writer_has_half_written_stops_nobody(endpoints: Endpoints) -> None:
    append(endpoints, 0)
    with Lake.at(endpoints) as lake:
        newest = Path(lake.table().metadata_location.removeprefix("file://"))
    content = newest.read_bytes()
    newest.with_name("00099-in-the-making.metadata.json").write_bytes(content[: len(content) // 2])
    append(endpoints, 100)
    with Lake.at(endpoints) as lake:
        assert lake.table().scan().count() == 200


def test_a_folder_at_the_place_of_the_catalog_is_named_and_the_way_on_works(
    endpoints: Endpoints, capfd: pytest.CaptureFixture[str]
) -> None:
    append(endpoints, 0)
    file = catalog_file(endpoints)
    for part in file.parent.glob(f"{file.name}*"):
        part.unlink()
    file.mkdir()
    assert main(["lake", "status"]) == ExitCode.FAILED
    assert main(["lake", "register", "--yes"]) == ExitCode.FAILED
    said = capfd.readouterr().err
    assert said.count("A folder is at the place of the catalog") == 2
    assert said.count("move the folder away, then: k2ctl lake register") == 2
    file.rename(file.with_name("away"))
    assert main(["lake", "register", "--yes"]) == ExitCode.OK
    assert main(["lake", "status"]) == ExitCode.OK
