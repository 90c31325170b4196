"""A table that somebody rolled back on purpose: what is said, what is refused, and both ways on."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.table import Table

from k2ctl.clock import SystemClock
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.errors import ExitCode, RolledBack
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of, offsets_at
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.maintenance.maintainer import compact_now, expire, whole_hours
from k2ctl.lake.maintenance.orphans import remove_orphans
from k2ctl.lake.writer import TableWriter
from k2ctl.profiles import Profile
from tests.made_trades import make_trades, produce_trades, produce_values
from tests.support.cli import called
from tests.support.independent_reader import Sources, assert_read_to_the_end, assert_stored_once
from tests.support.leases import of_this_machine
from tests.support.platforms import catch_up, empty_market, with_lake

CLOCK = SystemClock()


@pytest.fixture
def platform(embedded_stack: Endpoints, home: Path, exchange: str) -> tuple[Endpoints, Profile, str]:
    endpoints = with_lake(embedded_stack, home)
    profile, topic = empty_market(endpoints, exchange)
    save_endpoints(endpoints)
    return endpoints, profile, topic


def consume(endpoints: Endpoints, profile: Profile) -> None:
    catch_up(endpoints, profile)


def feed(platform: tuple[Endpoints, Profile, str], start: int, count: int = 300) -> int:
    """Trades, some of them twice and a record that is none, consumed; returns the snapshot that holds them."""
    endpoints, profile, topic = platform
    trades = make_trades(count, start)
    produce_trades(endpoints, topic, trades)
    produce_trades(endpoints, topic, trades[:20])
    produce_values(endpoints, topic, [(0, b"not a trade")])
    consume(endpoints, profile)
    with Lake.at(endpoints) as lake:
        snapshot = lake.table().metadata.current_snapshot_id
    assert snapshot is not None
    return snapshot


def independent_table(endpoints: Endpoints) -> Table:
    table = Sources.of(endpoints).table()
    assert table is not None
    return table


def roll_back(endpoints: Endpoints, snapshot: int) -> None:
    independent_table(endpoints).manage_snapshots().rollback_to_snapshot(snapshot).commit()


def assert_exact(endpoints: Endpoints, topic: str) -> None:
    assert_stored_once(Sources.of(endpoints), topic)
    with BrokerAdmin(endpoints) as admin, Lake.at(endpoints) as lake:
        assert_read_to_the_end(Sources.of(endpoints), topic, admin.epoch(topic))
        total = checkpoints_of(lake.table()).total()
    assert total.balanced
    assert total.stored == len(Sources.of(endpoints).rows())


def test_an_accepted_rollback_is_consumed_again_exactly_once(
    platform: tuple[Endpoints, Profile, str], capsys: pytest.CaptureFixture[str]
) -> None:
    endpoints, _, topic = platform
    older = feed(platform, 0)
    feed(platform, 300)
    newest = feed(platform, 600)
    roll_back(endpoints, older)
    code, _, err = called(capsys, "consume", "--until-caught-up")
    assert code == ExitCode.FAILED
    assert str(older) in err
    assert str(newest) in err
    code, _, err = called(capsys, "lake", "accept-rollback")
    assert code == ExitCode.USAGE
    assert "--yes" in err
    code, _, err = called(capsys, "lake", "accept-rollback", "--yes")
    assert code == ExitCode.OK, err
    assert "600 rows" in err
    consume(*platform[:2])
    assert_exact(endpoints, topic)
    assert len(Sources.of(endpoints).rows()) == 900


def test_the_newer_snapshot_can_be_made_current_again(
    platform: tuple[Endpoints, Profile, str], capsys: pytest.CaptureFixture[str]
) -> None:
    endpoints, _, topic = platform
    older, newest = feed(platform, 0), feed(platform, 300)
    roll_back(endpoints, older)
    code, _, err = called(capsys, "lake", "undo-rollback", "--yes")
    assert code == ExitCode.OK, err
    assert independent_table(endpoints).metadata.current_snapshot_id == newest
    feed(platform, 600)
    assert_exact(endpoints, topic)
    code, _, err = called(capsys, "lake", "undo-rollback", "--yes")
    assert code == ExitCode.FAILED
    assert "was not rolled back" in err


def test_status_and_the_snapshots_answer_while_the_trades_do_not(
    platform: tuple[Endpoints, Profile, str], capsys: pytest.CaptureFixture[str]
) -> None:
    endpoints, *_ = platform
    older, newest = feed(platform, 0), feed(platform, 300)
    roll_back(endpoints, older)
    code, out, _ = called(capsys, "lake", "status", "--json")
    status = json.loads(out)
    assert code == ExitCode.OK
    assert status["snapshot_id"] == older
    assert status["balanced"] is False
    assert str(newest) in status["rolled_back"]
    code, out, _ = called(capsys, "query", "sql", "SELECT snapshot_id FROM snapshots", "--format", "json")
    assert code == ExitCode.OK
    assert {older, newest} <= {row["snapshot_id"] for row in json.loads(out)}
    for query in ("SELECT count(*) FROM trades", "SELECT * FROM snapshots, trades"):
        code, out, err = called(capsys, "query", "sql", query)
        assert code == ExitCode.FAILED
        assert out == ""
        assert "accept-rollback" in err


def test_compaction_refuses_where_it_finds_nothing_to_merge(
    platform: tuple[Endpoints, Profile, str], capsys: pytest.CaptureFixture[str]
) -> None:
    endpoints, *_ = platform
    feed(platform, 0)
    with Lake.at(endpoints) as lake:
        compact_now(lake, CLOCK, whole_hours, of_this_machine)
        older = lake.table().metadata.current_snapshot_id
        assert older is not None
        assert compact_now(lake, CLOCK, whole_hours, of_this_machine) == []
        feed(platform, 300)
        roll_back(endpoints, older)
        with pytest.raises(RolledBack):
            compact_now(lake, CLOCK, whole_hours, of_this_machine)
    assert "rolled back" in called(capsys, "lake", "compact")[2]


@pytest.mark.parametrize("command", [("lake", "expire"), ("lake", "compact", "--all"), ("gaps",)])
def test_nothing_that_could_destroy_the_way_back_is_done(
    platform: tuple[Endpoints, Profile, str], capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    endpoints, *_ = platform
    older = feed(platform, 0)
    feed(platform, 300)
    roll_back(endpoints, older)
    before = sorted(path for path in Path(endpoints.warehouse.removeprefix("file://")).rglob("*.parquet"))
    code, _, err = called(capsys, *command)
    assert code != ExitCode.OK
    assert "rolled back" in err
    assert before == sorted(path for path in Path(endpoints.warehouse.removeprefix("file://")).rglob("*.parquet"))


def test_offsets_of_then_outlast_compaction_expiry_and_the_log_of_metadata(
    platform: tuple[Endpoints, Profile, str],
) -> None:
    endpoints, _, topic = platform
    feed(platform, 0)
    with Lake.at(endpoints) as lake:
        compact_now(lake, CLOCK, whole_hours, of_this_machine)
        then, older = checkpoints_of(lake.table()), lake.table().metadata.current_snapshot()
        assert older is not None
        expire(lake, SnapshotRetention(1, 0, 0), CLOCK)
        lake.table().manage_snapshots().create_tag(older.snapshot_id, "then").commit()
        writer = TableWriter(lake, CLOCK)
        for number in range(25):
            writer.retire(topic, f"gone-{number}", 1)
        table = lake.table()
        assert len(table.metadata.metadata_log) == 20
        found = offsets_at(table, older)
    assert (found.by_partition, found.ledger) == (then.by_partition, then.ledger)


def test_offsets_that_are_long_are_in_files_which_orphan_removal_leaves(
    platform: tuple[Endpoints, Profile, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k2ctl.lake.second_copy.MOST_BYTES", 0)
    endpoints, _, topic = platform
    older = feed(platform, 0)
    feed(platform, 300)
    with Lake.at(endpoints) as lake:
        remove_orphans(lake, 0.0, CLOCK)
    roll_back(endpoints, older)
    assert called(capsys, "lake", "accept-rollback", "--yes")[0] == ExitCode.OK
    consume(*platform[:2])
    assert_exact(endpoints, topic)


def test_offsets_of_a_commit_that_has_expired_are_refused(
    platform: tuple[Endpoints, Profile, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Another program has appended to that commit, and somebody rolls back to what it appended."""
    endpoints, _, topic = platform
    first = feed(platform, 0)
    table = independent_table(endpoints)
    table.append(table.scan().to_arrow().slice(0, 0))
    foreign = table.refresh().metadata.current_snapshot_id
    assert foreign is not None
    with Lake.at(endpoints) as lake:
        TableWriter(lake, CLOCK).retire(topic, "gone", 1)
    independent_table(endpoints).maintenance.expire_snapshots().by_id(first).commit()
    roll_back(endpoints, foreign)
    code, _, err = called(capsys, "lake", "accept-rollback", "--yes")
    assert code == ExitCode.FAILED
    assert "not kept any more" in err
    assert "undo-rollback" in err


def test_a_consumer_that_slept_through_the_rollback_hides_no_trade(
    platform: tuple[Endpoints, Profile, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It saves what it remembers of the trades that were given up, once the rollback is accepted."""
    endpoints, profile, topic = platform
    older = feed(platform, 0)
    produce_trades(endpoints, topic, make_trades(300, 300))
    sleeper = Consumer(endpoints, ConsumerPlan(profile))
    stop = threading.Event()

    def stop_when_stored() -> None:
        if sleeper.totals.stored >= 300 and sleeper.assignment.is_committed:
            roll_back(endpoints, older)
            assert called(capsys, "lake", "accept-rollback", "--yes")[0] == ExitCode.OK
            stop.set()

    sleeper.run(stop, stop_when_stored)
    consume(endpoints, profile)
    assert_exact(endpoints, topic)
    assert len(Sources.of(endpoints).rows()) == 600


def test_a_running_consumer_ends_and_names_both_snapshots(platform: tuple[Endpoints, Profile, str]) -> None:
    endpoints, profile, topic = platform
    older, newest = feed(platform, 0), feed(platform, 300)
    consumer, done = Consumer(endpoints, ConsumerPlan(profile)), list[Any]()

    def roll_back_once() -> None:
        if not done:
            done.append(True)
            roll_back(endpoints, older)
            produce_trades(endpoints, topic, make_trades(50, 600))

    with pytest.raises(RolledBack, match=rf"{older}.*{newest}"):
        consumer.run(threading.Event(), roll_back_once)
