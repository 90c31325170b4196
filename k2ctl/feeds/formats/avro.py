"""Records of Avro as columns: a schema, and one step of a cursor per field over the whole batch."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from k2ctl.feeds.formats.avro_fields import (
    DECIMAL_DIGITS,
    AvroNull,
    AvroRecord,
    Boolean,
    Bytes,
    Field,
    Floating,
    Items,
    Node,
    Several,
    Symbols,
    Time,
    Whole,
)
from k2ctl.feeds.formats.cursor import Cursor


class Avro:
    """A schema, which reads the records that were written with it."""

    def __init__(self, text: str, references: Sequence[str] = ()) -> None:
        """text: in JSON. references: schemas whose types it names, each behind those that it names itself.

        Raises:
            ValueError: it is no schema of Avro, or one that has no columns.
        """
        types = _Types()
        try:
            for one in references:
                types.node(json.loads(one), "", "")
            schema = json.loads(text)
            self._root = types.node(schema, "", "")
        except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
            reason = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
            raise ValueError(f"no schema of Avro that is read: {reason}") from error
        root = self._root
        self.full_name = str(schema.get("name", "")) if isinstance(root, AvroRecord) else ""
        self.name = self.full_name.rpartition(".")[2]
        self.columns: Mapping[str, Field] = (
            {one.name: one for one in root.fields} if isinstance(root, AvroRecord) else {"value": Field("value", root)}
        )

    def read(self, cursor: Cursor) -> dict[str, pa.Array]:
        """The columns of all records; those that are none have failed."""
        rows, root = cursor.every, self._root
        found = root.values(cursor, rows) if isinstance(root, AvroRecord) else [root.read(cursor, rows)]
        over = rows[cursor.at < cursor.end]
        if len(over):
            cursor.fail(over, "bytes behind the last field")
        return dict(zip(self.columns, found, strict=True))


class _Types:
    """The named types of a schema, as they are met."""

    def __init__(self) -> None:
        self._named: dict[str, Any] = {}
        self._open: list[str] = []

    def node(self, schema: Any, space: str, what: str) -> Node:
        """Raises:
        ValueError: a type contains itself, or is unknown.
        """
        if isinstance(schema, list):
            return self._union(schema, space, what)
        if isinstance(schema, str):
            return _single(schema, {}, what) or self._known(schema, space, what)
        kind = schema["type"]
        if isinstance(kind, list | dict):
            return self.node(kind, space, what)
        if kind in ("record", "error", "enum", "fixed"):
            return self._define(schema, space, what)
        if kind == "array":
            return Items(what, self.node(schema["items"], space, what), is_map=False)
        if kind == "map":
            key, value = Bytes(what, None, pa.large_string()), self.node(schema["values"], space, what)
            return Items(what, AvroRecord((Field("key", key), Field("value", value))), is_map=True)
        return _single(kind, schema, what) or self._known(kind, space, what)

    def _known(self, name: str, space: str, what: str) -> Node:
        for full in (f"{space}.{name}", name):
            if full in self._named:
                schema, its_space = self._named[full]
                return self._built(full, schema, its_space, what)
        raise ValueError(f"{what or 'the schema'} is of an unknown type {name}")

    def _define(self, schema: dict[str, Any], space: str, what: str) -> Node:
        name = schema["name"]
        space = name.rpartition(".")[0] or schema.get("namespace", space)
        full = f"{space}.{name.rpartition('.')[2]}" if space else name
        self._named[full] = (schema, space)
        return self._built(full, schema, space, what)

    def _built(self, full: str, schema: dict[str, Any], space: str, what: str) -> Node:
        if schema["type"] == "enum":
            return Symbols(what, pa.array(schema["symbols"], pa.string()))
        if schema["type"] == "fixed":
            return _sized(schema, int(schema["size"]), what)
        if full in self._open:
            raise ValueError(f"{full} contains itself")
        self._open.append(full)
        fields = tuple(
            self._field(one, space, f"{what}.{one['name']}" if what else one["name"]) for one in schema["fields"]
        )
        self._open.pop()
        return AvroRecord(fields)

    def _field(self, schema: dict[str, Any], space: str, what: str) -> Field:
        node = self.node(schema["type"], space, what)
        aliases = tuple(schema.get("aliases", ()))
        return Field(schema["name"], node, aliases, _default(node, schema.get("default")))

    def _union(self, schemas: list[Any], space: str, what: str) -> Node:
        branches = tuple(self.node(one, space, what) for one in schemas)
        there = [(node, one) for node, one in zip(branches, schemas, strict=True) if not isinstance(node, AvroNull)]
        names = tuple(_name_of(one) for _, one in there)
        if len(there) <= 1:
            return Several(what, branches, names, there[0][0].arrow if there else pa.null())
        if all(isinstance(node, Boolean | Whole | Floating | Symbols) or _is_text(node) for node, _ in there):
            return Several(what, branches, names, pa.large_string())
        fields = [pa.field(name, node.arrow) for name, (node, _) in zip(names, there, strict=True)]
        return Several(what, branches, names, pa.struct(fields))


def _default(node: Node, value: Any) -> Any:
    """A default as a value of the field's column: a schema has bytes as the text of their code points."""
    if isinstance(node, Time) and isinstance(value, int):
        return value * node.factor
    if isinstance(node, Bytes) and isinstance(value, str) and not pa.types.is_large_string(node.arrow):
        raw = value.encode("latin-1")
        if pa.types.is_decimal128(node.arrow):
            return Decimal(int.from_bytes(raw, "big", signed=True)).scaleb(-node.arrow.scale)
        return raw
    return value


def _is_text(node: Node) -> bool:
    return isinstance(node, Bytes) and (pa.types.is_large_string(node.arrow) or pa.types.is_decimal128(node.arrow))


def _name_of(schema: Any) -> str:
    """A branch of a union by its type's name, without the namespace."""
    name = schema if isinstance(schema, str) else schema.get("name", schema["type"])
    return str(name).rpartition(".")[2]


_TIMES: Final = {
    "date": (True, pa.date32(), 1),
    "time-millis": (True, pa.time32("ms"), 1),
    "time-micros": (False, pa.time64("us"), 1),
    "timestamp-millis": (False, pa.timestamp("us", "UTC"), 1000),
    "timestamp-micros": (False, pa.timestamp("us", "UTC"), 1),
    "timestamp-nanos": (False, pa.timestamp("ns", "UTC"), 1),
    "local-timestamp-millis": (False, pa.timestamp("us"), 1000),
    "local-timestamp-micros": (False, pa.timestamp("us"), 1),
    "local-timestamp-nanos": (False, pa.timestamp("ns"), 1),
}
"""Whether it is an int, its column, and what one of its numbers is there."""


def _single(kind: str, schema: dict[str, Any], what: str) -> Node | None:
    """A type that needs no name; None if it is not one. A logical type that is unknown, or does not fit, is none."""
    logical = schema.get("logicalType")
    if kind == "null":
        return AvroNull()
    if kind == "boolean":
        return Boolean(what)
    if kind in ("int", "long"):
        number = Whole(what, kind == "int")
        is_short, arrow, factor = _TIMES.get(str(logical), (None, None, 1))
        return Time(number, arrow, factor) if is_short == number.is_short else number
    if kind in ("float", "double"):
        return Floating(what, 4, pa.float32()) if kind == "float" else Floating(what, 8, pa.float64())
    if kind == "string":
        return Bytes(what, None, pa.large_string())
    if kind == "bytes":
        return Bytes(what, None, _decimal(schema) or pa.large_binary())
    return None


def _sized(schema: dict[str, Any], size: int, what: str) -> Node:
    if schema.get("logicalType") == "uuid" and size == 16:
        return Bytes(what, size, pa.uuid())
    return Bytes(what, size, _decimal(schema) or pa.large_binary())


def _decimal(schema: dict[str, Any]) -> pa.DataType | None:
    if schema.get("logicalType") != "decimal":
        return None
    precision, scale = int(schema["precision"]), int(schema.get("scale", 0))
    if not 0 <= scale <= min(precision, DECIMAL_DIGITS):
        return None
    return pa.decimal128(min(precision, DECIMAL_DIGITS), scale)
