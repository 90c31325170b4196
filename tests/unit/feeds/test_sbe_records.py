"""SBE of others: what their schema says of a message's block is a column, and damage stays in its record."""

import struct
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from k2ctl.domain.decimals import as_text
from k2ctl.domain.trade import SIDES, frames
from k2ctl.errors import ProfileError
from k2ctl.feeds.foreign import Foreign
from k2ctl.feeds.formats.sbe_records import SbeRecords
from k2ctl.feeds.formats.sbe_schema import read_schema
from k2ctl.home import shipped
from k2ctl.kafka.reader import Fetched
from k2ctl.profiles.feed import feed_of
from tests.made_trades import make_varied

VENUE = """\
<sbe:messageSchema xmlns:sbe="http://fixprotocol.io/2016/sbe" package="venue" id="9" version="3" byteOrder="{order}">
  <types>
    <composite name="messageHeader">
      <type name="blockLength" primitiveType="uint16"/><type name="templateId" primitiveType="uint16"/>
      <type name="schemaId" primitiveType="uint16"/><type name="version" primitiveType="uint16"/>
    </composite>
    <composite name="Price9">
      <type name="mantissa" primitiveType="int64" presence="optional"/>
      <type name="exponent" primitiveType="int8" presence="constant">-9</type>
    </composite>
    <composite name="Floating">
      <type name="mantissa" primitiveType="int32"/><type name="exponent" primitiveType="int8"/>
    </composite>
    <type name="Symbol" primitiveType="char" length="8"/>
    <type name="Optional" primitiveType="uint32" presence="optional"/>
    <type name="Venue" primitiveType="char" presence="constant">XVEN</type>
    <type name="Pair" primitiveType="int16" length="2"/>
    <enum name="Side" encodingType="char">
      <validValue name="BUY">B</validValue><validValue name="SELL">S</validValue>
    </enum>
    <enum name="Kind" encodingType="uint8"><validValue name="LIT">1</validValue></enum>
    <set name="Flags" encodingType="uint8"><choice name="late">0</choice><choice name="odd">3</choice></set>
  </types>
  <sbe:message name="Trade" id="5" blockLength="50">
    <field name="symbol" id="1" type="Symbol"/>
    <field name="price" id="2" type="Price9"/>
    <field name="quantity" id="3" type="Floating"/>
    <field name="time" id="4" type="uint64"/>
    <field name="number" id="5" type="Optional"/>
    <field name="side" id="6" type="Side"/>
    <field name="kind" id="7" type="Kind"/>
    <field name="flags" id="8" type="Flags"/>
    <field name="pair" id="9" type="Pair"/>
    <field name="ratio" id="10" type="float" presence="optional"/>
    <field name="venue" id="11" type="Venue"/>
    <field name="late" id="12" type="uint16" offset="48" sinceVersion="3" presence="optional"/>
  </sbe:message>
  <sbe:message name="Quote" id="6" blockLength="8"><field name="symbol" id="1" type="Symbol"/></sbe:message>
  <sbe:message name="Several" id="7" blockLength="8">
    <field name="symbol" id="1" type="Symbol"/>
    <group name="legs" id="2" dimensionType="messageHeader"/>
  </sbe:message>
</sbe:messageSchema>
"""
BASE_NS = 1_735_689_600_000_000_007


@pytest.fixture(params=["littleEndian", "bigEndian"])
def order(request: pytest.FixtureRequest) -> str:
    """Either order of bytes."""
    return str(request.param)


def trade(order: str, *, block: int = 50, template: int = 5, schema: int = 9, **of: Any) -> bytes:
    """A message as the venue writes it."""
    value: dict[str, Any] = {
        "symbol": b"BTC", "mantissa": 67_000_120_000_000, "quantity": (25, -2), "time": BASE_NS, "number": 7,
        "side": b"S", "kind": 1, "flags": 9, "pair": (1, -2), "ratio": 0.5, "late": 65535,
    } | of  # fmt: skip
    sign = ">" if order == "bigEndian" else "<"
    packed = struct.pack(
        f"{sign}8sqibQIcBB2hfH",
        *(value[name] for name in ("symbol", "mantissa")), *value["quantity"], value["time"], value["number"],
        value["side"], value["kind"], value["flags"], *value["pair"], value["ratio"], value["late"],
    )  # fmt: skip
    assert len(packed) == 8 + 8 + 5 + 8 + 4 + 3 + 4 + 4 + 2
    packed = packed[:44].ljust(48, b"\0") + packed[44:]  # `late` says where it stands
    return struct.pack(f"{sign}4H", block, template, schema, 3) + packed[:block].ljust(block, b"\xee")


def records(order: str, home: Path, message: str = "Trade") -> SbeRecords:
    path = home / "venue.xml"
    path.write_text(VENUE.format(order=order))
    return SbeRecords(read_schema(path, message))


def read(of: SbeRecords, values: list[bytes]) -> tuple[list[dict[str, Any]], dict[int, str], list[int]]:
    """Rows in order, why records are none, and those that are something else."""
    parts = of.prepare(values, {"kafka_offset": pa.array(range(len(values)))})
    rows = [row for part in parts.prepared for row in part.table.to_pylist()]
    found = sorted(rows, key=lambda row: (row["_record"], row["_index"]))
    return found, dict(parts.broken), sorted(parts.filtered.tolist())


def test_each_kind_of_field_is_a_column(order: str, home: Path) -> None:
    nothing = {"mantissa": -(1 << 63), "number": (1 << 32) - 1, "ratio": float("nan"), "symbol": b""}
    values = [trade(order), trade(order, **nothing, side=b"X", kind=200, flags=0, quantity=(5, 3), late=4)]
    (one, two), broken, other = read(records(order, home), values)
    assert (broken, other) == ({}, [])
    assert one | {"_bad": False} == {
        "symbol": "BTC", "price": Decimal("67000.120000000"), "quantity": "25e-2", "time": BASE_NS, "number": 7,
        "side": "SELL", "kind": "LIT", "flags": ["late", "odd"], "pair": [1, -2], "ratio": 0.5, "venue": "XVEN",
        "late": None, "kafka_offset": 0, "_record": 0, "_index": 0, "_bad": False,
    }  # fmt: skip
    assert [two[name] for name in ("symbol", "price", "number", "ratio")] == [None] * 4
    assert (two["side"], two["kind"], two["flags"], two["quantity"], two["late"]) == ("X", "200", [], "5e3", 4)


def test_versions_with_longer_and_shorter_blocks_are_read(order: str, home: Path) -> None:
    rows, broken, _ = read(records(order, home), [trade(order, block=48), trade(order, block=60, late=3), trade(order)])
    assert (broken, [row["late"] for row in rows]) == ({}, [None, 3, None])
    assert {row["time"] for row in rows} == {BASE_NS}


def test_several_messages_of_a_record_are_several_trades(order: str, home: Path) -> None:
    whole = trade(order) + trade(order, block=60, number=8) + trade(order, number=9)
    of = records(order, home)
    rows, broken, other = read(of, [trade(order, number=1), whole, trade(order, template=6)])
    assert (broken, other) == ({}, [2])
    assert [(row["_record"], row["_index"], row["number"]) for row in rows] == [
        (0, 0, 1),
        (1, 0, 7),
        (1, 1, 8),
        (1, 2, 9),
    ]


def test_behind_a_block_with_groups_nothing_is_read(order: str, home: Path) -> None:
    value = trade(order, template=7, block=8) + b"groups of any length"
    of = records(order, home, "Several")
    rows, broken, _ = read(of, [value])
    assert (broken, [row["symbol"] for row in rows], of.alone(value)) == ({}, ["BTC"], [value])


def test_damage_stays_in_its_record(order: str, home: Path) -> None:
    good = trade(order)
    values = [good, b"", good[:5], good[:-1], good + b"\0", trade(order, schema=4), good + good[:20], good]
    rows, broken, _ = read(records(order, home), values)
    assert [row["_record"] for row in rows] == [0, 7]
    assert broken == {
        1: "empty value",
        2: "a header: the record ends before it does",
        3: "Trade: the record ends before it does",
        4: "a header: the record ends before it does",
        5: "schema id 4, not 9",
        6: "Trade: the record ends before it does",
    }


FEED = """\
description: our own records, by their schema
source: {{format: sbe, schema: "{schema}", message: {message}}}
trade:
  symbol: symbol
  exchange: exchange
  asset_class: asset_class
  timestamp: event_ns
  price: price.low
  quantity: quantity.low
  side: side
  trade_id: trade_id
identity: [trade_id]
"""


def test_our_own_schema_is_read_as_anybodys(home: Path) -> None:
    trades = make_varied(500)
    schema = shipped("stack") / "schemas" / "trade.xml"
    feed = feed_of("own", str(home / "own.yaml"), FEED.format(schema=schema, message="Trade"))
    decoded = Foreign(feed, ()).decode(Fetched.of_values(frames(trades, 7)))
    refused = {(one.record, one.index) for one in decoded.refused}
    kept = np.array([(at // 7, at % 7) not in refused for at in range(500)])
    assert len(decoded.trades) == kept.sum() > 300
    for name in ("symbol", "exchange", "asset_class", "event_ns", "side", "trade_id"):
        assert (decoded.trades[name] == trades[name][kept]).all(), name
    assert as_text(decoded.trades["price"][0]) == str(int(trades["price"]["low"][kept][0]))
    assert SIDES[int(decoded.trades["side"][0])] == "BUY"


@pytest.mark.parametrize(
    ("schema", "message", "reason"),
    [
        ("none.xml", "Trade", "none.xml cannot be read: No such file"),
        ("venue.xml", "Order", "it has no message Order; there are Quote, Several, Trade"),
        ("broken.xml", "Trade", "broken.xml is no schema of SBE"),
    ],
)
def test_a_schema_that_reads_nothing_is_named_with_its_line(home: Path, schema: str, message: str, reason: str) -> None:
    (home / "venue.xml").write_text(VENUE.format(order="littleEndian"))
    (home / "broken.xml").write_text("<sbe")
    feed = feed_of("own", str(home / "own.yaml"), FEED.format(schema=f"./{schema}", message=message))
    with pytest.raises(ProfileError, match=f"own.yaml:2: source.schema: .*{reason}"):
        Foreign(feed, ())
