"""Rows of Spark, which come as JSON, are Arrow's of the same types and values."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa

from k2ctl.spark.rows import batch_of, schema_of

FIELDS = [
    {"name": "price", "type": "decimal(38,12)"},
    {"name": "at", "type": "timestamp"},
    {"name": "day", "type": "date"},
    {"name": "raw", "type": "binary"},
    {"name": "codes", "type": {"type": "array", "elementType": "string", "containsNull": True}},
    {"name": "parts", "type": {"type": "struct", "fields": [{"name": "n", "type": "long"}]}},
    {"name": "by", "type": {"type": "map", "keyType": "string", "valueType": "decimal(4,2)"}},
    {"name": "span", "type": "interval day to second"},
    {"name": "at", "type": "timestamp_ntz"},
]
ROW = ["0.100000000001", "2026-11-30T01:02:03.000004", "2026-11-30", "00ff", ["XT", None], [7], [["a", "1.50"]], "P1D",
       "2026-11-30T01:02:03"]  # fmt: skip


def test_values_have_the_types_of_spark_and_lose_nothing() -> None:
    schema = schema_of(FIELDS)
    assert schema.names == ["price", "at", "day", "raw", "codes", "parts", "by", "span", "at_1"]
    assert schema.field("price").type == pa.decimal128(38, 12)
    found = [column.to_pylist() for column in batch_of(schema, [ROW, [None] * len(ROW)]).columns]
    assert [first for first, _ in found] == [
        Decimal("0.100000000001"),
        datetime(2026, 11, 30, 1, 2, 3, 4, tzinfo=UTC),
        date(2026, 11, 30),
        b"\x00\xff",
        ["XT", None],
        {"n": 7},
        [("a", Decimal("1.50"))],
        "P1D",
        datetime(2026, 11, 30, 1, 2, 3),
    ]
    assert all(second is None for _, second in found)


def test_no_rows_have_their_columns() -> None:
    assert batch_of(schema_of(FIELDS), []).num_rows == 0
