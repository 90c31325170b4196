"""Rows as JSON: the same objects as row by row, whatever the values."""

import uuid
from decimal import Decimal

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.query.formats import json_objects, text_column
from tests.made_trades import make_rows, make_trades

INSTANT = pa.timestamp("us", "UTC")


def row_by_row(table: pa.Table) -> list[dict[str, object]]:
    columns = [text_column(column) for column in table.columns]
    return [dict(zip(table.schema.names, row, strict=True)) for row in zip(*columns, strict=True)]


def parsed(table: pa.Table) -> list[dict[str, object]]:
    """The objects, with the values of JSON's own types as texts again."""
    objects = orjson.loads(b"[" + json_objects(table, b",\n") + b"]")
    return [{name: as_text(value) for name, value in row.items()} for row in objects]


def as_text(value: object) -> object:
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def test_trades_are_the_same_objects_as_row_by_row_also_in_a_slice() -> None:
    table = make_rows(make_trades(300)).to_arrow()
    assert parsed(table) == row_by_row(table)
    assert parsed(table.slice(17, 100)) == row_by_row(table)[17:117]
    assert list(parsed(table)[0]) == table.schema.names


@given(st.lists(st.none() | st.text(), min_size=1))
def test_any_text_is_escaped(texts: list[str | None]) -> None:
    table = pa.table({'a "name"': pa.array(texts, pa.string()), "b": pa.array(texts, pa.string()).dictionary_encode()})
    assert parsed(table) == [{'a "name"': text, "b": text} for text in texts]


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1, None, -(2**63)], pa.int64()),
        pa.array([2**64 - 1, None], pa.uint64()),
        pa.array([True, None, False]),
        pa.array([1.5, None, float("nan"), 1e16]),
        pa.array([0, None, 253_402_300_800_000_000], INSTANT),
        pa.array([-1, 253_402_300_800_000_000, 0], INSTANT),
        pa.array([Decimal("-1.5"), None], pa.decimal128(18, 8)),
        pa.array([Decimal("12345678901234567890.5"), None], pa.decimal128(38, 8)),
        pa.array([[1, 2], None]),
        pa.array(["x", None], pa.large_string()),
        pa.array([None, None]),
        pa.array([1, 2, 1]).dictionary_encode(),
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([uuid.UUID(int=5).bytes, None], pa.binary(16))),
    ],
)
def test_columns_of_any_type_are_as_row_by_row(array: pa.Array) -> None:
    table = pa.table({"a": array, "n": pa.array(range(len(array)))})
    assert parsed(table) == row_by_row(table)
    assert parsed(table.slice(1)) == row_by_row(table)[1:]


def test_no_rows_and_no_columns_are_json_too() -> None:
    assert json_objects(pa.table({"a": pa.array([], INSTANT)}), b",") == b""
    assert parsed(pa.table({"a": [1, 2]}).select([])) == [{}, {}]
