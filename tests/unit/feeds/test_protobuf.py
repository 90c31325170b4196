"""Protobuf, a batch at a time: what Google's library writes is read as it was, and damage stays where it is."""

import base64
import random
from typing import Any

import pyarrow as pa
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.feeds.formats.cursor import Cursor
from k2ctl.feeds.formats.protobuf_schema import ProtobufSchema
from k2ctl.kafka.registry import Registered
from tests.support.protobuf import Compiled

TEXT = """
syntax = "proto3";
package org.venue;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
message Trade {
  string symbol = 1;
  double price = 2;
  optional int64 id = 3;
  sint32 change = 4;
  fixed64 fixed = 5;
  float ratio = 6;
  bool flag = 7;
  bytes raw = 8;
  enum Side { UNKNOWN = 0; BUY = 1; SELL = 2; }
  Side side = 9;
  repeated string marks = 10;
  repeated int32 numbers = 11;
  repeated int32 loose = 12 [packed = false];
  repeated double doubles = 13;
  map<string, int64> notes = 14;
  message Inner { string code = 1; repeated Inner2 parts = 2; }
  message Inner2 { uint32 x = 1; }
  Inner inner = 15;
  oneof either { string text = 16; int32 number = 17; }
  google.protobuf.Timestamp time = 18;
  google.protobuf.Int64Value wrapped = 19;
  int32 negative = 20;
  uint64 large = 300;
}
message Quote { string symbol = 1; message Deep { int32 y = 1; } }
message Loop { Loop next = 1; }
"""


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    return Compiled(TEXT)


@pytest.fixture(scope="module")
def schema(compiled: Compiled) -> ProtobufSchema:
    return ProtobufSchema(Registered("PROTOBUF", TEXT))


def read(schema: ProtobufSchema, values: list[bytes]) -> tuple[pa.Table, dict[int, str]]:
    """The columns of records of the first message, and why others are none."""
    cursor = Cursor(values)
    message = schema.message(None)
    assert message is not None
    return pa.table(message.read(cursor)), cursor.reasons


INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
UINT64 = st.integers(0, (1 << 64) - 1)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "symbol": TEXTS,
    "price": st.floats(allow_nan=False),
    "id": INT64,
    "change": INT32,
    "fixed": UINT64,
    "ratio": st.floats(width=32, allow_nan=False),
    "flag": st.booleans(),
    "raw": st.binary(max_size=12),
    "side": st.sampled_from([0, 1, 2, 7]),
    "marks": st.lists(TEXTS, max_size=4),
    "numbers": st.lists(INT32, max_size=4),
    "loose": st.lists(INT32, max_size=4),
    "doubles": st.lists(st.floats(allow_nan=False), max_size=3),
    "notes": st.dictionaries(TEXTS, INT64, max_size=3),
    "negative": INT32,
    "large": UINT64,
}
RECORDS = st.fixed_dictionaries({}, optional=FIELDS)
SIDES = {0: "UNKNOWN", 1: "BUY", 2: "SELL", 7: "7"}


def expected(record: dict[str, Any]) -> dict[str, Any]:
    """As columns have it: what is not there is the default, or null where that is seen."""
    plain: dict[str, Any] = {
        "symbol": "", "price": 0.0, "id": None, "change": 0, "fixed": 0, "ratio": 0.0, "flag": False, "raw": b"",
        "side": 0, "marks": [], "numbers": [], "loose": [], "doubles": [], "notes": {}, "negative": 0, "large": 0,
    }  # fmt: skip
    found = plain | record
    return found | {"side": SIDES[found["side"]], "notes": sorted(found["notes"].items())}


def as_read(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in FIELDS} | {"notes": sorted(row["notes"])}


@given(st.lists(RECORDS, max_size=6))
def test_what_googles_library_writes_is_read_as_it_was(
    compiled: Compiled, schema: ProtobufSchema, records: list[dict[str, Any]]
) -> None:
    trade = compiled.message("org.venue.Trade")
    table, reasons = read(schema, [trade(**record).SerializeToString() for record in records])
    assert reasons == {}
    assert [as_read(row) for row in table.to_pylist()] == [expected(record) for record in records]


@given(RECORDS, st.lists(st.tuples(st.sampled_from("cut flip junk"), st.integers(0, 999)), max_size=6))
def test_damage_stays_in_its_record(
    compiled: Compiled, schema: ProtobufSchema, record: dict[str, Any], damages: list[tuple[str, int]]
) -> None:
    trade = compiled.message("org.venue.Trade")
    good = trade(**record).SerializeToString()
    values = [good]
    for how, number in damages:
        values += [damaged(good, how, number), good]
    table, reasons = read(schema, values)
    found = table.to_pylist()
    for at, value in enumerate(values):
        if at % 2 == 0:
            assert at not in reasons
            assert as_read(found[at]) == expected(record)
        elif at not in reasons:
            trade.FromString(value)  # what is read here is read there


def damaged(value: bytes, how: str, number: int) -> bytes:
    at = number % (len(value) or 1)
    if how == "cut":
        return value[:at]
    if how == "flip" and value:
        return value[:at] + bytes([value[at] ^ (1 << number % 8)]) + value[at + 1 :]
    return random.Random(number).randbytes(number % 60)


def test_a_tag_of_more_than_32_bits_begins_no_field(schema: ProtobufSchema) -> None:
    _, reasons = read(schema, [b"", bytes.fromhex("b08ab297f5d16b0000"), b""])
    assert list(reasons) == [1]
    assert reasons[1].endswith("begins no field")


def test_messages_in_one_another_are_structs(compiled: Compiled, schema: ProtobufSchema) -> None:
    trade = compiled.message("org.venue.Trade")
    full = trade(inner={"code": "A", "parts": [{"x": 1}, {}]}, text="t", wrapped={"value": 5})
    full.time.seconds, full.time.nanos = 1_735_689_600, 123_456_789
    table, reasons = read(schema, [full.SerializeToString(), trade(number=3).SerializeToString()])
    one, two = table.drop_columns(["time"]).to_pylist()
    assert reasons == {}
    assert (one["inner"], two["inner"]) == ({"code": "A", "parts": [{"x": 1}, {"x": 0}]}, None)
    assert (one["text"], one["number"], two["text"], two["number"]) == ("t", None, None, 3)
    assert (one["wrapped"], two["wrapped"]) == (5, None)
    assert table["time"].cast(pa.int64()).to_pylist() == [1_735_689_600_123_456_789, None]
    assert MessageToDict(full)["inner"]["code"] == "A"


def test_fields_in_any_order_and_unknown_ones_are_read(compiled: Compiled, schema: ProtobufSchema) -> None:
    trade = compiled.message("org.venue.Trade")
    parts = [trade(symbol="A"), trade(id=7), trade(symbol="B"), trade(marks=["x"]), trade(marks=["y"])]
    unknown = b"\xf8\x3e\x05" + b"\xfa\x3e\x02hi"  # field 1007 as a number and as bytes
    forth, back = (b"".join(one.SerializeToString() for one in order) for order in (parts, parts[::-1]))
    table, reasons = read(schema, [forth + unknown, unknown + back])
    one, two = table.to_pylist()
    assert reasons == {}
    assert (one["symbol"], one["id"], one["marks"]) == ("B", 7, ["x", "y"])
    assert (two["symbol"], two["id"], two["marks"]) == ("A", 7, ["y", "x"])


def test_what_is_no_message_says_why(compiled: Compiled, schema: ProtobufSchema) -> None:
    values = {
        b"\x0a\x05ab": "Trade: the record ends before it does",
        b"\x0a\x02\xff\xfe": "symbol: not UTF-8",
        b"\x0b": "Trade: tag 11 begins no field",
        b"\x00\x00": "Trade: tag 0 begins no field",
        b"\x7a\x02\x0a\x05": "Inner: the record ends before it does",
        b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01": "a number of more than 64 bits",
        b"\x72\x03\x0a\x01a" * 2: "notes: a key twice",
        b"\x60\x01" * 5000: "more than 4096 fields",
        b"\x5a\x88\x27" + b"\x01" * 5000: "more than 4096 fields",
    }
    _, reasons = read(schema, list(values))
    for at, reason in enumerate(values.values()):
        assert reason in reasons.get(at, "none"), (at, reasons)
    with pytest.raises(DecodeError):
        compiled.message("org.venue.Trade").FromString(b"\x0b")


def test_the_head_says_which_message_a_record_is(schema: ProtobufSchema) -> None:
    heads = [b"\x00", b"\x02\x00", b"\x02\x02", b"\x04\x02\x00", b"\x02\x0c", b"\x02\x04", b"\x01", b""]
    cursor = Cursor([head + b"" for head in heads])
    parts = {message.full_name: rows.tolist() for message, rows in schema.parts(cursor)}
    assert parts == {"org.venue.Trade": [0, 1], "org.venue.Quote": [2], "org.venue.Quote.Deep": [3]}
    assert cursor.reasons == {
        4: "the head names no message of the schema",
        5: "org.venue.Loop contains itself",
        6: "the head names no message of the schema",
        7: "the head: the record ends before it does",
    }


def test_descriptors_are_taken_as_they_are(compiled: Compiled) -> None:
    """As Confluent's registry gives them."""
    *imported, own = compiled.files
    assert imported
    text = base64.b64encode(own.SerializeToString()).decode()
    table, reasons = read(ProtobufSchema(Registered("PROTOBUF", text)), [b"\x0a\x01A"])
    assert (table["symbol"].to_pylist(), reasons) == (["A"], {})


def test_what_one_schema_imports_of_another_is_found() -> None:
    outer = 'syntax = "proto3"; import "of/money.proto"; message T { Money m = 1; }'
    inner = 'syntax = "proto3"; message Money { string amount = 1; }'
    schema = ProtobufSchema(Registered("PROTOBUF", outer, (("of/money.proto", inner),)))
    table, _ = read(schema, [b"\x0a\x03\x0a\x011"])
    assert table["m"].to_pylist() == [{"amount": "1"}]


@pytest.mark.parametrize("text", ["message {", 'syntax = "proto3"; import "not/there.proto";'])
def test_a_schema_that_reads_nothing_says_why(text: str) -> None:
    with pytest.raises(ValueError, match="no schema of Protobuf that is read: "):
        ProtobufSchema(Registered("PROTOBUF", text))


def test_a_schema_without_messages_has_none() -> None:
    schema = ProtobufSchema(Registered("PROTOBUF", 'syntax = "proto3";'))
    cursor = Cursor([b"\0"])
    assert list(schema.parts(cursor)) == []
    assert cursor.reasons == {0: "the head names no message of the schema"}
