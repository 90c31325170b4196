"""A sample of records whose schemas a registry has, as columns."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import duckdb
import pyarrow as pa

from k2ctl.errors import UsageError
from k2ctl.feeds.formats.registry_records import RegistryRecords
from k2ctl.feeds.guess.columns import SampleColumn
from k2ctl.feeds.guess.document import FeedSample
from k2ctl.feeds.guess.naming import is_plain
from k2ctl.feeds.mapping.mapping import Parts
from k2ctl.kafka.reader import Fetched
from k2ctl.kafka.registry import SchemaRegistry
from k2ctl.lake.columns import quoted
from k2ctl.lake.duckdb_files import silent
from k2ctl.profiles.feed import Format

_HEAD: Final = 5
_OF_ROWS: Final = ("_record", "_index", "_bad")
_FORMATS: Final[dict[str, Format]] = {"AVRO": "avro", "PROTOBUF": "protobuf"}
_DEPTH: Final = 4


def is_framed(value: bytes) -> bool:
    """True if a record may be in Confluent's wire format."""
    return value[:1] == b"\0" and len(value) > _HEAD


def schema_number(value: bytes) -> int:
    """The number of the schema of a record in Confluent's wire format."""
    return int.from_bytes(value[1:_HEAD], "big")


def sample_of_registry(topic: str, fetched: Fetched, address: str) -> FeedSample:
    """The trades of some records.

    Raises:
        UsageError: the registry does not have their schema, or it cannot be read.
        RegistryUnanswered: the registry does not answer.
    """
    try:
        registry = SchemaRegistry(address)
    except ValueError as error:
        raise UsageError(f"--registry: {error}", "Name the registry's address: --registry http://host:8081") from error
    number = schema_number(next(value for value in reversed(fetched.values) if is_framed(value)))
    schema = registry.schema(number)
    if schema is None or schema.kind not in _FORMATS:
        what = "does not have" if schema is None else f"has as {schema.kind}"
        raise UsageError(
            f"{address} {what} schema {number}, of the newest record of {topic}.", "Name its own registry."
        )
    parts = RegistryRecords(registry).prepare(fetched.values, {})
    if not any(len(one.table) for one in parts.prepared):
        reason = parts.broken[0][1] if parts.broken else "there are none"
        raise UsageError(f"No record of {topic} can be read: {reason}", "See its records: k2ctl topic tail " + topic)
    remarks = [f"{len(parts.broken):,} records cannot be read."] if parts.broken else []
    settings = {"topic": topic, "registry": address}
    return FeedSample(topic, _FORMATS[schema.kind], _columns(parts), settings=settings, of_files=False, remarks=remarks)


def _columns(parts: Parts) -> list[SampleColumn]:
    """The columns of all schemas, each with its type in the last."""
    tables = [one.table for one in parts.prepared]
    found: dict[str, list[SampleColumn | None]] = {}
    for at, table in enumerate(tables):
        for column in typed_columns(table.select([name for name in table.column_names if name not in _OF_ROWS])):
            found.setdefault(column.sql or column.name, [None] * len(tables))[at] = column
    counts = [len(table) for table in tables]
    return [_joined(several, counts) for several in found.values()]


def _joined(several: Sequence[SampleColumn | None], counts: Sequence[int]) -> SampleColumn:
    last = next(column for column in reversed(several) if column is not None)
    values: list[str | None] = []
    for column, count in zip(several, counts, strict=True):
        values += [None] * count if column is None else column.values
    return SampleColumn(last.name, tuple(values), kind=last.kind, is_list=last.is_list, sql=last.sql)


def typed_columns(table: pa.Table) -> list[SampleColumn]:
    """The columns of a source that has types, with their values as texts; those within others as well."""
    with silent(duckdb.connect()) as connection:
        rows = connection.from_arrow(table)
        places = [place for name, kind in zip(rows.columns, rows.types, strict=True) for place in _places(name, kind)]
        if not places or not len(table):
            return []
        fetched = rows.project(", ".join(f"CAST({sql} AS VARCHAR)" for _, sql, _ in places)).fetchall()
    return [
        SampleColumn(
            name,
            tuple(column),
            kind=kind,
            is_list=kind.endswith("]"),
            sql=sql if sql not in (name, quoted(name)) else "",
        )
        for (name, sql, kind), column in zip(places, zip(*fetched, strict=True), strict=True)
    ]


def _places(name: str, kind: Any, around: str = "", depth: int = 0) -> Iterator[tuple[str, str, str]]:
    """Name, expression and type of a column or, of one that has parts, of these."""
    own = name if is_plain(name) else quoted(name)
    sql = f"{around}.{own}" if around else own
    if kind.id == "struct" and depth < _DEPTH:
        for part, of_part in kind.children:
            yield from _places(part, of_part, sql, depth + 1)
    else:
        yield name, sql, str(kind)
