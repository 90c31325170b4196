"""Records of Protobuf as columns: a message's fields, read from all records at once.

A field has its tag before it, and fields stand in order of their tags as a rule. So a step reads one field of all
records that come to it next, the lowest tag first; the others wait. Fields in another order take more steps, with the
same result. A field that is there twice is the last one. Measured on one core, 50,000 trades of 6 fields and 52 bytes:
0.32 µs a record, where Google's own library took 4.5 for messages, their attributes and columns of these.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from k2ctl.feeds.formats.avro_fields import MOST_ITEMS, refuse_twice, times
from k2ctl.feeds.formats.cursor import Cursor

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
"""How a value is written, as its tag says."""

_F: Final = FieldDescriptor
_ARROW: Final[dict[int, pa.DataType]] = {
    _F.TYPE_DOUBLE: pa.float64(), _F.TYPE_FLOAT: pa.float32(), _F.TYPE_BOOL: pa.bool_(), _F.TYPE_ENUM: pa.string(),
    _F.TYPE_INT64: pa.int64(), _F.TYPE_SINT64: pa.int64(), _F.TYPE_SFIXED64: pa.int64(),
    _F.TYPE_INT32: pa.int32(), _F.TYPE_SINT32: pa.int32(), _F.TYPE_SFIXED32: pa.int32(),
    _F.TYPE_UINT64: pa.uint64(), _F.TYPE_FIXED64: pa.uint64(),
    _F.TYPE_UINT32: pa.uint32(), _F.TYPE_FIXED32: pa.uint32(),
    _F.TYPE_STRING: pa.large_string(), _F.TYPE_BYTES: pa.large_binary(),
}  # fmt: skip
_WRITTEN: Final = {
    **dict.fromkeys((_F.TYPE_DOUBLE, _F.TYPE_FIXED64, _F.TYPE_SFIXED64), _EIGHT),
    **dict.fromkeys((_F.TYPE_FLOAT, _F.TYPE_FIXED32, _F.TYPE_SFIXED32), _FOUR),
    **dict.fromkeys((_F.TYPE_STRING, _F.TYPE_BYTES, _F.TYPE_MESSAGE), _BYTES),
}
_OF_WORDS: Final[dict[int, Callable[[np.ndarray], np.ndarray]]] = {
    _F.TYPE_DOUBLE: lambda words: words.view(np.float64),
    _F.TYPE_FLOAT: lambda words: words.astype(np.uint32).view(np.float32),
    _F.TYPE_BOOL: lambda words: words != 0,
    _F.TYPE_SINT64: lambda words: _zigzag(words),
    _F.TYPE_SINT32: lambda words: _zigzag(words).astype(np.int32),
    **dict.fromkeys((_F.TYPE_INT64, _F.TYPE_SFIXED64), lambda words: words.view(np.int64)),
    **dict.fromkeys((_F.TYPE_INT32, _F.TYPE_SFIXED32), lambda words: words.astype(np.uint32).view(np.int32)),
    **dict.fromkeys((_F.TYPE_UINT64, _F.TYPE_FIXED64), lambda words: words),
    **dict.fromkeys((_F.TYPE_UINT32, _F.TYPE_FIXED32), lambda words: words.astype(np.uint32)),
}
_TIMESTAMP: Final = "google.protobuf.Timestamp"
_WRAPPERS: Final = tuple(
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
_TAG_MOST: Final = np.uint64((1 << 32) - 1)
_SECONDS_MOST: Final = 9_223_372_035
"""Of a timestamp, in nanoseconds that fit."""


def _zigzag(words: np.ndarray) -> np.ndarray:
    return (words >> np.uint64(1)).view(np.int64) ^ -(words & np.uint64(1)).view(np.int64)


@dataclass(frozen=True)
class Values:
    """What was read of a field, in the order in which it stands in each record.

    rows: int64[k], their records. words: uint64[k], the bits; of what has a length, where it begins. ends: int64[k],
    where that ends.
    """

    rows: np.ndarray
    words: np.ndarray
    ends: np.ndarray

    @staticmethod
    def joined(parts: list["Values"]) -> "Values":
        """Several as one, by record."""
        none = np.zeros(0, np.int64)
        rows = np.concatenate([part.rows for part in parts] or [none])
        words = np.concatenate([part.words for part in parts] or [none.astype(np.uint64)])
        ends = np.concatenate([part.ends for part in parts] or [none])
        order = np.argsort(rows, kind="stable")
        return Values(rows[order], words[order], ends[order])

    def last(self) -> "Values":
        """Of each record the last."""
        kept = np.append(np.diff(self.rows) != 0, True)[: len(self.rows)]
        return self if kept.all() else Values(self.rows[kept], self.words[kept], self.ends[kept])


def _value(cursor: Cursor, rows: np.ndarray, written: int, what: str) -> Values:
    """Step over one value of each record."""
    if written == _VARINT:
        return Values(rows, cursor.varints(rows, what), np.zeros(len(rows), np.int64))
    if written == _BYTES:
        begins, ends = cursor.spans(rows, cursor.varints(rows, what).view(np.int64), what)
        return Values(rows, begins.view(np.uint64), ends)
    size = 8 if written == _EIGHT else 4
    words = cursor.words(cursor.take(rows, size, what))
    return Values(rows, words if size == 8 else words & np.uint64(0xFFFFFFFF), np.zeros(len(rows), np.int64))


@dataclass(frozen=True)
class ProtobufField:
    """A field of a message. Where a record does not have it, it is its default, or null where that is seen."""

    what: str
    declared: FieldDescriptor
    # Of messages; None for a value.
    message: "ProtobufMessage | None"
    aliases: tuple[str, ...] = ()
    default: Any = None

    @property
    def arrow(self) -> pa.DataType:
        """Its column's type."""
        if self._is_map and self.message is not None:
            key, value = self.message.fields
            return pa.map_(key.arrow, value.arrow)
        one = _ARROW[self.declared.type] if self.message is None else self.message.arrow
        return pa.list_(one) if self.declared.is_repeated else one

    @property
    def _is_map(self) -> bool:
        return self.declared.is_repeated and self.message is not None and self.message.is_map_entry

    def tags(self) -> Iterator[tuple[int, int]]:
        """The tags that it may have, and how its values are written behind each."""
        written = _WRITTEN.get(self.declared.type, _VARINT)
        yield self.declared.number << 3 | written, written
        if self.declared.is_repeated and written != _BYTES:
            yield self.declared.number << 3 | _BYTES, _BYTES

    def column(self, cursor: Cursor, read: Mapping[int, list[Values]]) -> pa.Array:
        """Its values in all records. read: by tag."""
        if self.declared.is_repeated:
            return self._list(cursor, Values.joined([part for parts in self._plain(cursor, read) for part in parts]))
        (tag, _), *_ = self.tags()
        found = Values.joined(read.get(tag, [])).last()
        column = self._made(cursor, found)
        if len(found.rows) < len(cursor):
            at = np.full(len(cursor), -1)
            at[found.rows] = np.arange(len(found.rows))
            column = column.take(pa.array(at, mask=at < 0))
        if self.message is None and (not self.declared.has_presence or self.declared.has_default_value):
            column = column.fill_null(pa.scalar(self._default(), column.type))
        return column

    def _default(self) -> Any:
        value = self.declared.default_value
        return self._names()[value] if self.declared.type == _F.TYPE_ENUM else value

    def _plain(self, cursor: Cursor, read: Mapping[int, list[Values]]) -> Iterator[list[Values]]:
        """The values, those that are packed one by one."""
        (tag, written), *packed = self.tags()
        yield read.get(tag, [])
        for several, _ in packed:
            for part in read.get(several, []):
                inner = cursor.between(part.words.view(np.int64), part.ends)
                yield [Values(part.rows[one.rows], one.words, one.ends) for one in _packed(inner, written, self.what)]
                _hand_up(cursor, part.rows, inner)

    def _list(self, cursor: Cursor, found: Values) -> pa.Array:
        counts = np.bincount(found.rows, minlength=len(cursor))
        offsets = pa.array(np.append(0, np.cumsum(counts)).astype(np.int32))
        values = self._made(cursor, found)
        if not self._is_map:
            return pa.ListArray.from_arrays(offsets, values)
        keys = values.field(0)
        refuse_twice(cursor, np.arange(len(cursor)), found.rows, keys, self.what)
        return pa.MapArray.from_arrays(offsets, keys, values.field(1))

    def _made(self, cursor: Cursor, found: Values) -> pa.Array:
        """k values as Arrow has them."""
        kind = self.declared.type
        if kind in _OF_WORDS:
            return pa.array(_OF_WORDS[kind](found.words), _ARROW[kind])
        begins = found.words.view(np.int64)
        if kind == _F.TYPE_STRING:
            return cursor.texts(found.rows, begins, found.ends, self.what)
        if kind == _F.TYPE_BYTES:
            return cursor.binary(begins, found.ends)
        if self.message is not None:
            inner = cursor.between(begins, found.ends)
            values = self.message.array(inner)
            _hand_up(cursor, found.rows, inner)
            return values
        numbers, at = np.unique(found.words.astype(np.uint32).view(np.int32), return_inverse=True)
        names = self._names()
        texts = pa.array([names.get(number, str(number)) for number in numbers.tolist()], pa.string())
        return texts.take(pa.array(at))

    def _names(self) -> dict[int, str]:
        return {value.number: value.name for value in self.declared.enum_type.values}


def _packed(inner: Cursor, written: int, what: str) -> Iterator[Values]:
    """Values that stand one behind the other."""
    going = np.flatnonzero(inner.at < inner.end)
    while len(going):
        _count(inner, going, what)
        yield _value(inner, going, written, what)
        going = going[inner.at[going] < inner.end[going]]


def _count(cursor: Cursor, rows: np.ndarray, what: str) -> None:
    """One more field, or item of a list, in each of some records."""
    cursor.items[rows] += 1
    many = cursor.items[rows] > MOST_ITEMS
    if many.any():
        cursor.fail(rows[many], f"{what}: more than {MOST_ITEMS} fields")


def _hand_up(cursor: Cursor, rows: np.ndarray, inner: Cursor) -> None:
    """A part that is broken breaks its record."""
    for at, reason in inner.reasons.items():
        cursor.fail(rows[[at]], reason)


class ProtobufMessage:
    """A message, which reads records of it."""

    def __init__(self, declared: Descriptor, what: str = "", around: tuple[str, ...] = ()) -> None:
        """around: the messages that have it as a part.

        Raises:
            ValueError: it contains itself, and so has no columns.
        """
        if declared.full_name in around:
            raise ValueError(f"{declared.full_name} contains itself")
        inside = (*around, declared.full_name)
        self.name, self.full_name = declared.name, declared.full_name
        self.is_map_entry = bool(declared.GetOptions().map_entry)
        self.fields = [
            ProtobufField(
                path := f"{what}.{one.name}" if what else one.name,
                one,
                ProtobufMessage(one.message_type, path, inside) if one.type == _F.TYPE_MESSAGE else None,
            )
            for one in declared.fields
            if one.type != _F.TYPE_GROUP
        ]
        self.columns: Mapping[str, ProtobufField] = {one.declared.name: one for one in self.fields}
        self._tags = dict(tag for one in self.fields for tag in one.tags())
        self._known = np.array(sorted(self._tags), np.uint64)

    @property
    def arrow(self) -> pa.DataType:
        """The type of a field of it."""
        if self.full_name == _TIMESTAMP:
            return pa.timestamp("ns", "UTC")
        if self.full_name in _WRAPPERS:
            return self.fields[0].arrow
        fields = [pa.field(name, one.arrow) for name, one in self.columns.items()]
        return pa.struct(fields) if fields else pa.bool_()

    def read(self, cursor: Cursor) -> dict[str, pa.Array]:
        """The columns of all records; those that are none have failed."""
        read = self._scan(cursor)
        return {name: one.column(cursor, read) for name, one in self.columns.items()}

    def array(self, cursor: Cursor) -> pa.Array:
        """As a field of another message."""
        columns = self.read(cursor)
        if self.full_name == _TIMESTAMP:
            seconds, nanos = (columns[name].to_numpy(zero_copy_only=False) for name in ("seconds", "nanos"))
            fits = (abs(seconds) <= _SECONDS_MOST) & (nanos >= 0) & (nanos < 1_000_000_000)
            return times(np.where(fits, seconds * 1_000_000_000 + nanos, np.iinfo(np.int64).max), self.arrow)
        if self.full_name in _WRAPPERS:
            return columns["value"]
        if not columns:
            return pa.array(np.ones(len(cursor), np.bool_))
        return pa.StructArray.from_arrays(list(columns.values()), names=list(columns))

    def _scan(self, cursor: Cursor) -> dict[int, list[Values]]:
        """What each tag has in the records."""
        found = defaultdict[int, list[Values]](list)
        what = self.name
        going = np.flatnonzero(cursor.at < cursor.end)
        tags = cursor.varints(going, what)
        while len(going):
            known = np.isin(tags, self._known)
            here = tags == tags[known].min() if known.all() else ~known
            rows = going[here]
            _count(cursor, rows, what)
            if known.all():
                tag = int(tags[here][0])
                found[tag].append(_value(cursor, rows, self._tags[tag], what))
            else:
                _skip(cursor, rows, tags[here], what)
            next_ = rows[cursor.at[rows] < cursor.end[rows]]
            tags = np.concatenate([tags[~here], cursor.varints(next_, what)])
            going = np.concatenate([going[~here], next_])
        return found


def _skip(cursor: Cursor, rows: np.ndarray, tags: np.ndarray, what: str) -> None:
    """Step over fields that the schema does not have."""
    written = (tags & np.uint64(7)).astype(np.int64)
    for one in (_VARINT, _EIGHT, _BYTES, _FOUR):
        chosen = rows[(written == one) & (tags >= np.uint64(8)) & (tags <= _TAG_MOST)]
        if len(chosen):
            _value(cursor, chosen, one, what)
    bad = ~np.isin(written, (_VARINT, _EIGHT, _BYTES, _FOUR)) | (tags < np.uint64(8)) | (tags > _TAG_MOST)
    for at in np.flatnonzero(bad):
        cursor.fail(rows[[at]], f"{what}: tag {int(tags[at])} begins no field")
