"""Rows of Spark as Arrow's: the driver sends them as JSON, decimals and times as texts, which lose nothing."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from k2ctl.query.carried import distinct_names

_SIMPLE: Final = {
    "string": pa.string(),
    "boolean": pa.bool_(),
    "byte": pa.int8(),
    "short": pa.int16(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
    "binary": pa.binary(),
    "void": pa.null(),
}
_DECIMAL: Final = re.compile(r"decimal\((\d+),(-?\d+)\)")


def schema_of(fields: Sequence[dict[str, Any]]) -> pa.Schema:
    """The columns of a frame, as Spark writes its schema in JSON. Types that Arrow lacks are texts."""
    names = distinct_names([field["name"] for field in fields])
    return pa.schema([(name, _type(field["type"])) for name, field in zip(names, fields, strict=True)])


def _type(kind: Any) -> pa.DataType:
    if isinstance(kind, str):
        decimal = _DECIMAL.fullmatch(kind)
        return pa.decimal128(int(decimal[1]), int(decimal[2])) if decimal else _SIMPLE.get(kind, pa.string())
    if kind["type"] == "array":
        return pa.list_(_type(kind["elementType"]))
    if kind["type"] == "map":
        return pa.map_(_type(kind["keyType"]), _type(kind["valueType"]))
    if kind["type"] == "struct":
        return pa.struct([(field["name"], _type(field["type"])) for field in kind["fields"]])
    return pa.string()


def batch_of(schema: pa.Schema, rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    """Some rows as the driver sends them."""
    columns = zip(*rows, strict=True) if rows else ([] for _ in schema)
    arrays = [
        pa.array([_value(field.type, value) for value in column], field.type)
        for field, column in zip(schema, columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _value(kind: pa.DataType, value: Any) -> Any:
    if value is None:
        return None
    if pa.types.is_decimal(kind):
        return Decimal(value)
    if pa.types.is_timestamp(kind):
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if kind.tz else moment
    if pa.types.is_date(kind):
        return date.fromisoformat(value)
    if pa.types.is_binary(kind):
        return bytes.fromhex(value)
    if pa.types.is_list(kind):
        return [_value(kind.value_type, part) for part in value]
    if pa.types.is_map(kind):
        return [(_value(kind.key_type, key), _value(kind.item_type, part)) for key, part in value]
    if pa.types.is_struct(kind):
        parts = ((kind.field(at), part) for at, part in enumerate(value))
        return {field.name: _value(field.type, part) for field, part in parts}
    return value
