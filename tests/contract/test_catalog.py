"""What the lake asks of a catalog, on SQLite, PostgreSQL and a REST service: the same promises, the same tests."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from pyiceberg.catalog.sql import IcebergTables
from pyiceberg.exceptions import CommitFailedException
from requests import ConnectionError as RequestsConnectionError
from sqlalchemy import event, update
from sqlalchemy.exc import OperationalError

from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import RETIRED_PARTITION, Counts, OffsetDelta, TopicPartition
from k2ctl.domain.topics import TABLE
from k2ctl.errors import LakeError, UnknownTable
from k2ctl.lake.addresses import is_rest
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.database import DatabaseCatalog
from k2ctl.lake.live_files import live_files
from k2ctl.lake.maintenance.maintainer import compact_now, expire, whole_hours
from k2ctl.lake.maintenance.orphans import remove_orphans
from k2ctl.lake.pyiceberg_overrides.transaction import QuickTransaction
from k2ctl.lake.registering import plan, register
from k2ctl.lake.snapshots import TableFollower, pin
from k2ctl.lake.writer import TableWriter
from k2ctl.lake.written_offer import Committed
from tests.made_trades import make_rows, make_trades
from tests.support.lake_commits import Opener, commit
from tests.support.leases import of_this_machine
from tests.support.polling import until
from tests.support.postgres_server import PostgresServer
from tests.support.rest_server import RestServer

CLOCK = SystemClock()


def broken_off(lake: Lake) -> Exception:
    """What is raised when the connection to the catalog breaks in the middle of an answer."""
    if is_rest(lake.catalog_uri):
        return RequestsConnectionError("('Connection aborted.', RemoteDisconnected('Remote end closed connection'))")
    return OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))


def offsets_of(lake: Lake) -> list[tuple[int, int]]:
    table = lake.table().scan(selected_fields=("kafka_partition", "kafka_offset")).to_arrow()
    return sorted(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))


def test_there_is_no_table_until_somebody_makes_it(lake: Lake) -> None:
    assert lake.find_table() is None
    with pytest.raises(LakeError, match="no table"):
        lake.table()


def test_eight_that_open_and_make_it_at_once_have_one_table(open_lake: Opener) -> None:
    start = threading.Barrier(8)

    def make() -> str:
        start.wait()
        return str(open_lake().ensure_table().metadata.table_uuid)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: make(), range(8)))) == 1


def test_what_one_has_committed_another_reads(open_lake: Opener) -> None:
    done: Committed = commit(TableWriter(open_lake(), CLOCK), 0)
    other = open_lake()
    assert done.stored == 50
    assert offsets_of(other) == [(0, offset) for offset in range(50)]
    assert checkpoints_of(other.table()).by_partition[TopicPartition("t", "e", 0)].next_offset == 50


def test_a_swap_of_a_table_that_has_moved_on_is_refused(open_lake: Opener) -> None:
    commit(TableWriter(open_lake(), CLOCK), 0)
    stale = open_lake().table()
    commit(TableWriter(open_lake(), CLOCK), 50)
    with pytest.raises(CommitFailedException), QuickTransaction(stale) as transaction:
        transaction.update_snapshot().merge_append().commit()
    assert len(offsets_of(open_lake())) == 100


def test_a_writer_that_was_overtaken_stores_nothing_twice(open_lake: Opener) -> None:
    zombie = TableWriter(open_lake(), CLOCK)
    commit(zombie, 0)
    commit(TableWriter(open_lake(), CLOCK), 50)
    assert commit(zombie, 60, 90, partition_start=50).fenced == (TopicPartition("t", "e", 0),)
    assert offsets_of(open_lake()) == [(0, offset) for offset in range(100)]


@pytest.mark.parametrize("whole", [False, True])
def test_of_a_commit_that_is_partly_overtaken_the_rest_is_stored_unless_it_is_to_be_whole(
    open_lake: Opener, whole: bool
) -> None:
    late = TableWriter(open_lake(), CLOCK)
    commit(TableWriter(open_lake(), CLOCK), 0)
    deltas = {
        TopicPartition("t", "e", partition): OffsetDelta(0, 50, Counts(seen=50, stored=50)) for partition in (0, 1)
    }
    rows = make_rows(make_trades(100))
    rows.partition[50:], rows.offset[50:] = 1, rows.offset[:50]
    assert late.commit([rows], deltas, whole=whole).fenced == (TopicPartition("t", "e", 0),)
    untouched = [(0, offset) for offset in range(50)]
    assert offsets_of(open_lake()) == untouched + ([] if whole else [(1, offset) for offset in range(50)])


def test_rows_of_an_epoch_that_was_retired_meanwhile_are_dropped(open_lake: Opener) -> None:
    """A zombie on a Kafka that is gone; what it backfills of a still older one is its own to give."""
    zombie, partition, older = (
        TableWriter(open_lake(), CLOCK),
        TopicPartition("t", "e", 0),
        TopicPartition("t", "older", RETIRED_PARTITION),
    )
    known = commit(zombie, 0).checkpoints.by_partition[partition].commit_id
    other = TableWriter(open_lake(), CLOCK)
    other.retire("t", "older", 7)
    other.retire("t", "e", 50)
    late = {partition: OffsetDelta(50, 100, Counts(seen=50, stored=50), base=known), older: OffsetDelta(0, 0, Counts())}
    assert zombie.commit([make_rows(make_trades(50, 50), 50)], late).fenced == (partition,)
    assert offsets_of(open_lake()) == [(0, offset) for offset in range(50)]
    assert checkpoints_of(open_lake().table()).total() == Counts(seen=107, stored=50, lost=57)


def test_writers_at_once_lose_no_row_and_double_none(open_lake: Opener) -> None:
    open_lake().ensure_table()

    def write(partition: int) -> None:
        writer = TableWriter(open_lake(), CLOCK)
        for start in range(0, 250, 50):
            assert not commit(writer, start, partition=partition).fenced

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    assert offsets_of(open_lake()) == [(partition, offset) for partition in range(3) for offset in range(250)]


@pytest.mark.parametrize("committed", [True, False], ids=["after the swap", "before the swap"])
def test_a_commit_whose_answer_is_lost_is_stored_once(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    writer = TableWriter(lake, CLOCK)
    real, lost = lake.catalog.commit_table, []

    def lose_the_answer(*arguments: Any) -> Any:
        if lost:
            return real(*arguments)
        lost.append(True)
        if committed:
            real(*arguments)
        raise broken_off(lake)

    monkeypatch.setattr(lake.catalog, "commit_table", lose_the_answer)
    done = commit(writer, 0)
    assert lost
    assert done.attempts == 2
    assert offsets_of(lake) == [(0, offset) for offset in range(50)]


@pytest.mark.parametrize("committed", [True, False], ids=["after the swap", "before the swap"])
def test_an_epoch_is_retired_once_when_the_catalog_stumbles(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    writer = TableWriter(lake, CLOCK)
    commit(writer, 0)
    real_commit, real_load, stumbles = lake.catalog.commit_table, lake.catalog.load_table, iter([True, True])

    def stumble(*_: Any) -> Any:
        raise broken_off(lake)

    def load(*arguments: Any) -> Any:
        return stumble() if next(stumbles, False) else real_load(*arguments)

    def swap(*arguments: Any) -> Any:
        monkeypatch.setattr(lake.catalog, "commit_table", real_commit)
        if committed:
            real_commit(*arguments)
        return stumble()

    monkeypatch.setattr(lake.catalog, "load_table", load)
    monkeypatch.setattr(lake.catalog, "commit_table", swap)
    assert writer.retire("t", "e", 7).total() == Counts(seen=57, stored=50, lost=7)
    assert checkpoints_of(lake.table()).total() == Counts(seen=57, stored=50, lost=7)


@pytest.mark.parametrize("expired", [False, True], ids=["in the history", "expired since"])
def test_a_commit_whose_answer_is_lost_stays_whole_when_others_have_gone_on_from_it(
    open_lake: Opener, monkeypatch: pytest.MonkeyPatch, expired: bool
) -> None:
    lake, other = open_lake(), TableWriter(open_lake(), CLOCK)
    writer = TableWriter(lake, CLOCK)
    real, lost = lake.catalog.commit_table, []

    def lose_the_answer(*arguments: Any) -> Any:
        answer = real(*arguments)
        if not lost:
            lost.append(True)
            commit(other, 50)
            if expired:
                expire(open_lake(), SnapshotRetention(1, 0, 0), CLOCK)
            raise broken_off(lake)
        return answer

    monkeypatch.setattr(lake.catalog, "commit_table", lose_the_answer)
    done = commit(writer, 0)
    assert (done.stored, done.fenced) == ((0, (TopicPartition("t", "e", 0),)) if expired else (50, ()))
    assert offsets_of(lake) == [(0, offset) for offset in range(100)]


@pytest.mark.parametrize("moment", ["begin", "commit"])
def test_a_database_that_hangs_is_asked_again_and_what_it_did_meanwhile_is_found(
    fragile_postgres: PostgresServer, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """It hangs before the swap, and between the swap's statement and its COMMIT, which it then carries out."""
    monkeypatch.setattr("k2ctl.lake.psycopg_overrides.ANSWER_WITHIN_S", 0.5)
    monkeypatch.setattr("k2ctl.lake.psycopg_overrides.CONNECT_WITHIN_S", 2)
    with Lake(fragile_postgres.database(), f"file://{tmp_path}/warehouse") as lake:
        writer, hung = TableWriter(lake, CLOCK), threading.Event()

        def hang(connection: Any) -> None:
            if not hung.is_set() and threading.current_thread() is thread:
                fragile_postgres.pause()
                hung.set()

        event.listen(lake.catalog.engine, moment, hang)
        done: list[Committed] = []
        thread = threading.Thread(target=lambda: done.append(commit(writer, 0)))
        thread.start()
        assert hung.wait(10)
        until(lambda: bool(writer.trouble), 10)
        fragile_postgres.resume()
        thread.join(30)
        assert done[0].stored == 50
        assert done[0].attempts > 1
        assert offsets_of(lake) == [(0, offset) for offset in range(50)]


def test_a_follower_sees_each_commit_and_asks_for_no_more(open_lake: Opener) -> None:
    writer, follower = TableWriter(open_lake(), CLOCK), TableFollower(open_lake())
    commit(writer, 0)
    first = follower.pin()
    assert first is not None
    assert follower.pin() is first
    commit(writer, 50)
    second = follower.pin()
    assert second is not None
    assert first.rows == 50
    assert second.rows == 100


def test_expiry_compaction_and_collection_leave_every_row(open_lake: Opener) -> None:
    lake = open_lake()
    writer = TableWriter(lake, CLOCK, SnapshotRetention(3, 0, 0))
    for start in range(0, 1050, 50):
        commit(writer, start)
    assert len(lake.table().metadata.snapshots) < 10
    assert compact_now(lake, CLOCK, whole_hours, of_this_machine)
    assert len(live_files(lake.table())) == 1
    remove_orphans(lake, 0.0, CLOCK)
    assert offsets_of(open_lake()) == [(0, offset) for offset in range(1050)]
    pinned = pin(open_lake())
    assert pinned is not None
    assert pinned.checkpoints.total().stored == pinned.rows == 1050


def test_a_catalog_that_cannot_be_had_is_named_without_its_password(tmp_path: Any) -> None:
    nowhere = "postgresql+psycopg://k2:hush@127.0.0.1:1/lake"
    for uri in (nowhere, f"sqlite:///{tmp_path}/no/such/folder/catalog.db", "http://k2:hush@127.0.0.1:1/catalog"):
        with pytest.raises(LakeError, match="does not answer") as raised:
            Lake(uri, f"file://{tmp_path}/warehouse")
        assert "hush" not in str(raised.value)


def turn_back(lake: Lake, metadata_file: str) -> None:
    """Have the catalog name an older metadata file, as a restored copy of its database does."""
    if isinstance(lake.catalog, DatabaseCatalog):
        with lake.catalog.engine.begin() as connection:
            connection.execute(update(IcebergTables).values(metadata_location=metadata_file))
        return
    with closing(sqlite3.connect(RestServer.database_of(lake.catalog_uri))) as database, database:
        database.execute("UPDATE iceberg_tables SET metadata_location = ?", (metadata_file,))


def test_a_catalog_that_was_turned_back_goes_on_from_the_newest_metadata_file(open_lake: Opener) -> None:
    lake = open_lake()
    writer = TableWriter(lake, CLOCK)
    commit(writer, 0)
    older = lake.table().metadata_location
    for start in (50, 100, 150):
        commit(writer, start)
    newest = lake.table().metadata_location
    turn_back(lake, older)
    with pytest.raises(UnknownTable, match="rolled back"):
        open_lake().table()
    (one,) = plan(lake)
    assert (one.chosen.location, one.instead_of) == (newest, older)
    if is_rest(lake.catalog_uri):
        with pytest.raises(LakeError, match="no other metadata file") as raised:
            register(lake, one)
        assert f"k2ctl lake register --metadata {newest}" in str(raised.value.hint)
        lake.catalog.drop_table(TABLE)
        (one,) = plan(lake, newest)
    register(lake, one)
    assert offsets_of(open_lake()) == [(0, offset) for offset in range(200)]
    with pytest.raises(LakeError, match="changed in the meantime"):
        register(lake, one)
