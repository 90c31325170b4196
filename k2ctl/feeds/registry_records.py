"""Records in Confluent's wire format: a zero, the number of a schema in four bytes, and the value by that schema.

A schema changes in the middle of a topic, so a batch is taken apart by schemas, and each part has its own columns. What
other schemas of the topic have beside is added to them: the field that has the name as an alias, else the default, else
null. So a field that comes or goes makes no record unreadable whose trade does not need it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa

from k2ctl.feeds.avro import Avro
from k2ctl.feeds.cursor import Cursor
from k2ctl.feeds.mapping import Parts, Prepared
from k2ctl.kafka.registry import Registered, SchemaRegistry

SCHEMA_COLUMN: Final = "kafka_schema"
"""The name of a record's schema, for topics that hold several kinds."""

_HEAD: Final = 5
_HEADS: Final = np.dtype([("magic", "u1"), ("number", ">u4"), ("behind", "V3")])


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
        """Its value in records without it, as JSON has it."""
        ...


class RecordSchema(Protocol):
    """A schema that reads records."""

    @property
    def name(self) -> str:
        """As its author named it."""
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

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._layouts: dict[int, RecordSchema | Unreadable] = {}
        # Columns of all schemas that were met, and of the newest of their subjects.
        self._columns: dict[str, SchemaColumn] = {}

    def sample(self, topic: str, columns: dict[str, pa.Array]) -> Prepared | None:
        """No rows of the columns that the newest schema of a topic has; None if the registry has none for it.

        columns: of the records, none.

        Raises:
            RegistryUnanswered: the registry does not answer.
        """
        newest = self._registry.newest(f"{topic}-value")
        layout = None if newest is None else _layout(newest)
        if layout is None or isinstance(layout, Unreadable):
            return None
        self._columns |= layout.columns
        return self._prepared(layout, Cursor([]), np.zeros(0, np.int64), columns)

    def prepare(self, values: Sequence[bytes], columns: dict[str, pa.Array]) -> Parts:
        """The columns of n record values. columns: of the records, n each.

        Raises:
            RegistryUnanswered: a schema is needed that the registry does not give now.
        """
        whole = Cursor(values)
        rows = np.arange(len(values))
        heads = whole.words(whole.at).view(_HEADS)
        framed = (heads["magic"] == 0) & (whole.end - whole.at >= _HEAD)
        broken = [(at, _why_unframed(values[at])) for at in np.flatnonzero(~framed).tolist()]
        whole.take(rows[framed], _HEAD, "the number of a schema")
        prepared = []
        numbers = np.unique(heads["number"][framed]).tolist()
        for number in numbers:  # all of them first: what one has, the others are given
            self._learn(number)
        for number in numbers:
            rows, layout = np.flatnonzero(framed & (heads["number"] == number)), self._layouts.get(number)
            if layout is None or isinstance(layout, Unreadable):
                reason = (
                    f"the registry knows no schema {number}" if layout is None else f"schema {number}: {layout.reason}"
                )
                broken += [(int(at), reason) for at in rows]
                continue
            cursor = whole.of(rows)
            prepared.append(self._prepared(layout, cursor, rows, columns))
            broken += [(int(rows[at]), f"schema {number}: {why}") for at, why in cursor.reasons.items()]
        return Parts(prepared, broken)

    def why_bad(self, _: bytes) -> str:
        """No row of these says that its record is none."""
        raise AssertionError("a record of a schema is broken, or none of its rows is bad")

    def alone(self, value: bytes) -> list[bytes]:
        """A record is one trade."""
        return [value]

    def _learn(self, number: int) -> None:
        """Ask for a schema, once, and for the newest ones of its subjects."""
        if number in self._layouts:
            return
        found = self._registry.schema(number)
        if found is None:
            return
        layout = _layout(found)
        if not isinstance(layout, Unreadable):
            self._columns = {**layout.columns, **self._columns}
            for subject in self._registry.subjects(number):
                newest = self._registry.newest(subject)
                other = None if newest is None else _layout(newest)
                if other is not None and not isinstance(other, Unreadable):
                    self._columns |= other.columns
        self._layouts[number] = layout

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
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return pa.nulls(count, column.arrow)


def _layout(schema: Registered) -> RecordSchema | Unreadable:
    try:
        if schema.kind == "AVRO":
            return Avro(schema.text, [text for _, text in schema.references])
    except ValueError as error:
        return Unreadable(str(error))
    return Unreadable(f"is of {schema.kind}, which is not read")


def _why_unframed(value: bytes) -> str:
    if not value:
        return "empty value"
    if len(value) < _HEAD:
        return f"{len(value)} bytes, shorter than the number of a schema"
    return f"begins with byte {value[0]}, not with the 0 of a schema's number"
