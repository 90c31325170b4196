"""What the lake asks of a warehouse, on local files and on an S3 store: the same promises, the same tests."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from pyiceberg.exceptions import CommitFailedException

from k2ctl.clock import ManualClock, SystemClock
from k2ctl.deferred.spill_files import SUFFIX, decode_spill, encode_spill
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.domain.ledger import INLINE_ENTRIES, DeferredRange, LedgerChange
from k2ctl.domain.topics import TABLE
from k2ctl.domain.trade import Window
from k2ctl.errors import DamagedFile, UnknownTable
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.duckdb_files import open_duckdb
from k2ctl.lake.ledger_files import LEDGER_FILE_STAYS_S
from k2ctl.lake.live_files import live_files
from k2ctl.lake.maintenance.maintainer import compact_now, whole_hours
from k2ctl.lake.maintenance.orphans import orphans, remove_orphans
from k2ctl.lake.readers import recent_rows
from k2ctl.lake.registering import plan, register
from k2ctl.lake.side_folder import DEDUP, LEDGER, QUARANTINE, SPILL, DedupFolder, DedupIndex, SideFolder, ledger_of
from k2ctl.lake.snapshots import pin
from k2ctl.lake.stored_lookup import SuspectLookup
from k2ctl.lake.writer import TableWriter
from k2ctl.query.history import Asked, FilesGone, History
from tests.made_trades import BASE_US, make_rows, make_trades
from tests.support.leases import of_this_machine
from tests.support.object_store import ObjectStore

CLOCK = SystemClock()
HOUR_S = 3600.0


@pytest.fixture(params=["local", "s3"])
def open_lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Lake]]:
    """Opens the same warehouse again and again, as other processes would."""
    if request.param == "local":
        warehouse, storage = f"file://{tmp_path}/ware house", {}
    else:
        store = request.getfixturevalue("object_store")
        warehouse, storage = store.folder(), store.storage
    opened: list[Lake] = []

    def open_again() -> Lake:
        opened.append(Lake(f"sqlite:///{tmp_path}/catalog.db", warehouse, storage))
        return opened[-1]

    yield open_again
    for lake in opened:
        lake.close()


@pytest.fixture
def lake(open_lake: Callable[[], Lake]) -> Lake:
    made = open_lake()
    made.ensure_table()
    return made


@pytest.fixture
def folder(lake: Lake) -> SideFolder:
    return SideFolder(lake.table())


def fill(lake: Lake, commits: int, each: int = 50) -> None:
    """Made trades, so many to a commit, in one partition; of the snapshots the last three stay."""
    writer = TableWriter(lake, CLOCK, SnapshotRetention(3, 0, 0))
    for start in range(0, commits * each, each):
        advance = OffsetDelta(start, start + each, Counts(seen=each, stored=each))
        writer.commit([make_rows(make_trades(each, start), start)], {TopicPartition("t", "e", 0): advance})


def test_what_was_written_is_read_back_and_each_file_has_a_name_of_its_own(folder: SideFolder) -> None:
    first, second = folder.write(SPILL, b"one", SUFFIX), folder.write(SPILL, b"two", SUFFIX)
    assert first != second
    assert folder.read(first) == b"one"
    assert folder.read(second) == b"two"


def test_a_file_of_many_parts_is_whole(folder: SideFolder) -> None:
    content = np.random.default_rng(1).bytes(25_000_000)
    assert folder.read(folder.write(SPILL, content, SUFFIX)) == content


def test_a_file_of_a_fixed_name_is_replaced(folder: SideFolder) -> None:
    assert folder.put(DEDUP, "index", b"old and longer") == folder.put(DEDUP, "index", b"new")
    assert folder.read(folder.location(DEDUP, "index")) == b"new"


def test_a_file_that_is_not_there_cannot_be_read_and_can_be_deleted(folder: SideFolder) -> None:
    location = folder.write(SPILL, b"short-lived", SUFFIX)
    folder.delete(location)
    folder.delete(location)
    with pytest.raises(FileNotFoundError):
        folder.read(location)


def test_what_spill_files_take_is_counted_on_a_disk_of_our_own(folder: SideFolder) -> None:
    local = "file:" in folder.location(SPILL, "")
    assert folder.used_bytes() == 0
    folder.write(SPILL, b"x" * 300, SUFFIX)
    folder.write(SPILL, b"x" * 200, SUFFIX)
    folder.write(DEDUP, b"x" * 100, "ids")
    assert folder.used_bytes() == (500 if local else 0)


def test_a_damaged_file_is_copied_once_and_stays_while_the_ledger_names_it(folder: SideFolder) -> None:
    """Its good frames may be all that there is of their trades, until they are committed."""
    location = folder.write(SPILL, b"half good", SUFFIX)
    for _ in range(2):
        folder.quarantine(location, b"half good")
    assert folder.read(location) == b"half good"
    (kept,) = folder.names(QUARANTINE)
    assert folder.read(folder.location(QUARANTINE, kept)) == b"half good"


def test_spilled_trades_come_back_from_another_process(lake: Lake, open_lake: Callable[[], Lake]) -> None:
    rows = make_rows(make_trades(25_000))
    location = SideFolder(lake.table()).write(SPILL, encode_spill(rows), SUFFIX)
    back, intact = decode_spill(SideFolder(open_lake().table()).read(location), "t", "e")
    assert intact
    assert (back.trades == rows.trades).all()


def test_a_ledger_that_has_outgrown_its_property_is_read_by_another(lake: Lake, open_lake: Callable[[], Lake]) -> None:
    count = INLINE_ENTRIES + 1
    added = tuple(DeferredRange("t", "e", 0, 2 * n, 2 * n + 1, 8, "p", 2, 1, 0, 0) for n in range(count))
    advance = OffsetDelta(0, 2 * count, Counts(seen=count, shed=count))
    TableWriter(lake, CLOCK).commit([], {TopicPartition("t", "e", 0): advance}, LedgerChange(added))
    assert checkpoints_of(open_lake().table()).ledger.entries == added


def test_the_ledgers_file_stays_until_the_table_names_another(
    lake: Lake, open_lake: Callable[[], Lake], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, count = ManualClock(), INLINE_ENTRIES + 1
    writer, partition = TableWriter(lake, clock), TopicPartition("t", "e", 0)
    added = tuple(DeferredRange("t", "e", 0, 2 * n, 2 * n + 1, 8, "p", 2, 1, 0, 0) for n in range(count))
    writer.commit([], {partition: OffsetDelta(0, 2 * count, Counts(seen=count, shed=count))}, LedgerChange(added))
    named_by_a_reader = lake.table()

    def conflict(*_: object) -> None:
        monkeypatch.undo()
        raise CommitFailedException("another was first")

    clock.advance(LEDGER_FILE_STAYS_S + 1)
    monkeypatch.setattr(lake.catalog, "commit_table", conflict)
    writer.commit([], {partition: OffsetDelta(2 * count, 2 * count + 1, Counts())})
    assert checkpoints_of(open_lake().table()).ledger.entries == added
    assert ledger_of(named_by_a_reader).entries == added, "it may just have learned the name"
    clock.advance(LEDGER_FILE_STAYS_S + 1)
    writer.commit([], {partition: OffsetDelta(2 * count + 1, 2 * count + 2, Counts())})
    assert len(SideFolder(lake.table()).names(LEDGER)) == 2, "the one in use, and the one before"


def test_dedup_state_is_found_by_its_index(lake: Lake, open_lake: Callable[[], Lake]) -> None:
    mine, others = DedupFolder(lake.table()), DedupFolder(open_lake().table())
    assert others.indexes("t") == []
    sets = mine.write(b"sets")
    index = DedupIndex("t", mine.table_id, 1, {}, CLOCK.now_us(), 10**12, 0, sets, ())
    mine.put_index(index)
    assert others.indexes("t") == [index]
    assert remove_orphans(lake, 0.0, CLOCK).files == 0
    assert others.read(sets) == b"sets"


def test_orphan_removal_takes_what_nothing_refers_to_once_it_is_old(lake: Lake, folder: SideFolder) -> None:
    fill(lake, 21)
    compact_now(lake, CLOCK, whole_hours, of_this_machine)
    fill_after = checkpoints_of(lake.table()).total().stored
    folder.write(SPILL, b"outstanding by nobody", SUFFIX)
    found = orphans(lake, CLOCK)
    assert len(found) > 12  # what led to expired snapshots, and the spill file
    assert all(0 <= orphan.age_s < 600 and orphan.bytes >= 0 for orphan in found)
    assert remove_orphans(lake, HOUR_S, CLOCK).files == 0
    later = ManualClock(CLOCK.now_us() + 2 * int(HOUR_S * 1e6))
    assert remove_orphans(lake, HOUR_S, later).files == len(found)
    assert orphans(lake, CLOCK) == []
    assert lake.table().scan().to_arrow().num_rows == fill_after


def test_a_merge_keeps_every_row_in_one_sorted_file(lake: Lake) -> None:
    fill(lake, 10)
    before = lake.table().scan().to_arrow().sort_by([("kafka_offset", "ascending")])
    assert [compaction.files_before for compaction in compact_now(lake, CLOCK, whole_hours, of_this_machine)] == [10]
    after = lake.table().scan().to_arrow()
    assert len(live_files(lake.table())) == 1
    assert after["symbol"].to_pylist() == sorted(after["symbol"].to_pylist())
    assert after.sort_by([("kafka_offset", "ascending")]).equals(before)


def test_a_query_reads_its_window_and_nothing_else(lake: Lake) -> None:
    fill(lake, 4, 1000)
    pinned = pin(lake)
    assert pinned is not None
    window = Window(BASE_US + 500_000, BASE_US + 2_500_000)
    history = History(lake)
    for _ in range(2):  # the second time from what DuckDB keeps
        rows = history.newest(pinned.plan(["S03"], window.since_us, window.until_us), Asked(["S03"], window), None)
        numbers = sorted(rows["trade_id"].to_pylist())
        assert numbers == [number for number in range(500, 2500) if number % 20 == 3]
    assert len(history.newest(pinned.plan(), Asked(), None)) == 4000
    history.close()


def test_copies_are_recognised_by_what_the_table_holds(lake: Lake) -> None:
    fill(lake, 2, 500)
    again = make_rows(make_trades(700, 500), offset=5000)
    found = SuspectLookup(lake, CLOCK).find(again)
    assert found.elsewhere.tolist() == [True] * 500 + [False] * 200
    rows = list(recent_rows(lake.table(), 0, "t", [0]))
    assert sum(map(len, rows)) == 1000


def test_a_data_file_that_is_gone_is_said_to_be(lake: Lake) -> None:
    fill(lake, 2)
    pinned = pin(lake)
    assert pinned is not None
    plan = pinned.plan()
    lake.file_io().delete(plan.paths[1])
    history = History(lake)
    with pytest.raises(FilesGone):
        history.newest(plan, Asked(), None)
    history.close()


@contextmanager
def altered(lake: Lake, path: str, place: int) -> Iterator[None]:
    """A byte of a file is another for the length of the block."""
    with lake.file_io().new_input(path).open() as stream:
        whole = stream.read()
    content = bytearray(whole)
    content[place] ^= 16
    for state in (bytes(content), whole):
        with lake.file_io().new_output(path).create(overwrite=True) as sink:
            sink.write(state)
        if state is not whole:
            yield


@pytest.mark.parametrize("place", [9, 5_000, -400, -30, -6])
def test_an_altered_byte_of_a_data_file_is_reported_by_every_reader(
    lake: Lake, open_lake: Callable[[], Lake], place: int
) -> None:
    fill(lake, 2, 20_000)
    before = lake.table().metadata.current_snapshot_id
    path = live_files(lake.table())[1].path

    def queried(reader: Lake) -> object:
        pinned, history = pin(reader), History(reader)
        assert pinned is not None
        with closing(history):
            return history.newest(pinned.intact(), Asked(), None)

    def rebuilt(reader: Lake) -> object:
        return list(recent_rows(reader.table(), 0, "t", [0]))

    def looked_up(reader: Lake) -> object:
        return SuspectLookup(reader, CLOCK).find(make_rows(make_trades(40_000)))

    def merged(reader: Lake) -> object:
        return compact_now(reader, CLOCK, whole_hours, of_this_machine)

    with altered(lake, path, place):
        for read in (queried, rebuilt, looked_up, merged):
            with pytest.raises(DamagedFile, match=path.rpartition("/")[2]):
                read(open_lake())
    assert lake.table().metadata.current_snapshot_id == before
    assert compact_now(lake, CLOCK, whole_hours, of_this_machine)


def test_what_was_written_by_halves_leaves_nothing_behind(lake: Lake) -> None:
    from k2ctl.domain.rows import arrow_schema
    from k2ctl.lake.files import write_chunks

    def broken() -> Iterator[pa.Table]:
        yield make_rows(make_trades(50)).to_arrow().cast(arrow_schema())
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_chunks(lake.table(), arrow_schema(), broken())
    assert orphans(lake, CLOCK) == []


def test_a_commit_that_finds_the_disk_full_leaves_no_file_of_its_tries(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    from k2ctl.lake import files

    write, tries = files.write_chunks, []

    def full_at_the_second(*arguments: Any) -> Any:
        tries.append(1)
        if len(tries) in (2, 4):
            raise OSError()  # not every error says something
        return write(*arguments)

    monkeypatch.setattr(files, "write_chunks", full_at_the_second)
    rows = make_rows(make_trades(100))
    rows.trades["event_ns"][50:] += 3_600_000_000 * 1000
    writer = TableWriter(lake, ManualClock())
    done = writer.commit([rows], {TopicPartition("t", "e", 0): OffsetDelta(0, 100, Counts(seen=100, stored=100))})
    assert done.stored == 100
    assert len(tries) == 6
    assert orphans(lake, CLOCK) == []


def test_a_locked_connection_reads_the_files_it_was_given_and_no_other(lake: Lake) -> None:
    fill(lake, 2)
    pinned = pin(lake)
    assert pinned is not None
    given, other = pinned.plan().paths
    connection = open_duckdb(lake)
    for name, value in (("allowed_paths", [given]), ("enable_external_access", False), ("lock_configuration", True)):
        connection.execute(f"SET {name} = {value if isinstance(value, list) else str(value).lower()}")
    assert connection.sql("SELECT count(*) FROM read_parquet(?)", params=[[given]]).fetchall() == [(50,)]
    for path in (other, given.rsplit("/", 1)[0] + "/*.parquet", "/etc/passwd"):
        for function in ("read_parquet", "read_blob", "glob"):
            with pytest.raises(duckdb.PermissionException):
                connection.sql(f"SELECT * FROM {function}('{path}')").fetchall()
    connection.close()


def test_nothing_is_written_to_a_store_through_duckdb(object_store: ObjectStore, tmp_path: Path) -> None:
    with Lake(f"sqlite:///{tmp_path}/catalog.db", object_store.folder(), object_store.storage) as lake:
        location = lake.ensure_table().location() + "/data/x.parquet"
        connection = open_duckdb(lake)
        with pytest.raises((duckdb.Error, PermissionError)):
            connection.execute(f"COPY (SELECT 1) TO '{location}'")
        connection.close()
        assert orphans(lake, CLOCK) == []


def test_a_table_that_the_catalog_forgot_is_found_by_its_metadata_and_registered_again(
    open_lake: Callable[[], Lake],
) -> None:
    lake = open_lake()
    fill(lake, 3)
    newest = lake.table().metadata_location
    lake.catalog.drop_table(TABLE)
    with pytest.raises(UnknownTable, match="does not know the table"):
        open_lake().find_table()
    (one,) = plan(lake)
    assert (one.chosen.location, one.chosen.rows, one.instead_of) == (newest, 150, None)
    register(lake, one)
    assert checkpoints_of(open_lake().table()).total().stored == 150
