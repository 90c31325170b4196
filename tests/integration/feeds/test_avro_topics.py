"""Topics of Avro through a real registry: schemas that change, records that are broken, a registry that is away."""

import logging
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.domain.checkpoint import Counts
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, ProfileError
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.dead_letters import read_dead_letters
from k2ctl.lake.catalog import Lake
from k2ctl.profiles import Profile
from k2ctl.profiles.foreign import of_others
from k2ctl.query.session import Session
from tests.made_trades import produce_values, quick_profile
from tests.support.avro import encoded, framed
from tests.support.consumers import RunningConsumer
from tests.support.polling import until
from tests.support.registry_server import Door, RegistryServer

BASE_US = 1_735_689_600_000_000
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 10}


def schema(*fields: dict[str, Any], name: str = "Trade") -> dict[str, Any]:
    """A record with these fields."""
    return {"type": "record", "name": name, "namespace": "org.venue", "fields": list(fields)}


FIRST = schema(
    {"name": "sym", "type": "string"},
    {"name": "px", "type": DECIMAL},
    {"name": "qty", "type": "double"},
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "number", "type": "long"},
)
SECOND = schema(
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-nanos"}},
    {"name": "sym", "type": "string"},
    {"name": "price", "type": "string", "aliases": ["px"]},
    {"name": "qty", "type": ["null", "long"]},
    {"name": "number", "type": "int"},
    {"name": "side", "type": {"type": "enum", "name": "Side", "symbols": ["UNKNOWN", "BUY", "SELL"]}, "default": "BUY"},
    {"name": "marks", "type": {"type": "array", "items": "string"}, "default": []},
)
FEED = """\
description: trades of {exchange}
source:
  format: avro
  registry: {registry}
trade:
  symbol: sym
  exchange: "'{exchange}'"
  asset_class: "'crypto'"
  timestamp: time
  price: price
  quantity: qty
  trade_id: number
  source_sequence: number
  side: side
  trade_conditions: marks
identity: [number]
"""
OF_FIRST = FEED.replace("price: price", "price: px").replace("  side: side\n  trade_conditions: marks\n", "")
"""The same where no schema has more than the first."""


@dataclass
class Venue:
    """A topic of Avro, its subject and its feed."""

    endpoints: Endpoints
    registry: RegistryServer
    exchange: str
    home: Path
    # The registry, as the feed has it.
    address: str

    @property
    def topic(self) -> str:
        return f"{self.exchange}.avro"

    def profile(self, feed: str = FEED) -> Profile:
        path = self.home / "feed.yaml"
        path.write_text(feed.format(exchange=self.exchange, registry=self.address))
        return of_others(quick_profile(), str(path), self.topic)

    def register(self, one: Any, **of: Any) -> int:
        return self.registry.register(f"{self.topic}-value", one, **of)

    def first(self, number: int, at: int, **changed: Any) -> bytes:
        value = {"sym": "BTC", "px": Decimal("0.0000069841"), "qty": 0.1, "time": BASE_US // 1000 + at, "number": at}
        return framed(number, encoded(FIRST, value | changed))

    def second(self, number: int, at: int, **changed: Any) -> bytes:
        value = {"sym": "BTC", "price": "67000.12", "qty": 3, "time": (BASE_US + at) * 1000 + 7, "number": at}
        return framed(number, encoded(SECOND, value | {"side": "SELL", "marks": ["X", "Y"]} | changed))

    def send(self, *values: bytes) -> None:
        produce_values(self.endpoints, self.topic, [(0, value) for value in values])

    def consume(self, feed: str = FEED) -> Counts:
        consumer = Consumer(self.endpoints, ConsumerPlan(self.profile(feed), until_caught_up=True))
        consumer.run(threading.Event())
        return consumer.counts()

    def stored(self) -> list[dict[str, Any]]:
        with Lake.at(self.endpoints) as lake:
            return sorted(lake.table().scan().to_arrow().to_pylist(), key=lambda row: row["kafka_offset"])

    def reasons(self) -> dict[int, str]:
        return {one.offset: one.reason for one in read_dead_letters(self.endpoints, self.topic).found}


@pytest.fixture
def venue(endpoints: Endpoints, schema_registry: RegistryServer, exchange: str, home: Path) -> Venue:
    """A topic that another program has made."""
    made = Venue(endpoints, schema_registry, exchange, home, schema_registry.address)
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(made.topic, 1)
    return made


def test_a_schema_changes_in_the_middle_of_a_topic(venue: Venue) -> None:
    first, second = venue.register(FIRST), venue.register(SECOND)
    venue.send(venue.first(first, 0), venue.second(second, 1), venue.first(first, 2), venue.second(second, 3))
    counts = venue.consume()
    rows = venue.stored()
    assert (counts.stored, counts.undecodable, counts.balanced) == (4, 0, True)
    assert [str(row["price"]) for row in rows] == ["0.000006984100", "67000.120000000000"] * 2
    assert [str(row["quantity"]) for row in rows] == ["0.100000000000", "3.000000000000"] * 2
    assert [row["side"] for row in rows] == ["BUY", "SELL"] * 2  # the default of the newer schema
    assert [row["trade_conditions"] or [] for row in rows] == [[], ["X", "Y"]] * 2
    assert [row["trade_id"] for row in rows] == [0, 1, 2, 3]


def test_nanoseconds_are_kept(venue: Venue) -> None:
    venue.send(venue.second(venue.register(SECOND), 1))
    venue.consume()
    with Lake.at(venue.endpoints) as lake:
        [row] = lake.table().scan().to_arrow().to_pylist()
    assert row["timestamp_nanos"] == 7


def test_a_broken_record_costs_its_batch_nothing(venue: Venue) -> None:
    number = venue.register(FIRST)
    good = venue.first(number, 1)
    bad = {
        b"": "empty value",
        b"{}": "2 bytes, shorter than the number of a schema",
        b"\x01" + good[1:]: "begins with byte 1, not with the 0 of a schema's number",
        framed(999_999, good[5:]): "the registry knows no schema 999999",
        good[:-3]: f"schema {number}: time: the record ends before it does",
        good + b"\0": f"schema {number}: bytes behind the last field",
        framed(number, b"\x02\xff" + good[9:]): f"schema {number}: sym: not UTF-8",
        framed(number, b"\xff" * 20): f"schema {number}: sym: a number of more than 64 bits",
        venue.first(number, 5, qty=float("nan")): 'quantity is "nan", not a decimal',
        venue.first(number, 6, time=-1): "timestamp is 1969-12-31T23:59:59.999000Z, before 1990",
    }
    venue.send(good, *bad, venue.first(number, 2))
    counts = venue.consume(OF_FIRST)
    reasons = venue.reasons()
    assert (counts.stored, counts.balanced) == (2, True)
    for at, (_, reason) in enumerate(bad.items(), 1):
        assert reason in reasons[at], (reasons[at], reason)


def test_a_time_that_is_none_takes_only_its_own_record(venue: Venue) -> None:
    """Beyond the year 9999 DuckDB refuses a whole column, and some casts end it."""
    number = venue.register(FIRST)
    venue.send(
        venue.first(number, 1), venue.first(number, 2, time=(1 << 63) - 1), venue.first(number, 3, time=-(1 << 63))
    )
    assert venue.consume(OF_FIRST).stored == 1
    assert set(venue.reasons().values()) == {"timestamp is missing"}


def test_a_feed_that_names_no_column_is_refused_at_the_start(venue: Venue) -> None:
    venue.register(FIRST)
    with pytest.raises(ProfileError, match=r"feed.yaml:10: trade.price: .*prcie"):
        venue.consume(OF_FIRST.replace("price: px", "price: prcie"))


def test_references_between_schemas_are_followed(venue: Venue) -> None:
    money = schema({"name": "amount", "type": "string"}, name="Money")
    subject = f"{venue.topic}-money"
    venue.registry.register(subject, money)
    fields = [one | {"type": "org.venue.Money"} if one["name"] == "px" else one for one in FIRST["fields"]]
    outer = schema(*fields)
    reference = {"name": "org.venue.Money", "subject": subject, "version": 1}
    number = venue.register(outer, references=[reference])
    value = {"sym": "BTC", "px": {"amount": "1.5"}, "qty": 0.1, "time": BASE_US // 1000, "number": 4}
    venue.send(framed(number, encoded(outer, value, money)))
    assert venue.consume(OF_FIRST.replace("price: px", "price: px.amount")).stored == 1
    assert str(venue.stored()[0]["price"]) == "1.500000000000"


def test_records_of_another_kind_are_left_out_where_the_feed_says_so(venue: Venue) -> None:
    quote = schema({"name": "bid", "type": "string"}, name="Quote")
    trade, other = venue.register(SECOND), venue.registry.register(f"{venue.topic}-quotes", quote)
    venue.send(venue.second(trade, 1), framed(other, encoded(quote, {"bid": "1"})), venue.second(trade, 2))
    counts = venue.consume(FEED + "where: kafka_schema = 'Trade'\n")
    assert (counts.stored, counts.undecodable, counts.dead_lettered) == (2, 0, 0)


@pytest.fixture
def door(schema_registry: RegistryServer) -> Iterator[Door]:
    """A way to the registry that a test closes."""
    made = Door(schema_registry)
    yield made
    made.close()


def test_a_registry_that_is_away_is_waited_for_and_said(
    venue: Venue, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    venue.address = door.address
    number = venue.register(SECOND)
    venue.send(venue.second(number, 1), venue.second(number, 2))
    with caplog.at_level(logging.WARNING, "k2ctl"):
        running = RunningConsumer(venue.endpoints, venue.profile())
        try:
            until(lambda: any("waiting: The schema registry" in line for line in caplog.messages), 20)
            until(lambda: "does not answer" in running.said[-1].waiting, 10)
            door.open()
            until(lambda: running.stored(2), 30)
        finally:
            running.stop()
    assert venue.reasons() == {}


def test_a_query_says_that_the_registry_is_away(venue: Venue, door: Door) -> None:
    venue.address = door.address
    number = venue.register(SECOND)
    venue.send(venue.second(number, 1))
    door.open()
    venue.consume()
    venue.send(venue.second(number, 2))
    door.close()
    with Session.at(venue.endpoints) as session, pytest.raises(BrokerError, match="schema registry") as refused:
        session.recent("BTC")
    assert "--lake-only" in refused.value.hint


def test_k2s_own_record_of_avro_is_read_by_the_shipped_feed(venue: Venue) -> None:
    number = venue.register(TRADE_V2)
    message_id = str(uuid.uuid4())
    value = {
        "message_id": message_id,
        "trade_id": "BINANCE-789012",
        "symbol": "BTCUSDT",
        "exchange": venue.exchange,
        "asset_class": "crypto",
        "timestamp": BASE_US + 5,
        "price": Decimal("67000.12345678"),
        "quantity": Decimal("0.00000001"),
        "currency": "USDT",
        "side": "SELL",
        "trade_conditions": ["A"],
        "source_sequence": 77,
        "ingestion_timestamp": time.time_ns() // 1000,
        "platform_sequence": None,
        "vendor_data": {"is_buyer_maker": "true"},
    }
    other = value | {"message_id": str(uuid.uuid4()), "trade_id": "KRAKEN-1705584123-BTC", "source_sequence": None}
    venue.send(*(framed(number, encoded(TRADE_V2, one)) for one in (value, other)))
    shipped = (Path("profiles/feeds/k2-avro.yaml")).read_text()
    assert venue.consume(shipped.replace("http://localhost:8081", "{registry}").replace("{1}", "{{1}}")).stored == 2
    one, two = venue.stored()
    assert (str(one["message_id"]), one["trade_id"], two["trade_id"]) == (message_id, 789012, 0)
    assert (one["price"], one["quantity"]) == (Decimal("67000.12345678"), Decimal("0.00000001"))
    assert (one["source_sequence"], two["source_sequence"], one["side"]) == (77, None, "SELL")


def _v2(name: str, kind: Any, **of: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **of}


_MICROS = {"type": "long", "logicalType": "timestamp-micros"}
_EIGHT_PLACES = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 8}
TRADE_V2 = {
    "type": "record",
    "name": "TradeV2",
    "namespace": "com.k2.marketdata",
    "fields": [
        *(_v2(name, "string") for name in ("message_id", "trade_id", "symbol", "exchange")),
        _v2("asset_class", {"type": "enum", "name": "Class", "symbols": ["equities", "crypto", "futures", "options"]}),
        _v2("timestamp", _MICROS),
        *(_v2(name, _EIGHT_PLACES) for name in ("price", "quantity")),
        _v2("currency", "string"),
        _v2("side", {"type": "enum", "name": "Side", "symbols": ["BUY", "SELL", "SELL_SHORT", "UNKNOWN"]}),
        _v2("trade_conditions", {"type": "array", "items": "string"}),
        _v2("source_sequence", ["null", "long"], default=None),
        _v2("ingestion_timestamp", _MICROS),
        _v2("platform_sequence", ["null", "long"], default=None),
        _v2("vendor_data", ["null", {"type": "map", "values": "string"}], default=None),
    ],
}
