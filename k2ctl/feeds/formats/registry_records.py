"""Records in Confluent's wire format: a zero, the number of a schema in four bytes, and the value by that schema.

A schema changes in the middle of a topic, so a batch is taken apart by schemas, and each part has its own columns. What
other schemas of the topic have beside is added to them: the field that has the name as an alias, else the default, else
null. So a field that comes or goes makes no record unreadable whose trade does not need it.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import pyarrow as pa

from k2ctl.feeds.formats.avro import Avro
from k2ctl.feeds.formats.cursor import Cursor
from k2ctl.feeds.mapping.mapping import Parts, Prepared
from k2ctl.kafka.registry import Registered, SchemaRegistry

if TYPE_CHECKING:
    from k2ctl.feeds.formats.protobuf_schema import ProtobufSchema

SCHEMA_COLUMN: Final = "kafka_schema"
"""The name of a record's schema, for topics that hold several kinds."""

_HEAD: Final = 5
_HEADS: Final = np.dtype([("magic", "u1"), ("number", ">u4"), ("behind", "V3")])


LOG: Final = logging.getLogger("k2ctl.feeds")


class SchemaColumn(Protocol):
    """A column that a schema has."""

    @property
    def arrow(self) -> pa.DataType:
        """Its type."""
        ...

    @property
    def aliases(self) -> Sequence[str]:
        """Its names in other schemas."""
        ...

    @property
    def default(self) -> Any:
        """Its value in records without it."""
        ...


class RecordSchema(Protocol):
    """A schema that reads records."""

    @property
    def name(self) -> str:
        """As its author named it."""
        ...

    @property
    def full_name(self) -> str:
        """The same with the namespace."""
        ...

    @property
    def columns(self) -> Mapping[str, SchemaColumn]:
        """By name."""
        ...

    def read(self, cursor: Cursor, /) -> dict[str, pa.Array]:
        """The columns of all records; those that are none have failed."""
        ...


@dataclass(frozen=True)
class Unreadable:
    """A schema that reads nothing, and why."""

    reason: str


class RegistryRecords:
    """The columns of records whose schemas a registry has."""

    def __init__(self, registry: SchemaRegistry, message: str | None = None) -> None:
        """message: of Protobuf's messages the one that is a trade; None: all are."""
        self._registry = registry
        self._message = message
        self._schemas: dict[int, Avro | ProtobufSchema | Unreadable] = {}
        # Columns of all schemas that were met, and of the newest of their subjects.
        self._columns: dict[str, SchemaColumn] = {}

    def sample(self, topic: str, columns: dict[str, pa.Array]) -> Prepared | None:
        """No rows of the columns that the newest schema of a topic has; None if the registry has none for it.

        columns: of the records, none.

        Raises:
            RegistryUnanswered: the registry does not answer.
        """
        newest = self._registry.newest(f"{topic}-value")
        layout = None if newest is None else self._first(_schema(newest))
        if layout is None:
            return None
        self._columns |= layout.columns
        return self._prepared(layout, Cursor([]), np.zeros(0, np.int64), columns)

    def prepare(self, values: Sequence[bytes], columns: dict[str, pa.Array]) -> Parts:
        """The columns of n record values. columns: of the records, n each.

        Raises:
            RegistryUnanswered: a schema is needed that the registry does not give now.
        """
        whole = Cursor(values)
        heads = whole.words(whole.at).view(_HEADS)
        framed = (heads["magic"] == 0) & (whole.end - whole.at >= _HEAD)
        broken = [(at, _why_unframed(values[at])) for at in np.flatnonzero(~framed).tolist()]
        rows = whole.every if not broken else np.flatnonzero(framed)
        whole.take(rows, _HEAD, "the number of a schema")
        prepared, filtered = list[Prepared](), [np.zeros(0, np.int64)]
        of_schema = heads["number"][rows]
        alike = len(of_schema) and (of_schema == of_schema[0]).all()
        numbers = of_schema[:1].tolist() if alike else np.unique(of_schema).tolist()
        for number in numbers:  # all of them first: what one has, the others are given
            self._learn(number)
        for number in numbers:
            of_it, schema = rows if alike else rows[of_schema == number], self._schemas.get(number)
            if schema is None or isinstance(schema, Unreadable):
                reason = f"schema {number}: {schema.reason}" if schema else f"the registry knows no schema {number}"
                broken += [(at, reason) for at in of_it.tolist()]
                continue
            cursor = whole.of(of_it)
            for layout, chosen in _parts(schema, cursor):
                if self._message not in (None, layout.name, layout.full_name):
                    filtered.append(of_it[chosen])
                    continue
                part = cursor.of(chosen)
                prepared.append(self._prepared(layout, part, of_it[chosen], columns))
                for at, why in part.reasons.items():
                    cursor.reasons[int(chosen[at])] = why
            broken += [(int(of_it[at]), f"schema {number}: {why}") for at, why in cursor.reasons.items()]
        return Parts(prepared, broken, filtered=np.concatenate(filtered))

    def why_bad(self, _: bytes) -> str:
        """No row of these says that its record is none."""
        raise AssertionError("a record of a schema is broken, or none of its rows is bad")

    def alone(self, value: bytes) -> list[bytes]:
        """A record is one trade."""
        return [value]

    def _learn(self, number: int) -> None:
        """Ask for a schema, once, and for the newest ones of its subjects."""
        if number in self._schemas:
            return
        found = self._registry.schema(number)
        if found is None:
            return
        schema = _schema(found)
        layout = self._first(schema)
        if layout is not None:
            self._columns = {**layout.columns, **self._columns}
            for subject in self._registry.subjects(number):
                newest = self._registry.newest(subject)
                other = None if newest is None else self._first(_schema(newest))
                self._columns |= {} if other is None else other.columns
        self._schemas[number] = schema

    def _first(self, schema: "Avro | ProtobufSchema | Unreadable") -> RecordSchema | None:
        """What a record of a schema is, where that is one thing."""
        if isinstance(schema, Unreadable):
            return None
        return schema if isinstance(schema, Avro) else schema.message(self._message)

    def _prepared(
        self, layout: RecordSchema, cursor: Cursor, rows: np.ndarray, columns: dict[str, pa.Array]
    ) -> Prepared:
        read = layout.read(cursor)
        count = len(cursor)
        for name, column in self._columns.items():
            if name not in read:
                read[name] = _added(name, column, layout, read, count)
        whole = len(rows) == count and all(len(one) == count for one in columns.values())
        beside = columns if whole else {name: one.take(pa.array(rows)) for name, one in columns.items()}
        table = pa.table(
            {
                **read,
                SCHEMA_COLUMN: pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int8)), [layout.name]),
                **beside,
                "_record": rows,
                "_index": np.zeros(count, np.int32),
                "_bad": pa.array(np.zeros(count, np.bool_)),
            }
        )
        return Prepared(table.filter(pa.array(~cursor.failed)) if cursor.failed.any() else table)


def _added(name: str, column: SchemaColumn, layout: RecordSchema, read: dict[str, pa.Array], count: int) -> pa.Array:
    """A column that a schema does not have: it is there by another name, or has a default, or is null."""
    for other, own in layout.columns.items():
        if name in own.aliases or other in column.aliases:
            return read[other]
    if column.default is None:
        return pa.nulls(count, column.arrow)
    try:
        return pa.repeat(pa.scalar(column.default, column.arrow), count)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        _note_default(name, repr(column.default)[:40], str(error))
        return pa.nulls(count, column.arrow)


@lru_cache(256)
def _note_default(name: str, default: str, reason: str) -> None:
    """Says once that a default is none of its type, and so null."""
    LOG.warning("the default %s of %s is none of its type, and counts as null: %s", default, name, reason)


def _schema(found: Registered) -> "Avro | ProtobufSchema | Unreadable":
    try:
        if found.kind == "AVRO":
            return Avro(found.text, [text for _, text in found.references])
        if found.kind == "PROTOBUF":
            # What it brings takes a while to import, and only topics of Protobuf need it.
            from k2ctl.feeds.formats.protobuf_schema import ProtobufSchema

            return ProtobufSchema(found)
    except ValueError as error:
        return Unreadable(str(error))
    return Unreadable(f"is of {found.kind}, which is not read")


def _parts(schema: "Avro | ProtobufSchema", cursor: Cursor) -> Iterator[tuple[RecordSchema, np.ndarray]]:
    """What records of a schema are, and which of them."""
    if isinstance(schema, Avro):
        yield schema, cursor.every
    else:
        yield from schema.parts(cursor)


def _why_unframed(value: bytes) -> str:
    if not value:
        return "empty value"
    if len(value) < _HEAD:
        return f"{len(value)} bytes, shorter than the number of a schema"
    return f"begins with byte {value[0]}, not with the 0 of a schema's number"
