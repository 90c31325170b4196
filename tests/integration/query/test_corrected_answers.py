"""Corrections and cancellations, from Kafka to answers: against a dict of what each trade is by now.

Events are sent in any order, and between answers rows are committed, merged and backfilled; so an event is now in the
stream and its trade in the table, now the reverse.
"""

import random
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pytest

from k2ctl.clock import SystemClock
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.domain.topics import trades_topic
from k2ctl.domain.trade import Window
from k2ctl.domain.wire import JSON
from k2ctl.endpoints import Endpoints
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.maintenance.maintainer import compact_now, whole_hours
from k2ctl.query.session import Session
from k2ctl.query.sql import sql
from k2ctl.query.stream import KafkaStream
from tests.made_trades import PARTITIONS, produce_values, quick_profile

BASE_US = 1_767_225_600_000_000
MINUTE_US = 60_000_000
SYMBOLS = ("AAA", "BBB", "CCC")


@dataclass
class Print:
    """What was printed of a trade last."""

    price: Decimal
    quantity: Decimal
    cancelled: bool = False


@dataclass
class Market:
    """A topic of JSON records, and a dict of what each trade is."""

    endpoints: Endpoints
    exchange: str
    rng: random.Random
    trades: dict[str, dict[str, Print]] = field(default_factory=lambda: {symbol: {} for symbol in SYMBOLS})
    time_us: dict[str, int] = field(default_factory=dict)
    belongs: dict[str, str] = field(default_factory=dict)
    waiting: list[tuple[str, bytes]] = field(default_factory=list)
    printed: int = 0

    def __post_init__(self) -> None:
        profile = quick_profile()
        self.profile = profile.model_copy(
            update={
                "market": profile.market.model_copy(update={"exchange": self.exchange}),
                "topic": profile.topic.model_copy(update={"format": "json"}),
            }
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
        return orjson.dumps(fields)

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

    def compact(self) -> None:
        with Lake.at(self.endpoints) as lake:
            compact_now(lake, SystemClock(), whole_hours)

    def session(self) -> Session:
        return Session(Lake.at(self.endpoints), KafkaStream(self.endpoints, self.topic, JSON))

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
            bars = session.bars(symbol, 60 * MINUTE_US, window).table
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


def run(market: Market, answers: int) -> None:
    checked = 0
    while checked < answers:
        for _ in range(market.rng.randrange(1, 12)):
            market.step()
        chance = market.rng.random()
        if chance < 0.5:
            market.consume()
        if chance < 0.15:
            market.compact()
        with market.session() as session:
            checked += check_all(market, session)


def test_answers_are_those_of_a_dict_of_events(market: Market) -> None:
    run(market, 60)
