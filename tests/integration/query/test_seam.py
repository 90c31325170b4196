"""Lake and stream as one table: every answer is checked against what is known to be in Kafka."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.domain.days import BarLength
from k2ctl.domain.decimals import as_decimal, of_int
from k2ctl.domain.trade import Window, frames
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, LakeError, UsageError
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.snapshots import pin
from k2ctl.query.names import UnknownSymbol
from k2ctl.query.seam import LAKE_ONLY
from k2ctl.query.session import Session
from k2ctl.query.stream import KafkaStream
from k2ctl.query.tail import TailLimits
from tests.made_trades import BASE_US, PARTITIONS, make_trades, produce_trades, produce_values
from tests.support.group_member import Member
from tests.support.platforms import catch_up, empty_market, with_lake

HOUR_US = 3_600_000_000


class Platform:
    """A topic of its own, a lake of its own, and what a test does with them."""

    def __init__(self, endpoints: Endpoints, exchange: str) -> None:
        self.endpoints = endpoints
        self.profile, self.topic = empty_market(endpoints, exchange)

    def produce(self, trades: np.ndarray, frame: int = 1) -> None:
        produce_trades(self.endpoints, self.topic, trades, frame)

    def consume(self) -> None:
        catch_up(self.endpoints, self.profile)

    def session(self, limits: TailLimits | None = None) -> Session:
        return Session(Lake.at(self.endpoints), KafkaStream(self.endpoints, self.topic), limits=limits)


@pytest.fixture
def platform(endpoints: Endpoints, exchange: str) -> Platform:
    return Platform(endpoints, exchange)


@pytest.fixture
def embedded(embedded_stack: Endpoints, home: Path, exchange: str) -> Platform:
    at = with_lake(embedded_stack, home)
    return Platform(at, exchange)


def numbers(table: pa.Table) -> list[int]:
    """The trades' numbers, in the order of the answer."""
    found: list[int] = table.column("trade_id").to_pylist()
    return found


def test_without_a_table_the_stream_alone_answers(platform: Platform) -> None:
    platform.produce(make_trades(100))
    with platform.session() as session:
        answer = session.recent(None)
    assert numbers(answer.table) == list(range(99, -1, -1))
    evidence = answer.evidence
    assert (evidence.snapshot_id, evidence.lake_rows, evidence.tail_rows) == (None, 0, 100)
    assert evidence.complete
    assert evidence.behind_records == 100


def test_rows_of_both_sides_come_once_and_are_the_same_columns(platform: Platform) -> None:
    platform.produce(make_trades(200))
    platform.consume()
    platform.produce(make_trades(300, start=100), frame=10)  # 100 of them again
    with platform.session() as session:
        answer = session.recent(None)
        one = session.recent("S03")
    assert numbers(answer.table) == list(range(399, -1, -1))
    evidence = answer.evidence
    assert (evidence.lake_rows, evidence.tail_rows, evidence.duplicates_removed) == (200, 200, 100)
    assert evidence.complete
    assert evidence.newest_us == BASE_US + 399 * 1000
    assert numbers(one.table) == [n for n in range(399, -1, -1) if n % 20 == 3]
    made = make_trades(400)
    assert answer.table.column("price").to_pylist() == [as_decimal(price) for price in made["price"][::-1]]


def test_a_limit_keeps_the_newest_and_says_that_there_are_more(platform: Platform) -> None:
    platform.produce(make_trades(200))
    platform.consume()
    platform.produce(make_trades(60, start=180))
    with platform.session() as session:
        for limit in (1, 25, 60, 100, 239):
            answer = session.recent(None, limit=limit)
            assert numbers(answer.table) == list(range(239, 239 - limit, -1))
            assert answer.evidence.more
        for limit in (240, 1000):
            answer = session.recent(None, limit=limit)
            assert numbers(answer.table) == list(range(239, -1, -1))
            assert not answer.evidence.more


def test_a_window_holds_its_start_and_not_its_end(platform: Platform) -> None:
    platform.produce(make_trades(100))
    platform.consume()
    platform.produce(make_trades(100, start=100))
    with platform.session() as session:
        answer = session.recent(None, Window(BASE_US + 90_000, BASE_US + 120_000))
    assert numbers(answer.table) == list(range(119, 89, -1))


def test_what_the_consumer_will_dead_letter_is_left_out_and_counted(platform: Platform) -> None:
    good, bad = make_trades(10), make_trades(2, start=100)
    bad["price"] = of_int(-1)
    platform.produce(np.concatenate([good, bad]))
    produce_values(platform.endpoints, platform.topic, [(0, b"no trade"), (1, b"")])
    with platform.session() as session:
        before = session.recent(None)
    assert (len(before.table), before.evidence.undecodable, before.evidence.invalid) == (10, 2, 2)
    platform.consume()
    with platform.session() as session:
        after = session.recent(None)
    assert numbers(after.table) == numbers(before.table)
    assert after.evidence.tail_records == 0


def test_a_tail_that_is_too_long_is_cut_and_says_so(platform: Platform) -> None:
    platform.produce(make_trades(400))
    with platform.session(TailLimits(records=150)) as session:
        answer = session.recent(None)
        assert not answer.evidence.complete
        assert "250 records" in answer.evidence.missing[0]
        assert len(answer.table) == 150
    with platform.session(TailLimits(seconds=0.0)) as session, pytest.raises(UnknownSymbol, match="what could be read"):
        session.recent("S01")


def test_what_retention_deleted_before_it_was_stored_is_missing(platform: Platform) -> None:
    platform.produce(make_trades(400))
    platform.consume()
    platform.produce(make_trades(400, start=400))
    with BrokerAdmin(platform.endpoints) as admin:
        admin.delete_records(platform.topic, {2: 150})
    with platform.session() as session:
        answer = session.recent(None)
    assert answer.evidence.missing == ("retention deleted 50 records of partition 2 before they were stored",)
    assert len(answer.table) == 750


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "in-the-stream"])
def test_a_symbol_in_lower_case_is_the_only_one_that_differs_by_case(embedded: Platform, stored: bool) -> None:
    trades = make_trades(100)
    trades["symbol"][[5, 25, 45]] = b"AbC", b"ABC", b"xyz"
    produce_values(embedded.endpoints, embedded.topic, ((0, value) for value in frames(trades, 1)))
    if stored:
        embedded.consume()
    with embedded.session() as session:
        assert numbers(session.recent("s01").table) == numbers(session.recent("S01").table) == [81, 61, 41, 21, 1]
        assert numbers(session.recent(["S01", "s02", "S02"], limit=3).table) == [82, 81, 62]
        assert numbers(session.recent(["S01", "s02"], limit=1).table) == [82]
        assert numbers(session.recent("xyz").table) == [45]
        assert session.bars("s01", BarLength(days=1)).table.column("symbol").to_pylist() == ["S01"]
        assert {day.symbol for day in session.gaps(["s01"])[0].days} == {"S01"}
        for ask in (session.recent, session.gaps):
            with pytest.raises(UnknownSymbol) as raised:
                ask(["abc"])
            assert raised.value.hint == "Did you mean ABC, AbC?"
        with pytest.raises(UnknownSymbol):
            session.recent("XYZ")


def test_an_unknown_symbol_is_an_error_with_the_nearest_names(platform: Platform) -> None:
    platform.produce(make_trades(100))
    platform.consume()
    with platform.session() as session:
        for name in ("s01x", "S01X", "S0 1"):
            with pytest.raises(UnknownSymbol) as raised:
                session.recent(name)
            assert "S01" in raised.value.hint
        with pytest.raises(UnknownSymbol):
            session.recent("BÉ")
        with pytest.raises(UsageError, match="not 1 to 32 bytes"):
            session.recent("a name that is longer than any symbol's")
        with pytest.raises(UnknownSymbol):
            session.recent("' OR 1=1 --")
        with pytest.raises(UsageError):
            session.recent([])


def test_a_known_symbol_without_trades_in_the_window_says_when_its_last_was(platform: Platform) -> None:
    platform.produce(make_trades(100))
    later = Window(BASE_US + HOUR_US)
    last_us = BASE_US + 81_000  # number 81 is the last of S01
    with platform.session() as session:
        from_stream = session.recent("S01", later)
        platform.consume()
        from_lake = session.recent("S01", later)
    for answer in (from_stream, from_lake):
        assert len(answer.table) == 0
        assert answer.evidence.last_trade_us == {"S01": last_us}


def test_the_lake_alone_is_a_partial_answer(platform: Platform) -> None:
    platform.produce(make_trades(100))
    with platform.session() as session, pytest.raises(LakeError, match="no table"):
        session.recent(None, lake_only=True)
    platform.consume()
    platform.produce(make_trades(100, start=100))
    with platform.session() as session:
        answer = session.recent(None, lake_only=True)
    assert (len(answer.table), answer.evidence.missing) == (100, (LAKE_ONLY,))


def test_a_kafka_that_does_not_answer_is_an_error_and_no_empty_list(
    embedded: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k2ctl.kafka.admin.ANSWER_TIMEOUT_S", 1.0)
    embedded.produce(make_trades(10))
    embedded.consume()
    dead = replace(embedded.endpoints, bootstrap_servers="127.0.0.1:1", control_socket=None)
    with Session(Lake.at(dead), KafkaStream(dead, embedded.topic)) as session:
        with pytest.raises(BrokerError) as raised:
            session.recent(None)
        assert "--lake-only" in raised.value.hint
        assert len(session.recent(None, lake_only=True).table) == 10


def test_files_of_other_hours_and_symbols_are_not_read(platform: Platform) -> None:
    for hour in range(5):
        trades = make_trades(20, start=hour * 20)
        trades["event_ns"] = (BASE_US + hour * HOUR_US + np.arange(20)) * 1000
        if hour % 2:
            trades["symbol"] = b"S01"
        platform.produce(trades)
        platform.consume()
    with platform.session() as session:
        assert session.recent(None).evidence.files >= 5
        third = session.recent(None, Window(BASE_US + 2 * HOUR_US, BASE_US + 2 * HOUR_US + 1000))
        assert (third.evidence.files, len(third.table)) == (1, 20)
        assert session.recent("S19").evidence.files == 3


def test_pinned_rows_and_offsets_belong_together(platform: Platform) -> None:
    """The pinned offsets are those of the pinned rows, whatever is committed afterwards."""
    platform.produce(make_trades(100))
    platform.consume()
    with Lake.at(platform.endpoints) as lake:
        pinned = pin(lake)
    platform.produce(make_trades(100, start=100))
    platform.consume()
    assert pinned is not None
    assert (pinned.rows, pinned.checkpoints.total().stored) == (100, 100)


@pytest.fixture
def busy(embedded: Platform) -> Iterator[tuple[Platform, "Feeder"]]:
    """Trades keep coming, a consumer keeps committing."""
    feeder, stop = Feeder(embedded), threading.Event()
    consumer = Consumer(embedded.endpoints, ConsumerPlan(embedded.profile))
    threads = [threading.Thread(target=feeder.run, args=(stop,)), threading.Thread(target=consumer.run, args=(stop,))]
    for thread in threads:
        thread.start()
    yield embedded, feeder
    stop.set()
    for thread in threads:
        thread.join()


class Feeder:
    """Produces trades by number, every third batch partly a second time."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.begun = 0
        self.acknowledged = 0

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(0.01) and self.begun < 60_000:
            start = self.begun
            self.begun += 200
            self.platform.produce(make_trades(200, start), frame=5)
            if start % 600 == 0:
                self.platform.produce(make_trades(50, start))
            self.acknowledged = start + 200


def test_every_answer_is_exact_while_trades_are_produced_and_committed(busy: tuple[Platform, Feeder]) -> None:
    ask_and_check(*busy, 60)


def ask_and_check(platform: Platform, feeder: Feeder, queries: int, between: Callable[[int], object] = id) -> None:
    """Ask all and one symbol in turn; every answer holds what was acknowledged before it, each trade once."""
    both_sides = 0
    with platform.session() as session:
        for number in range(queries):
            between(number)
            acknowledged = feeder.acknowledged
            symbol, code = (None, 0) if number % 3 else ("S07", 7)
            if symbol and not acknowledged:
                continue
            answer = session.recent(symbol)
            begun = feeder.begun
            got = numbers(answer.table)
            expected = {n for n in range(acknowledged) if symbol is None or n % 20 == code}
            assert len(got) == len(set(got))
            assert expected <= set(got)
            assert max(got, default=-1) < begun
            assert answer.evidence.complete, answer.evidence.missing
            both_sides += bool(answer.evidence.lake_rows and answer.evidence.tail_rows)
    assert both_sides > queries // 6, "the test must meet the seam"


@pytest.mark.slow
def test_every_answer_is_exact_while_partitions_are_reassigned(embedded: Platform) -> None:
    """Two share the topic; one of them leaves in the middle, and comes back."""
    feeder, stop = Feeder(embedded), threading.Event()
    members = [Member(embedded.endpoints, embedded.profile) for _ in range(2)]
    feeding = threading.Thread(target=feeder.run, args=(stop,))
    feeding.start()
    for member in members:
        member.until_it_holds(PARTITIONS // 2)

    def between(number: int) -> None:
        if number == 40:
            members[0].leave()
        elif number == 80:
            members[1].until_it_holds(PARTITIONS)
            members[0] = Member(embedded.endpoints, embedded.profile)

    try:
        ask_and_check(embedded, feeder, 120, between)
        members[0].until_it_holds(PARTITIONS // 2)
    finally:
        stop.set()
        feeding.join()
        for member in members:
            member.leave()
