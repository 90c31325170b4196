"""Avro, a batch at a time: what another program writes is read as it was, and damage stays where it is."""

import json
import random
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.feeds.formats.avro import Avro
from k2ctl.feeds.formats.avro_fields import MOST_ITEMS
from k2ctl.feeds.formats.cursor import Cursor
from tests.support.avro import encoded

INNER = {"type": "record", "name": "Inner", "fields": [{"name": "code", "type": "string"}]}
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Everything",
    "namespace": "org.venue",
    "fields": [
        {"name": "text", "type": "string"},
        {"name": "short", "type": "int"},
        {"name": "long", "type": "long"},
        {"name": "small", "type": {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 8}},
        {"name": "large", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 12}},
        {"name": "fixed", "type": {"type": "fixed", "name": "F", "size": 16}},
        {"name": "double", "type": "double"},
        {"name": "float", "type": "float"},
        {"name": "flag", "type": "boolean"},
        {"name": "raw", "type": "bytes"},
        {"name": "side", "type": {"type": "enum", "name": "Side", "symbols": ["BUY", "SELL"]}},
        {"name": "other_side", "type": ["null", "Side"]},
        {"name": "maybe", "type": ["null", "long"]},
        {"name": "either", "type": ["null", "string", "long"]},
        {"name": "mixed", "type": ["string", INNER]},
        {"name": "marks", "type": {"type": "array", "items": "string"}},
        {"name": "parts", "type": {"type": "array", "items": "org.venue.Inner"}},
        {"name": "notes", "type": {"type": "map", "values": "long"}},
        {"name": "inner", "type": "Inner"},
    ],
}


def decimals(digits: int, scale: int) -> st.SearchStrategy[Decimal]:
    most = 10**digits - 1
    return st.integers(-most, most).map(lambda mantissa: Decimal(mantissa).scaleb(-scale))


INNERS = st.fixed_dictionaries({"code": st.text(max_size=5)})
RECORDS = st.fixed_dictionaries(
    {
        "text": st.text(max_size=40),
        "short": st.integers(-(1 << 31), (1 << 31) - 1),
        "long": st.integers(-(1 << 63), (1 << 63) - 1),
        "small": decimals(18, 8),
        "large": decimals(27, 12),  # the digits that the writer keeps
        "fixed": st.binary(min_size=16, max_size=16),
        "double": st.floats(allow_nan=False),
        "float": st.floats(width=32, allow_nan=False),
        "flag": st.booleans(),
        "raw": st.binary(max_size=20),
        "side": st.sampled_from(["BUY", "SELL"]),
        "other_side": st.sampled_from([None, "SELL"]),
        "maybe": st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
        "either": st.none() | st.text(max_size=5) | st.integers(0, 99),
        "mixed": st.text(max_size=5) | INNERS,
        "marks": st.lists(st.text(max_size=4), max_size=6),
        "parts": st.lists(INNERS, max_size=3),
        "notes": st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=3),
        "inner": INNERS,
    }
)


def read(schema: Any, values: list[bytes]) -> tuple[pa.Table, dict[int, str]]:
    """The columns of some records, and why others are none."""
    cursor = Cursor(values)
    table = pa.table(Avro(json.dumps(schema)).read(cursor))
    return table, cursor.reasons


def expected(record: dict[str, Any]) -> dict[str, Any]:
    """As columns have it."""
    either, mixed = record["either"], record["mixed"]
    return record | {
        "either": None if either is None else str(either),
        "mixed": {"string": mixed, "Inner": None} if isinstance(mixed, str) else {"string": None, "Inner": mixed},
        "notes": list(record["notes"].items()),
    }


@given(st.lists(RECORDS, max_size=8))
def test_what_another_program_writes_is_read_as_it_was(records: list[dict[str, Any]]) -> None:
    table, reasons = read(SCHEMA, [encoded(SCHEMA, record) for record in records])
    assert reasons == {}
    assert table.to_pylist() == [expected(record) for record in records]


@given(st.lists(st.tuples(RECORDS, st.none() | st.tuples(st.sampled_from("cut add flip junk"), st.integers(0, 999)))))
def test_damage_stays_in_its_record(records: list[tuple[dict[str, Any], tuple[str, int] | None]]) -> None:
    values = []
    for record, damage in records:
        value = encoded(SCHEMA, record)
        values.append(value if damage is None else damaged(value, *damage))
    table, reasons = read(SCHEMA, values)
    found = table.to_pylist()
    for at, (record, damage) in enumerate(records):
        if damage is None:
            assert at not in reasons
            assert found[at] == expected(record)
        elif damage[0] in "cut add":
            assert at in reasons


def damaged(value: bytes, how: str, number: int) -> bytes:
    at = number % len(value)
    if how == "cut":
        return value[:at]
    if how == "add":
        return value + b"\0"
    if how == "flip":
        return value[:at] + bytes([value[at] ^ (1 << number % 8)]) + value[at + 1 :]
    return random.Random(number).randbytes(number)


def of(kind: Any) -> dict[str, Any]:
    return {"type": "record", "name": "One", "fields": [{"name": "x", "type": kind}]}


DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("int", b"\x80\x80\x80\x80\x20", "x: 4294967296 is no int"),
        ("long", b"\xff" * 9 + b"\x02", "x: a number of more than 64 bits"),
        ("long", b"\x80", "x: the record ends before it does"),
        ("boolean", b"\x02", "x: neither true nor false"),
        ("string", b"\x04\xff\xfe", "x: not UTF-8"),
        ("string", b"\x03", "x: the record ends before it does"),  # a length of -2
        ({"type": "enum", "name": "E", "symbols": ["A"]}, b"\x02", "x: choice 1 of 1"),
        (["null", "long"], b"\x04", "x: choice 2 of 2"),
        (DECIMAL, b"\x04\x27\x10", "x: more than 4 digits"),
        (DECIMAL, b"\x00", "x: no decimal of 38 digits"),
        ({"type": "map", "values": "int"}, b"\x04\x02a\x02\x02a\x04\x00", "x: a key twice"),
        (
            {"type": "array", "items": "null"},
            b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f",
            "x: a record with more than 4096",
        ),
        (
            {"type": "array", "items": {"type": "array", "items": "null"}},
            b"\xa0\x1f" + b"\x04\x00" * 2000,
            "4096 items",
        ),
    ],
)
def test_what_a_schema_forbids_is_refused_with_its_field(kind: Any, value: bytes, reason: str) -> None:
    table, reasons = read(of(kind), [b"" if kind == "null" else value])
    assert len(table) == 1
    assert reason in reasons[0]


def test_blocks_of_a_list_may_say_their_size() -> None:
    # Two items in a block with its size, one in a block without.
    table, reasons = read(of({"type": "array", "items": "int"}), [b"\x03\x04\x02\x04\x02\x06\x00"])
    assert (table["x"].to_pylist(), reasons) == ([[1, 2, 3]], {})


def test_a_list_may_have_as_many_items_as_it_says() -> None:
    values = [encoded(of({"type": "array", "items": "int"}), {"x": list(range(count))}) for count in (MOST_ITEMS, 0, 1)]
    table, reasons = read(of({"type": "array", "items": "int"}), values)
    assert (list(map(len, table["x"].to_pylist())), reasons) == ([MOST_ITEMS, 0, 1], {})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "no schema of Avro"),
        ("{}", "no schema of Avro"),
        ('{"type": "record", "name": "A", "fields": [{"name": "a", "type": ["null", "A"]}]}', "A contains itself"),
        ('{"type": "record", "name": "A", "fields": [{"name": "a", "type": "B"}]}', "a is of an unknown type B"),
        ("[" * 100_000, "no schema of Avro"),
    ],
)
def test_a_schema_that_reads_nothing_says_why(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Avro(text)


@pytest.mark.parametrize(
    ("kind", "default", "value"),
    [
        ({"type": "long", "logicalType": "timestamp-millis"}, 1_700_000_000_001, 1_700_000_000_001_000),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, "\u0001\u0002", Decimal("2.58")),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, "\u00ff", Decimal("-0.01")),
        ("bytes", "\u00ff", b"\xff"),
        ("string", "\u00ff", "\u00ff"),
        ("long", 5, 5),
    ],
)
def test_a_default_is_a_value_of_its_column(kind: Any, default: Any, value: Any) -> None:
    schema = {"type": "record", "name": "T", "fields": [{"name": "a", "type": kind, "default": default}]}
    column = Avro(json.dumps(schema)).columns["a"]
    found = pa.scalar(column.default, column.arrow)
    assert (found.value if pa.types.is_timestamp(column.arrow) else found.as_py()) == value
