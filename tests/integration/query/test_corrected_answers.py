"""Corrections and cancellations, from Kafka to answers: against a dict of what each trade is by now.

Events are sent in any order, and between answers rows are committed, merged and backfilled; so an event is now in the
stream and its trade in the table, now the reverse.
"""

import random
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pytest

from k2ctl.api.settings import Settings
from k2ctl.clock import SystemClock
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.deferred.admission import Admission
from k2ctl.deferred.spill_files import SUFFIX, encode_spill
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.domain.days import BarLength
from k2ctl.domain.ledger import LedgerChange
from k2ctl.domain.rows import nanoseconds
from k2ctl.domain.topics import trades_topic
from k2ctl.domain.trade import WHOLE_HISTORY, Window, frames
from k2ctl.domain.wire import JSON
from k2ctl.endpoints import Endpoints
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.reader import Fetched
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.maintenance.maintainer import compact_now, expire, whole_hours
from k2ctl.lake.side_folder import SPILL, SideFolder
from k2ctl.lake.writer import TableWriter
from k2ctl.profiles.universe import Universe
from k2ctl.query.names import UnknownSymbol
from k2ctl.query.page import Page, Place
from k2ctl.query.seam import Question
from k2ctl.query.session import Session
from k2ctl.query.sql import sql
from k2ctl.query.stream import KafkaStream
from k2ctl.timing import Stopwatch
from tests.made_trades import PARTITIONS, produce_values, quick_profile
from tests.support.api import Service, serving
from tests.support.decoders import decoder_for
from tests.support.leases import of_this_machine

BASE_US = 1_767_225_600_000_000
MINUTE_US = 60_000_000
END_US = BASE_US + 181 * MINUTE_US
SPAN = Window(BASE_US, END_US)
SYMBOLS = ("AAA", "BBB", "CCC")


@dataclass
class Print:
    """What was printed of a trade last."""

    price: Decimal
    quantity: Decimal
    cancelled: bool = False


@dataclass
class Market:
    """A topic, and a dict of what each trade is."""

    endpoints: Endpoints
    exchange: str
    rng: random.Random
    trades: dict[str, dict[str, Print]] = field(default_factory=lambda: {symbol: {} for symbol in SYMBOLS})
    time_us: dict[str, int] = field(default_factory=dict)
    belongs: dict[str, str] = field(default_factory=dict)
    printed: int = 0
    spilled: int = 0

    def __post_init__(self) -> None:
        profile = quick_profile()
        self.profile = profile.model_copy(
            update={"market": profile.market.model_copy(update={"exchange": self.exchange})}
        )
        self.topic = trades_topic(self.profile.market.asset_class, self.exchange)
        with BrokerAdmin(self.endpoints) as admin:
            admin.create_topic(self.topic, PARTITIONS)

    def id(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128)))

    def record(
        self, symbol: str, message_id: str, time_us: int, price: Decimal, quantity: Decimal, **more: str
    ) -> bytes:
        fields = {
            "message_id": message_id, "trade_id": 1, "symbol": symbol, "exchange": self.exchange, "currency": "AUD",
            "asset_class": self.profile.market.asset_class, "side": "BUY", "timestamp": time_us,
            "ingestion_timestamp": BASE_US, "price": str(price), "quantity": str(quantity), **more,
        }  # fmt: skip
        return frames(decoder_for(JSON).decode(Fetched.of_values([orjson.dumps(fields)])).trades, 1)[0]

    def send(self, symbol: str, value: bytes) -> None:
        self.printed += 1
        produce_values(self.endpoints, self.topic, [(SYMBOLS.index(symbol) % PARTITIONS, value)])

    def amount(self) -> tuple[Decimal, Decimal]:
        return Decimal(self.rng.randrange(1, 10**6)) / 100, Decimal(self.rng.randrange(1, 1000))

    def step(self) -> None:
        """One record more: a trade, a correction of any kind, or a cancellation."""
        symbol = self.rng.choice(SYMBOLS)
        known, chance = self.trades[symbol], self.rng.random()
        if chance < 0.5 or not known:
            self.trade(symbol)
        elif chance < 0.6:
            self.reprint(symbol, self.rng.choice([*known]))
        else:
            target = self.rng.choice([each for each, trade in self.belongs.items() if trade in known])
            self.change(symbol, target, cancel=chance > 0.85)

    def trade(self, symbol: str) -> None:
        message_id, time_us = self.id(), BASE_US + self.rng.randrange(0, 3 * 60) * MINUTE_US
        price, quantity = self.amount()
        known = Print(price, quantity)
        value = self.record(symbol, message_id, time_us, price, quantity)
        self.time_us[message_id], self.belongs[message_id] = time_us, message_id
        if self.rng.random() < 0.15:  # its events come first
            self.change(symbol, message_id, cancel=self.rng.random() < 0.5, known=known)
        self.trades[symbol][message_id] = known
        self.send(symbol, value)
        if self.rng.random() < 0.1:
            self.send(symbol, value)  # a copy
            self.printed -= 1

    def reprint(self, symbol: str, trade: str) -> None:
        known = self.trades[symbol][trade]
        known.price, known.quantity = self.amount()
        self.send(symbol, self.record(symbol, trade, self.time_us[trade], known.price, known.quantity))

    def change(self, symbol: str, target: str, *, cancel: bool, known: Print | None = None) -> None:
        message_id, trade = self.id(), self.belongs[target]
        known = known or self.trades[symbol][trade]
        price, quantity = self.amount()
        more = {"action": "CANCEL" if cancel else "CORRECT", "refers_to": target}
        time_us = BASE_US + self.rng.randrange(0, 10 * 60) * MINUTE_US
        self.send(symbol, self.record(symbol, message_id, time_us, price, quantity, **more))
        self.belongs[message_id] = trade
        if cancel:
            known.cancelled = True
        else:
            known.price, known.quantity = price, quantity

    def consume(self) -> None:
        Consumer(self.endpoints, ConsumerPlan(self.profile, until_caught_up=True)).run(threading.Event())

    def defer(self) -> None:
        """What is in the stream of one partition is spilled instead of stored."""
        with self.session() as session:
            sources = session.seam.take(Question(None, WHOLE_HISTORY, 0), Stopwatch(SystemClock()))
            (span,), (rows,) = sources.spans.values(), sources.tail.parts
            if not len(rows):
                return
            partition = self.rng.choice(rows.partition.tolist())
            rows = rows.take(rows.partition == partition)
            start, end = span.boundary[partition], span.watermarks[partition]
            table = session.seam.lake.ensure_table()
            file = SideFolder(table).write(SPILL, encode_spill(rows), SUFFIX)
            admission = Admission(Universe(self.profile), can_shed=False)
            added = tuple(admission.spill_entries(rows, 3, 0b1111, file))
            self.spilled += len(rows)
            delta = OffsetDelta(start, end, Counts(len(rows), 0, spilled=len(rows)))
            at = TopicPartition(self.topic, span.epoch, partition)
            assert not TableWriter(session.seam.lake, SystemClock()).commit([], {at: delta}, LedgerChange(added)).fenced

    def deferred(self) -> int:
        with Lake.at(self.endpoints) as lake:
            table = lake.find_table()
            return 0 if table is None else checkpoints_of(table).ledger.count

    def compact(self) -> None:
        with Lake.at(self.endpoints) as lake:
            compact_now(lake, SystemClock(), whole_hours, of_this_machine)

    def session(self) -> Session:
        return Session(Lake.at(self.endpoints), KafkaStream(self.endpoints, self.topic))

    def standing(self, symbol: str, window: Window) -> dict[str, tuple[Decimal, Decimal]]:
        """What an answer must hold."""
        return {
            trade: (known.price, known.quantity)
            for trade, known in self.trades[symbol].items()
            if not known.cancelled and window.holds(np.array([self.time_us[trade]]))[0]
        }


@pytest.fixture
def market(embedded_stack: Endpoints, home: Path, exchange: str) -> Market:
    lake = home / "lake"
    lake.mkdir()
    at = replace(
        embedded_stack,
        catalog_uri=f"sqlite:///{lake}/catalog.db",
        warehouse=f"file://{lake}/warehouse",
        home=Home(home),
    )
    return Market(at, exchange, random.Random(4))


def ids(table: pa.Table) -> list[str]:
    column = table["message_id"].combine_chunks()
    storage = column.storage if isinstance(column, pa.ExtensionArray) else column
    return [str(uuid.UUID(bytes=value)) if isinstance(value, bytes) else str(value) for value in storage.to_pylist()]


def amounts(table: pa.Table) -> dict[str, tuple[Decimal, Decimal]]:
    found = list(zip(table["price"].to_pylist(), table["quantity"].to_pylist(), strict=True))
    names = ids(table)
    assert len(set(names)) == len(names)
    return dict(zip(names, found, strict=True))


def windows(rng: random.Random) -> Iterator[Window]:
    yield Window()
    since = BASE_US + rng.randrange(0, 180) * MINUTE_US
    yield Window(since, since + rng.randrange(1, 120) * MINUTE_US)


def check_all(market: Market, session: Session) -> int:
    """Ask for everything that can be asked for, and compare."""
    checked = 0
    for symbol in SYMBOLS:
        if not market.trades[symbol]:
            continue
        for window in windows(market.rng):
            expected = market.standing(symbol, window)
            answer = session.recent(symbol, window).table
            assert amounts(answer) == expected
            newest = sorted((market.time_us[trade] for trade in expected), reverse=True)
            assert answer["timestamp"].cast(pa.int64()).to_pylist() == newest
            limit = market.rng.randrange(1, 5)
            cut = session.recent(symbol, window, limit).table
            assert cut["message_id"].to_pylist() == answer["message_id"].slice(0, limit).to_pylist()
            bars = session.bars(symbol, BarLength(us=60 * MINUTE_US), window).table
            volume = sum((quantity for _, quantity in expected.values()), Decimal(0))
            assert sum(bars["volume"].to_pylist(), Decimal(0)) == volume
            assert sum(bars["trades"].to_pylist()) == len(expected)
            if expected:
                assert max(bars["high"].to_pylist()) == max(price for price, _ in expected.values())
            checked += 3
    with sql(session, "SELECT * FROM trades") as found:
        every = amounts(found.rows.read_all())
    assert every == {trade: what for symbol in SYMBOLS for trade, what in market.standing(symbol, Window()).items()}
    with sql(session, "SELECT count(*) FROM trades_raw") as found:
        assert found.rows.read_all()[0][0].as_py() == market.printed
    return checked + 2


def check_deferred(market: Market, session: Session) -> int:
    """While rows are deferred, the answer that reads them is the whole one."""
    known = [symbol for symbol in SYMBOLS if market.trades[symbol]]
    for symbol in known:
        for window in windows(market.rng):
            expected = market.standing(symbol, window)
            try:
                answer = session.recent(symbol, window, deferred=True)
            except UnknownSymbol:  # all that there is of it was deferred, and is of another time
                assert not expected
                continue
            assert amounts(answer.table) == expected
            assert answer.evidence.complete
    return 2 * len(known)


def check_http(market: Market, service: Service) -> int:
    """The same over HTTP, with its tail in memory."""
    checked = 0
    for symbol in SYMBOLS:
        expected = market.standing(symbol, SPAN)
        since, until = (f"{datetime.fromtimestamp(at / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}" for at in (BASE_US, END_US))
        if not market.trades[symbol]:
            continue
        asked = {"symbol": symbol, "since": since, "until": until}
        rows = service.client.get("/v1/trades/recent", params=asked).json()["rows"]
        found = {row["message_id"]: (Decimal(row["price"]), Decimal(row["quantity"])) for row in rows}
        assert found == expected
        bars = service.client.get("/v1/ohlcv", params={**asked, "bar": "1h"}).json()["rows"]
        assert sum(bar["trades"] for bar in bars) == len(expected)
        raw = service.client.get("/v1/trades/recent", params={**asked, "raw": "true"}).json()["rows"]
        assert len(raw) >= len(expected)
        checked += 3
    return checked


def run(market: Market, answers: int) -> None:
    """Go on until so many answers were checked."""
    checked = 0
    with serving(market.endpoints, market.topic, Settings(port=0)) as service:
        while checked < answers:
            for _ in range(market.rng.randrange(1, 12)):
                market.step()
            chance = market.rng.random()
            if chance < 0.3:
                market.defer()
            elif chance < 0.6:
                market.consume()
            if chance < 0.15 or 0.5 < chance < 0.6:
                market.compact()
            with market.session() as session:
                if market.deferred():
                    checked += check_deferred(market, session)
                else:
                    checked += check_all(market, session) + check_http(market, service)


def test_answers_are_those_of_a_dict_of_events(market: Market) -> None:
    run(market, 100)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.by_hand) for seed in (2, 3, 4))])
def test_a_thousand_answers_are_those_of_a_dict_of_events(market: Market, seed: int) -> None:
    market.rng.seed(seed)
    run(market, 1_000)
    assert market.spilled > 20


CORR, BUST, BUSN = "CORR", "BUST", "BUSN"


@pytest.fixture
def printed_by_venue(market: Market) -> Market:
    """A price that is corrected under the same id, and two busts that name no id."""
    first, second = Decimal(50), Decimal("10.0")
    trade = market.id()
    at, quantity = BASE_US, Decimal(50)
    records = [
        (CORR, market.record(CORR, trade, at, Decimal(100), quantity)),
        (CORR, market.record(CORR, trade, at, second, quantity)),
        (BUST, market.record(BUST, market.id(), at, Decimal(100), first)),
        (BUST, market.record(BUST, market.id(), at + 5, Decimal(100), first, trade_conditions="CANC")),
        (BUSN, market.record(BUSN, market.id(), at, Decimal(100), first)),
        (BUSN, market.record(BUSN, market.id(), at + 5, Decimal(100), -first, trade_conditions="CANC")),
    ]
    produce_values(market.endpoints, market.topic, [(0, value) for _, value in records])
    return market


@pytest.mark.parametrize("stored", [False, True])
def test_a_reprint_corrects_and_a_bust_without_an_id_cancels(printed_by_venue: Market, stored: bool) -> None:
    market = printed_by_venue
    if stored:
        market.consume()
        market.compact()
    with market.session() as session:
        assert [*amounts(session.recent(CORR).table).values()] == [(Decimal(10), Decimal(50))]
        assert session.bars(CORR, BarLength(us=MINUTE_US)).table["volume"].to_pylist() == [Decimal(50)]
        for symbol in (BUST, BUSN):
            assert len(session.recent(symbol).table) == 0
            assert len(session.bars(symbol, BarLength(us=MINUTE_US)).table) == 0
            raw = session.recent(symbol, raw=True).table
            assert raw["action"].to_pylist() == ["CANCEL", "NEW"]
        with sql(session, "SELECT symbol, price FROM trades") as found:
            assert found.rows.read_all().to_pylist() == [{"symbol": CORR, "price": Decimal(10)}]
        assert len(session.recent(CORR, raw=True).table) == 2


def test_what_was_known_at_a_time_stays_known_after_compaction_and_expiry(market: Market) -> None:
    trade, price, quantity = market.id(), Decimal(100), Decimal(1)
    steps = [
        market.record("AAA", trade, BASE_US, price, quantity),
        market.record("AAA", market.id(), BASE_US, Decimal(101), quantity, action="CORRECT", refers_to=trade),
        market.record("AAA", market.id(), BASE_US, price, quantity, action="CANCEL", refers_to=trade),
    ]
    times = [SystemClock().now_us()]
    for value in steps:
        market.send("AAA", value)
        market.consume()
        times.append(SystemClock().now_us())
    market.compact()
    with Lake.at(market.endpoints) as lake:
        expire(lake, SnapshotRetention(1, 0, 0), SystemClock())
    market.send("AAA", market.record("AAA", market.id(), BASE_US, price, quantity))  # in the stream alone
    expected: list[list[Decimal]] = [[], [Decimal(100)], [Decimal(101)], []]
    with market.session() as session:
        for at, prices in zip(times, expected, strict=True):
            answer = session.recent("AAA", known_at_us=at)
            assert answer.table["price"].to_pylist() == prices
            assert not answer.evidence.complete
            assert session.bars("AAA", BarLength(us=MINUTE_US), known_at_us=at).table["high"].to_pylist() == prices
            with sql(session, "SELECT price FROM trades", known_at_us=at) as found:
                assert found.rows.read_all()["price"].to_pylist() == prices
        raw = session.recent("AAA", raw=True, known_at_us=times[2])
        assert raw.table["action"].to_pylist() == ["CORRECT", "NEW"]


@pytest.mark.parametrize("stored", [False, True])
def test_gaps_name_the_events_whose_trades_have_not_come(market: Market, stored: bool) -> None:
    trade, lacking = market.id(), market.id()
    early = market.record("AAA", market.id(), BASE_US, Decimal(1), Decimal(1), action="CANCEL", refers_to=trade)
    lost = market.record("AAA", lacking, BASE_US, Decimal(1), Decimal(1), action="CORRECT", refers_to=market.id())
    later = market.record("AAA", trade, BASE_US + MINUTE_US, Decimal(1), Decimal(1))
    bust = market.record("BBB", market.id(), BASE_US, Decimal(1), Decimal(1), trade_conditions="CANC")
    for symbol, value in (("AAA", early), ("AAA", lost), ("BBB", bust)):
        market.send(symbol, value)
    if stored:
        market.consume()
    with market.session() as session:
        assert len(session.gaps(None)[0].unmatched) == 3
    market.send("AAA", later)
    with market.session() as session:
        found = session.gaps(None)[0].unmatched
        assert [(one.symbol, one.action) for one in found] == [("AAA", "CORRECT"), ("BBB", "CANCEL")]
        assert (found[0].message_id, found[1].refers_to) == (lacking, "")
        since = Window(BASE_US + 1)
        assert session.gaps(["AAA"], since)[0].unmatched == ()
        assert len(session.recent(["AAA", "BBB"]).table) == 0


def test_pages_together_are_what_the_first_could_see(market: Market) -> None:
    ids_sent = [market.id() for _ in range(30)]
    for number, trade in enumerate(ids_sent):
        market.send("AAA", market.record("AAA", trade, BASE_US + number, Decimal(1), Decimal(1)))
    for trade in ids_sent[::3]:
        market.send(
            "AAA", market.record("AAA", market.id(), BASE_US, Decimal(1), Decimal(1), action="CANCEL", refers_to=trade)
        )
    market.consume()
    expected = [trade for trade in reversed(ids_sent) if trade not in ids_sent[::3]]
    found: list[str] = []
    with market.session() as session:
        page = None
        while True:
            answer = session.recent("AAA", limit=7, page=page)
            found += ids(answer.table)
            if not answer.evidence.more:
                break
            evidence, last = answer.evidence, answer.table.slice(len(answer.table) - 1)
            at_ns = int(nanoseconds(last["timestamp"], last["timestamp_nanos"])[0])
            place = Place(
                at_ns, *(last[f"kafka_{name}"][0].as_py() for name in ("partition", "offset", "index", "topic"))
            )
            page = Page(page.ends if page else evidence.ends, place)
            cancel = {"action": "CANCEL", "refers_to": found[-1]}  # too late for these pages
            market.send("AAA", market.record("AAA", market.id(), BASE_US, Decimal(1), Decimal(1), **cancel))
    assert found == expected


@pytest.mark.parametrize("then", ["reprint", "correct and reprint", "cancel and reprint"])
def test_a_trade_that_is_backfilled_behind_its_reprint_does_not_undo_it(market: Market, then: str) -> None:
    trade = market.id()
    market.send("AAA", market.record("AAA", trade, BASE_US, Decimal(100), Decimal(1)))
    market.defer()
    if then != "reprint":
        action = {"action": "CORRECT" if "correct" in then else "CANCEL", "refers_to": trade}
        market.send("AAA", market.record("AAA", market.id(), BASE_US, Decimal(99), Decimal(1), **action))
    market.send("AAA", market.record("AAA", trade, BASE_US, Decimal(98), Decimal(1)))
    expected = [] if "cancel" in then else [Decimal(98)]
    with market.session() as session:
        assert session.recent("AAA", deferred=True).table["price"].to_pylist() == expected
    market.consume()
    assert market.deferred() == 0
    market.compact()
    with market.session() as session:
        assert session.recent("AAA").table["price"].to_pylist() == expected
        assert session.bars("AAA", BarLength(us=MINUTE_US)).table["high"].to_pylist() == expected
        with sql(session, "SELECT price FROM trades") as found:
            assert found.rows.read_all()["price"].to_pylist() == expected
