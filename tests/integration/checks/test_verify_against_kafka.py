"""`verify --against-kafka`: each record of a topic is stored, a copy, deferred, a dead letter, filtered or pending."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from k2ctl.checks.verify.accounted import Accounted, failed
from k2ctl.checks.verify.against_kafka import account
from k2ctl.cli import main
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.domain.topics import dead_letter_topic
from k2ctl.domain.trade import frames
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.errors import ExitCode
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.load.generator import run_load
from k2ctl.load.plan import plan_load
from k2ctl.profiles import Profile
from tests.made_trades import make_trades, produce_values, quick_profile
from tests.support.consumers import pressed, run_until
from tests.support.platforms import catch_up, empty_market
from tests.support.verified import rewrite


@pytest.fixture(autouse=True)
def small_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a topic of a test has several, each of several reads."""
    monkeypatch.setattr("k2ctl.feeds.stretches.STRETCH_TRADES", 150)
    monkeypatch.setattr("k2ctl.feeds.stretches.READ_RECORDS", 60)


def only(endpoints: Endpoints, profile: Profile) -> Accounted:
    (result,) = [one for one in account(endpoints, profile, lambda _: None) if one.topic == profile.trades_topic]
    return result


def sent(count: int, start: int = 0) -> np.ndarray:
    trades = make_trades(count, start)
    trades["event_ns"] += (time.time_ns() - int(trades["event_ns"][-1])) // 1000 * 1000
    return trades


def far_ahead(count: int) -> np.ndarray:
    trades = make_trades(count, 90_000)
    trades["event_ns"] += 10**18
    return trades


def mixed(endpoints: Endpoints, topic: str) -> None:
    """400 trades, alone and in frames, 30 of them sent again, 5 that cannot be, and 3 records that are none."""
    trades = sent(400)
    single, framed = trades[:200], trades[200:]
    produce_values(endpoints, topic, [(at % 4, value) for at, value in enumerate(frames(single, 1))])
    produce_values(endpoints, topic, [(at % 4, value) for at, value in enumerate(frames(framed, 10))])
    produce_values(endpoints, topic, [(at % 4, value) for at, value in enumerate(frames(single[:20], 1))])
    produce_values(endpoints, topic, [(0, frames(framed[:10], 10)[0])])
    bad = far_ahead(5)
    produce_values(endpoints, topic, [(1, frames(bad[:2], 1)[0]), (2, frames(bad[1:], 4)[0]), (3, b""), (0, b"none")])
    produce_values(endpoints, topic, [(0, b"none either")])


def test_copies_dead_letters_and_frames_are_accounted_for_and_the_tables_counts_agree(
    endpoints: Endpoints, profile: Profile, topic: str
) -> None:
    mixed(endpoints, topic)
    before = only(endpoints, profile)
    assert (before.pending, before.stored, before.records, before.holds) == (438, 0, 246, True)
    consumer = catch_up(endpoints, profile)
    result = only(endpoints, profile)
    assert result.holds, result
    assert (result.stored, result.copies, result.dead_lettered, result.undecodable) == (400, 30, 5, 3)
    assert (result.trades, result.pending, result.counts_differ) == (435, 0, {})
    assert consumer.counts().seen == result.trades
    produce_values(endpoints, topic, [(0, value) for value in frames(sent(7, 5000), 1)])
    assert (only(endpoints, profile).pending, only(endpoints, profile).stored) == (7, 400)


def without(where: pc.Expression) -> Callable[[pa.Table], pa.Table]:
    return lambda rows: rows.filter(~where)


def changed(rows: pa.Table, mask: pa.Array, column: str, value: object) -> pa.Table:
    at = rows.schema.get_field_index(column)
    new = pc.if_else(mask, pa.scalar(value, rows[column].type), rows[column])
    return rows.set_column(at, rows.schema.field(column), new)


def test_what_another_program_took_away_changed_doubled_or_made_up_is_named_with_its_place(
    endpoints: Endpoints, profile: Profile, topic: str
) -> None:
    produce_values(endpoints, topic, [(at % 2, value) for at, value in enumerate(frames(sent(400), 1))])
    catch_up(endpoints, profile)

    def tampered(rows: pa.Table) -> pa.Table:
        partition, offset = rows["kafka_partition"], rows["kafka_offset"]
        first = pc.equal(partition, 0)
        rows = changed(rows, pc.and_(first, pc.equal(offset, 7)), "side", "SELL")
        made_up = changed(rows.filter(pc.and_(first, pc.equal(offset, 8))), pa.array([True]), "kafka_index", 3)
        twice = rows.filter(pc.and_(pc.equal(partition, 1), pc.equal(offset, 20)))
        gone = pc.and_(pc.equal(partition, 1), pc.and_(pc.greater_equal(offset, 30), pc.less(offset, 33)))
        return pa.concat_tables([rows.filter(pc.invert(gone)), made_up, twice])

    rewrite(endpoints, tampered)
    result = only(endpoints, profile)
    assert result.faults == {"missing": 3, "duplicated": 1, "altered": 1, "unexpected": 1}
    places = {(one.fault, one.partition, one.first, one.column) for one in result.findings}
    assert places == {
        ("missing", 1, 30, ""), ("missing", 1, 31, ""), ("missing", 1, 32, ""), ("duplicated", 1, 20, ""),
        ("altered", 0, 7, "side"), ("unexpected", 0, 8, ""),
    }  # fmt: skip
    assert "Not every record" in str(failed([result]))


def test_a_copy_that_is_stored_beside_its_trade_from_another_partition_is_named(
    endpoints: Endpoints, profile: Profile, topic: str
) -> None:
    trades = sent(100)
    produce_values(endpoints, topic, [(0, value) for value in frames(trades, 1)])
    produce_values(endpoints, topic, [(2, value) for value in frames(make_trades(40, 200), 1)])
    catch_up(endpoints, profile)
    produce_values(endpoints, topic, [(1, value) for value in frames(trades[30:33], 1)])
    later = trades[33:34].copy()
    later["event_ns"] += 1
    produce_values(endpoints, topic, [(1, frames(later, 1)[0])])
    store_unseen(endpoints, profile)
    result = only(endpoints, profile)
    assert (result.stored, result.copies, result.faults["duplicated"]) == (144, 0, 3)
    assert {(one.partition, one.first) for one in result.findings} == {(1, 0), (1, 1), (1, 2)}


def store_unseen(endpoints: Endpoints, profile: Profile) -> None:
    """A consumer to which every trade is new."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("k2ctl.dedup.deduplicator.HybridDeduplicator.step", lambda _, rows, __: rows)
        catch_up(endpoints, profile)


def test_what_is_spilled_and_shed_is_deferred_until_it_is_backfilled(
    embedded_stack: Endpoints, endpoints: Endpoints, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k2ctl.feeds.stretches.STRETCH_TRADES", 15_000)
    monkeypatch.setattr("k2ctl.feeds.stretches.READ_RECORDS", 6_000)
    profile = pressed(quick_profile(commit_interval_s=0.2), endpoints, exchange)
    plan = plan_load(profile, rate=45_000, duration_s=1.0)
    run_load(plan, endpoints, threading.Event())
    run_until(endpoints, profile, lambda status: status.outstanding > 500)
    result = only(endpoints, profile)
    assert result.holds, result
    assert result.deferred > 500
    assert result.trades == result.stored + result.deferred + result.pending
    catch_up(endpoints, profile)
    result = only(endpoints, profile)
    assert (result.deferred, result.pending, result.stored, result.holds) == (0, 0, result.trades, True)


FEED = """
description: Made up
source:
  format: json
  columns: [event, id, symbol, price, size, time]
trade:
  symbol: symbol
  exchange: kafka_key::VARCHAR
  asset_class: "'crypto'"
  timestamp: time
  price: price
  quantity: size
  trade_id: id
identity: [id]
where: "event = 'trade'"
"""


def test_records_of_a_feed_are_accounted_for_with_what_it_filters_out(
    endpoints: Endpoints, exchange: str, tmp_path: Path
) -> None:
    (tmp_path / "made.yaml").write_text(FEED.replace("kafka_key::VARCHAR", f"\"'{exchange}'\""))
    profile, topic = empty_market(endpoints, exchange)
    declared = profile.topic.model_copy(update={"feed": str(tmp_path / "made.yaml")})
    profile = profile.model_copy(update={"topic": declared})
    now_ms = time.time_ns() // 1_000_000

    def record(number: int, event: str = "trade", price: str = "1.5") -> bytes:
        one = {"event": event, "id": number, "symbol": "A/B", "price": price, "size": "2", "time": now_ms + number}
        return json.dumps(one).encode()

    values = [record(number) for number in range(300)]
    values += [record(number, "heartbeat") for number in range(90)] + [record(1000, price="x"), b"{", record(3)]
    produce_values(endpoints, topic, [(at % 3, value) for at, value in enumerate(values)])
    consumer = Consumer(endpoints, ConsumerPlan(profile, until_caught_up=True))
    consumer.run(threading.Event())
    assert consumer.counts().filtered == 90
    result = only(endpoints, profile)
    assert result.holds, result
    assert (result.stored, result.copies, result.filtered, result.dead_lettered, result.undecodable) == (
        300,
        1,
        90,
        1,
        1,
    )


def test_a_record_without_its_dead_letter_is_missing_unless_kafka_has_deleted_dead_letters(
    endpoints: Endpoints, profile: Profile, topic: str
) -> None:
    produce_values(endpoints, topic, [(0, b"none"), *((0, value) for value in frames(sent(30), 1)), (0, b"nor this")])
    catch_up(endpoints, profile)
    assert only(endpoints, profile).undecodable == 2
    with BrokerAdmin(endpoints) as admin:
        ends = {partition: mark.high for partition, mark in admin.watermarks(dead_letter_topic(topic)).items()}
        admin.delete_records(dead_letter_topic(topic), ends)
    result = only(endpoints, profile)
    assert (result.not_judged, result.faults["missing"]) == ({"dead letters": 2}, 0)
    with BrokerAdmin(endpoints) as admin:
        admin.delete_topic(dead_letter_topic(topic))
    result = only(endpoints, profile)
    assert result.faults["missing"] == 2
    assert {(one.partition, one.first) for one in result.findings} == {(0, 0), (0, 31)}


def test_records_that_kafka_has_deleted_are_counted_and_not_looked_at_and_the_command_says_it_all(
    endpoints: Endpoints, profile: Profile, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save_endpoints(endpoints)
    produce_values(endpoints, topic, [(0, value) for value in frames(sent(200), 1)])
    catch_up(endpoints, profile)
    with BrokerAdmin(endpoints) as admin:
        admin.delete_records(topic, {0: 120})
    result = only(endpoints, profile)
    assert (result.gone_records, result.stored, result.holds) == (120, 80, True)
    capsys.readouterr()
    assert main(["verify", "--against-kafka", "--all-epochs"]) == ExitCode.USAGE
