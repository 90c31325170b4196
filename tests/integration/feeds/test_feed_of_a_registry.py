"""`k2ctl feed guess --registry` and `check` on a topic of Avro, with a real registry."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.profiles.feed import feed_of
from tests.made_trades import produce_values
from tests.support.avro import encoded, framed
from tests.support.cli import called
from tests.support.protobuf import Compiled
from tests.support.protobuf import framed as framed_message
from tests.support.registry_server import RegistryServer

BASE_MS = 1_735_689_600_000
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 10}
AGGRESSOR = {"type": "enum", "name": "Aggressor", "symbols": ["BUY", "SELL"]}
INSTRUMENT = {"type": "record", "name": "Instrument", "fields": [{"name": "ticker", "type": "string"}]}
FIELDS: list[dict[str, Any]] = [
    {"name": "instrument", "type": INSTRUMENT},
    {"name": "lastPrice", "type": DECIMAL},
    {"name": "lastQty", "type": "double"},
    {"name": "transactTime", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "aggressor", "type": AGGRESSOR},
    {"name": "tradeId", "type": "long"},
]
FIRST = {"type": "record", "name": "Print", "namespace": "org.venue", "fields": FIELDS}
SECOND = {**FIRST, "fields": [*FIELDS, {"name": "venue", "type": "string", "default": "HOME"}]}


def made(at: int) -> dict[str, Any]:
    return {
        "instrument": {"ticker": "BHP"}, "lastPrice": Decimal("45.1000000001"), "lastQty": 1.5, "aggressor": "SELL",
        "transactTime": BASE_MS + at, "tradeId": at, "venue": "AWAY",
    }  # fmt: skip


@pytest.fixture
def topic(endpoints: Endpoints, schema_registry: RegistryServer, exchange: str) -> str:
    """A topic of two schemas."""
    save_endpoints(endpoints)
    name = f"avro.{exchange}"
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(name, 1)
    numbers = [schema_registry.register(f"{name}-value", schema) for schema in (FIRST, SECOND)]
    values = [
        framed(number, encoded(schema, made(at)))
        for at, (number, schema) in enumerate(zip(numbers * 6, (FIRST, SECOND) * 6, strict=True))
    ]
    produce_values(endpoints, name, [(0, value) for value in values])
    return name


def test_the_columns_of_the_schemas_become_a_feed_that_its_check_accepts(
    topic: str, schema_registry: RegistryServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text, _ = called(capsys, "feed", "guess", topic, "--registry", schema_registry.address)
    assert code == 0
    feed = feed_of("my", "my.yaml", text).feed
    assert (feed.source.format, feed.source.registry) == ("avro", schema_registry.address)
    assert (feed.trade.symbol, feed.trade.price, feed.trade.exchange) == ("instrument.ticker", "lastPrice", "venue")
    path = tmp_path / "my.yaml"
    path.write_text(text)
    code, out, _ = called(capsys, "feed", "check", topic, "--feed", str(path), "--json")
    checked = json.loads(out)
    assert (code, checked["trades"], checked["ids"]["distinct"]) == (0, 12, 12)
    assert "lastPrice 45.1000000001" in checked["first"][0]["text"]
    first = checked["first"][0]["trade"]
    assert (first["symbol"], first["price"], first["quantity"], first["side"]) == (
        "BHP",
        "45.1000000001",
        "1.5",
        "SELL",
    )
    assert first["timestamp"] == "2025-01-01T00:00:00Z"


PROTOBUF = """
syntax = "proto3";
package org.venue;
import "google/protobuf/timestamp.proto";
message Trade {
  string symbol = 1;
  string price = 2;
  double quantity = 3;
  google.protobuf.Timestamp time = 4;
  int64 id = 5;
  enum Side { NONE = 0; BUY = 1; SELL = 2; }
  Side side = 6;
}
message Quote { string symbol = 1; }
"""


def test_a_topic_of_protobuf_is_a_feed_that_its_check_accepts(
    endpoints: Endpoints, schema_registry: RegistryServer, exchange: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    save_endpoints(endpoints)
    topic, compiled = f"protobuf.{exchange}", Compiled(PROTOBUF)
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic, 1)
    number = schema_registry.register(f"{topic}-value", PROTOBUF, "PROTOBUF")
    trade = {"symbol": "BTC", "price": "67000.12", "quantity": 0.1, "time": {"seconds": BASE_MS // 1000}, "side": 2}
    quote = framed_message(number, compiled.message("org.venue.Quote")(symbol="BTC"), b"\x02\x02")
    values = [framed_message(number, compiled.message("org.venue.Trade")(**trade, id=at)) for at in range(1, 6)]
    produce_values(endpoints, topic, [(0, value) for value in [*values, quote]])
    _, text, err = called(capsys, "feed", "guess", topic, "--registry", schema_registry.address)
    assert text, err
    path = tmp_path / "my.yaml"
    path.write_text(text)
    code, out, _ = called(capsys, "feed", "check", topic, "--feed", str(path), "--json")
    checked = json.loads(out)
    assert (code, checked["trades"], checked["filtered"], checked["sides"]["SELL"]) == (0, 5, 1, 5), text
    assert checked["first"][0]["trade"]["price"] == "67000.12"


def test_without_a_registry_it_is_asked_for(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = called(capsys, "feed", "guess", topic)
    assert (code, "Avro or Protobuf" in err, "--registry" in err) == (2, True, True)


def test_a_registry_that_is_away_or_another_is_said(
    topic: str, schema_registry: RegistryServer, capsys: pytest.CaptureFixture[str]
) -> None:
    for address, words in (("http://127.0.0.1:9", "does not answer"), ("nowhere", "--registry")):
        code, out, err = called(capsys, "feed", "guess", topic, "--registry", address)
        assert (code in (1, 2), out, words in err) == (True, "", True), err
        assert "Traceback" not in err
