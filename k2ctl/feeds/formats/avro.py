"""Records of Avro as columns: a schema, and one step of a cursor per field over the whole batch.

A field has no tag and no length in Avro, so one decoder reads the same field of all records at once. Measured on one
core, 50,000 trades of 9 fields and 59 bytes: 0.26 µs a record, where pyruhvro (which knows neither decimals nor bytes)
took 0.32 and fastavro 5.4.

Unions: null and one type are that type; of several single values, their texts; anything else is a struct with a field
per type.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.feeds.formats.cursor import Cursor

MOST_ITEMS: Final = 4096
"""Items of the lists and maps of one record."""

_INT32: Final = 1 << 31
_DECIMAL_BYTES: Final = 16
_DECIMAL_DIGITS: Final = 38
_LONG_DIGITS: Final = 18


class Node(Protocol):
    """One type of a schema."""

    @property
    def arrow(self) -> pa.DataType:
        """The type of its column."""
        ...

    def read(self, cursor: Cursor, rows: np.ndarray, /) -> pa.Array:
        """Its value in each of some records, in order; the cursor steps over it."""
        ...


@dataclass(frozen=True)
class AvroNull:
    """null."""

    arrow: pa.DataType = field(default_factory=pa.null)

    def read(self, _: Cursor, rows: np.ndarray) -> pa.Array:
        """See `Node`."""
        return pa.nulls(len(rows))


@dataclass(frozen=True)
class Boolean:
    """One byte."""

    what: str
    arrow: pa.DataType = field(default_factory=pa.bool_)

    def read(self, cursor: Cursor, rows: np.ndarray) -> pa.Array:
        """See `Node`."""
        value = cursor.raw[cursor.take(rows, 1, self.what)]
        if (value > 1).any():
            cursor.fail(rows[value > 1], f"{self.what}: neither true nor false")
        return pa.array(value == 1)


@dataclass(frozen=True)
class Whole:
    """int and long."""

    what: str
    is_short: bool

    @property
    def arrow(self) -> pa.DataType:
        """See `Node`."""
        return pa.int32() if self.is_short else pa.int64()

    def read(self, cursor: Cursor, rows: np.ndarray) -> pa.Array:
        """See `Node`."""
        return pa.array(self.numbers(cursor, rows), self.arrow)

    def numbers(self, cursor: Cursor, rows: np.ndarray) -> np.ndarray:
        """int64[n]."""
        value = cursor.zigzags(rows, self.what)
        wide = (value >= _INT32) | (value < -_INT32)
        if self.is_short and wide.any():
            cursor.fail(rows[wide], f"{self.what}: {int(value[wide][0])} is no int")
            value = np.where(wide, 0, value)
        return value


@dataclass(frozen=True)
class Time:
    """Days, times of day, and moments. What is none, as the marks that some have for one that is not there, is null."""

    number: Whole
    arrow: pa.DataType
    # What one of the number is, in the column's unit.
    factor: int = 1

    def read(self, cursor: Cursor, rows: np.ndarray) -> pa.Array:
        """See `Node`."""
        return times(self.number.numbers(cursor, rows), self.arrow, self.factor)


_TIMES_BETWEEN: Final = {
    # The years 1 to 9999: beyond them DuckDB fails a whole column, where it does not fail itself.
    pa.timestamp("us"): (-62_135_596_800_000_000, 253_402_300_799_999_999),
    pa.timestamp("ns"): (2 - (1 << 63), (1 << 63) - 2),
    pa.date32(): (-719_162, 2_932_896),
    pa.time32("ms"): (0, 86_399_999),
    pa.time64("us"): (0, 86_399_999_999),
}


def times(numbers: np.ndarray, arrow: pa.DataType, factor: int = 1) -> pa.Array:
    """Numbers as times; null where they are none. factor: what one of the numbers is, in the type's unit."""
    plain = pa.timestamp(arrow.unit) if pa.types.is_timestamp(arrow) else arrow
    low, high = _TIMES_BETWEEN[plain]
    outside = (numbers > high // factor) | (numbers < -(-low // factor))
    scaled = np.where(outside, 0, numbers) * factor
    storage = pa.int32() if arrow.bit_width == 32 else pa.int64()
    return pa.array(scaled, storage, mask=outside if outside.any() else None).view(arrow)


@dataclass(frozen=True)
class Floating:
    """float and double."""

    what: str
    size: int
    arrow: pa.DataType

    def read(self, cursor: Cursor, rows: np.ndarray) -> pa.Array:
        """See `Node`."""
        words = cursor.words(cursor.take(rows, self.size, self.what))
        halves = words if self.size == 8 else words.astype(np.uint32)
        return pa.array(halves.view(f"<f{self.size}"))


@dataclass(frozen=True)
class Bytes:
    """bytes, string and fixed, and what is made of them."""

    what: str
    # None: its length is before it.
    size: int | None
    arrow: pa.DataType

    def read(self, cursor: Cursor, rows: np.ndarray) -> pa.Array:
        """See `Node`."""
        lengths = cursor.zigzags(rows, self.what) if self.size is None else self.size
        begins, ends = cursor.spans(rows, lengths, self.what)
        if pa.types.is_large_string(self.arrow):
            return cursor.texts(rows, begins, ends, self.what)
        if pa.types.is_decimal128(self.arrow):
            return self._decimals(cursor, rows, begins, ends - begins)
        found = cursor.binary(begins, ends)
        if found.type == self.arrow:
            return found
        whole = pc.equal(pc.binary_length(found), self.size)  # a record that failed has fewer bytes
        storage = pc.if_else(whole, found, pa.scalar(bytes(self.size or 0), pa.large_binary()))
        fixed = storage.cast(pa.binary(self.size))
        return pa.ExtensionArray.from_storage(self.arrow, fixed)

    def _decimals(self, cursor: Cursor, rows: np.ndarray, begins: np.ndarray, sizes: np.ndarray) -> pa.Array:
        """Mantissas of two's complement, the highest byte first, as two words each."""
        bad = (sizes < 1) | (sizes > _DECIMAL_BYTES)
        if bad.any():
            cursor.fail(rows[bad], f"{self.what}: no decimal of {_DECIMAL_DIGITS} digits")
            sizes = np.where(bad, 1, sizes)
        long = sizes > 8
        words = np.empty((len(rows), 2), np.int64)
        words[:, 0] = _signed(cursor, np.where(long, begins + sizes - 8, begins), np.where(long, 8, sizes))
        words[:, 1] = words[:, 0] >> 63
        if long.any():
            words[long, 1] = _signed(cursor, begins[long], sizes[long] - 8)
        if self.arrow.precision <= _LONG_DIGITS:
            # DuckDB takes the lower word of such a column unseen.
            beyond = (words[:, 1] != words[:, 0] >> 63) | (np.abs(words[:, 0]) >= 10**self.arrow.precision)
            if beyond.any():
                cursor.fail(rows[beyond], f"{self.what}: more than {self.arrow.precision} digits")
        return pa.Array.from_buffers(self.arrow, len(rows), [None, pa.py_buffer(words)])


def _signed(cursor: Cursor, begins: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """int64[n] of one to eight bytes each, the highest first."""
    signed: np.ndarray = cursor.words(begins).byteswap().view(np.int64) >> ((8 - sizes) * 8)
    return signed


@dataclass(frozen=True)
class Symbols:
    """enum."""

    what: str
    symbols: pa.Array
    arrow: pa.DataType = field(default_factory=lambda: pa.dictionary(pa.int32(), pa.string()))

    def read(self, cursor: Cursor, rows: np.ndarray) -> pa.Array:
        """See `Node`."""
        value = _choice(cursor, rows, len(self.symbols), self.what)
        return pa.DictionaryArray.from_arrays(pa.array(value.astype(np.int32)), self.symbols)


def _choice(cursor: Cursor, rows: np.ndarray, count: int, what: str) -> np.ndarray:
    """int64[n], each below `count`."""
    value = cursor.zigzags(rows, what)
    bad = (value < 0) | (value >= count)
    if bad.any():
        cursor.fail(rows[bad], f"{what}: choice {int(value[bad][0])} of {count}")
        value = np.where(bad, 0, value)
    return value


@dataclass(frozen=True)
class Several:
    """A union."""

    what: str
    branches: tuple[Node, ...]
    names: tuple[str, ...]
    arrow: pa.DataType

    def read(self, cursor: Cursor, rows: np.ndarray) -> pa.Array:
        """See `Node`."""
        choice = _choice(cursor, rows, len(self.branches), self.what)
        found = []
        for number, branch in enumerate(self.branches):
            chosen = choice == number
            if chosen.all():
                values = branch.read(cursor, rows)
            else:
                at = pa.array(np.cumsum(chosen) - 1, pa.int64(), mask=~chosen)
                values = branch.read(cursor, rows[chosen]).take(at)
            if not isinstance(branch, AvroNull):
                found.append(values)
        if pa.types.is_struct(self.arrow):
            return pa.StructArray.from_arrays(found, names=list(self.names))
        if not found:
            return pa.nulls(len(rows))
        return found[0] if len(found) == 1 else pc.coalesce(*(one.cast(self.arrow) for one in found))


@dataclass(frozen=True)
class Field:
    """A field of a record."""

    name: str
    node: Node
    aliases: tuple[str, ...] = ()
    # Of records without it, as JSON.
    default: Any = None

    @property
    def arrow(self) -> pa.DataType:
        """Its type."""
        return self.node.arrow


@dataclass(frozen=True)
class AvroRecord:
    """record."""

    fields: tuple[Field, ...]

    @property
    def arrow(self) -> pa.DataType:
        """See `Node`."""
        return pa.struct([pa.field(one.name, one.arrow) for one in self.fields]) if self.fields else pa.bool_()

    def read(self, cursor: Cursor, rows: np.ndarray) -> pa.Array:
        """See `Node`."""
        if not self.fields:
            return pa.nulls(len(rows), pa.bool_())
        return pa.StructArray.from_arrays(self.values(cursor, rows), names=[one.name for one in self.fields])

    def values(self, cursor: Cursor, rows: np.ndarray) -> list[pa.Array]:
        """Its fields."""
        return [one.node.read(cursor, rows) for one in self.fields]


@dataclass(frozen=True)
class Items:
    """array and map; a map is an array of pairs."""

    what: str
    item: Node
    is_map: bool

    @property
    def arrow(self) -> pa.DataType:
        """See `Node`."""
        if not self.is_map:
            return pa.list_(self.item.arrow)
        return pa.map_(self.item.arrow.field(0).type, self.item.arrow.field(1).type)

    def read(self, cursor: Cursor, rows: np.ndarray) -> pa.Array:
        """See `Node`."""
        owners, parts = [np.zeros(0, np.int64)], [self.item.read(cursor, np.zeros(0, np.int64))]
        going = np.arange(len(rows))
        while len(going):
            left = self._block(cursor, rows[going])
            going, left = going[left > 0], left[left > 0]
            active = going
            while len(active):
                parts.append(self.item.read(cursor, rows[active]))
                owners.append(active)
                left -= 1
                left[cursor.failed[rows[going]]] = 0
                active = going[left > 0]
        owner = np.concatenate(owners)
        values = pa.concat_arrays(parts).take(pa.array(np.argsort(owner, kind="stable")))
        offsets = np.append(0, np.cumsum(np.bincount(owner, minlength=len(rows)))).astype(np.int32)
        if not self.is_map:
            return pa.ListArray.from_arrays(pa.array(offsets), values)
        keys = values.field(0)
        refuse_twice(cursor, rows, np.sort(owner), keys, self.what)
        return pa.MapArray.from_arrays(pa.array(offsets), keys, values.field(1))

    def _block(self, cursor: Cursor, rows: np.ndarray) -> np.ndarray:
        """int64[n]: how many items follow; none ends the list."""
        count = cursor.zigzags(rows, self.what)
        sized = count < 0
        if sized.any():  # its size in bytes follows
            cursor.zigzags(rows[sized], self.what)
            count = np.abs(count)
        cursor.items[rows] += np.where((count < 0) | (count > MOST_ITEMS), MOST_ITEMS + 1, count)
        many = cursor.items[rows] > MOST_ITEMS
        if many.any():
            cursor.fail(rows[many], f"{self.what}: a record with more than {MOST_ITEMS} items")
        return np.where(cursor.failed[rows], 0, count)


def refuse_twice(cursor: Cursor, rows: np.ndarray, owner: np.ndarray, keys: pa.Array, what: str) -> None:
    """A key twice in a map: DuckDB would refuse the whole column. owner: which of the rows has each key."""
    codes = keys.dictionary_encode()
    pairs = owner * (len(codes.dictionary) + 1) + codes.indices.to_numpy()
    _, first = np.unique(pairs, return_index=True)
    cursor.fail(rows[np.unique(np.delete(owner, first))], f"{what}: a key twice")


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
        rows, root = np.arange(len(cursor)), self._root
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
            Field(
                one["name"],
                self.node(one["type"], space, f"{what}.{one['name']}" if what else one["name"]),
                tuple(one.get("aliases", ())),
                one.get("default"),
            )
            for one in schema["fields"]
        )
        self._open.pop()
        return AvroRecord(fields)

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
    if not 0 <= scale <= min(precision, _DECIMAL_DIGITS):
        return None
    return pa.decimal128(min(precision, _DECIMAL_DIGITS), scale)
