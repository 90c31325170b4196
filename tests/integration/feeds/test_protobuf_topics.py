"""Topics of Protobuf through a real schema registry, which gives schemas as text."""

import threading
from decimal import Decimal
from pathlib import Path

from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.dead_letters import read_dead_letters
from k2ctl.lake.catalog import Lake
from k2ctl.profiles.foreign import of_others
from tests.made_trades import produce_values, quick_profile
from tests.support.protobuf import Compiled, framed
from tests.support.registry_server import RegistryServer

BASE_S = 1_735_689_600
FIRST = """
syntax = "proto3";
package org.venue;
import "google/protobuf/timestamp.proto";
message Trade {
  string symbol = 1;
  string price = 2;
  double quantity = 3;
  google.protobuf.Timestamp time = 4;
  int64 id = 5;
}
message Quote { string symbol = 1; }
"""
SECOND = FIRST.replace("int64 id = 5;", "int64 id = 5; enum Side { NONE = 0; BUY = 1; SELL = 2; } Side side = 6;")
FEED = """\
description: trades of {exchange}
source: {{format: protobuf, registry: "{registry}", message: org.venue.Trade}}
trade:
  symbol: symbol
  exchange: "'{exchange}'"
  asset_class: "'crypto'"
  timestamp: time
  price: price
  quantity: quantity
  side: if(side = 'NONE', NULL, side)
  trade_id: id
identity: [id]
"""


def test_a_topic_of_protobuf_whose_schema_changes(
    endpoints: Endpoints, schema_registry: RegistryServer, exchange: str, home: Path
) -> None:
    topic = f"{exchange}.protobuf"
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic, 1)
    one, two = (schema_registry.register(f"{topic}-value", text, "PROTOBUF") for text in (FIRST, SECOND))
    old, new = (Compiled(text).message("org.venue.Trade") for text in (FIRST, SECOND))
    trade = {"symbol": "BTC", "price": "67000.12", "quantity": 0.1, "time": {"seconds": BASE_S, "nanos": 5}}
    good = framed(one, old(**trade, id=1))
    quote = framed(two, Compiled(SECOND).message("org.venue.Quote")(symbol="BTC"), b"\x02\x02")
    values = [
        good,
        framed(two, new(**trade, id=2, side=2)),
        good[:-1],
        quote,
        framed(one, old(**trade | {"price": ""})),
    ]
    produce_values(endpoints, topic, [(0, value) for value in values])
    feed = home / "feed.yaml"
    feed.write_text(FEED.format(exchange=exchange, registry=schema_registry.address))
    consumer = Consumer(endpoints, ConsumerPlan(of_others(quick_profile(), str(feed), topic), until_caught_up=True))
    consumer.run(threading.Event())
    with Lake.at(endpoints) as lake:
        rows = sorted(lake.table().scan().to_arrow().to_pylist(), key=lambda row: row["kafka_offset"])
    assert [(row["trade_id"], row["side"], row["timestamp_nanos"]) for row in rows] == [
        (1, "UNKNOWN", 5),
        (2, "SELL", 5),
    ]
    assert {(row["price"], row["quantity"]) for row in rows} == {(Decimal("67000.12"), Decimal("0.1"))}
    reasons = {one.offset: one.reason for one in read_dead_letters(endpoints, topic).found}
    assert reasons.keys() == {2, 4}
    assert reasons[2] == f"schema {one}: Trade: the record ends before it does"
    assert reasons[4].startswith("price ")
    assert consumer.counts().balanced
