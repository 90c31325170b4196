"""Answers as files and streams: JSON, CSV, Parquet, Arrow.

Prices and quantities are exact decimal texts in JSON and CSV, as in the APIs of exchanges: a JSON number would
be read as a binary fraction. Times are ISO 8601 in UTC, ids are canonical uuids.
"""

import csv
import io
from collections.abc import Callable, Iterator
from typing import IO, Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from k2ctl.query.objects import json_objects
from k2ctl.query.texts import text_column

BINARY: Final = ("parquet", "arrow")
Rows: TypeAlias = pa.Table | pa.RecordBatchReader
"""A whole answer, or one that is still being computed and is written as it comes."""

_BATCH_ROWS: Final = 10_000


def _parts(rows: Rows) -> Iterator[pa.Table]:
    """The rows in tables of bounded size."""
    whole = [rows] if isinstance(rows, pa.Table) else (pa.Table.from_batches([batch]) for batch in rows)
    for table in whole:
        for start in range(0, len(table), _BATCH_ROWS):
            yield table.slice(start, _BATCH_ROWS)


def _records(rows: Rows) -> Iterator[list[tuple[Any, ...]]]:
    """The rows in batches, every value as it is to be written."""
    for part in _parts(rows):
        yield list(zip(*(text_column(column) for column in part.columns), strict=True))


def write_json(rows: Rows, sink: IO[bytes]) -> None:
    """A list of objects, one line each."""
    first = True
    sink.write(b"[")
    for part in _parts(rows):
        sink.write(b"\n" if first else b",\n")
        sink.write(json_objects(part, b",\n"))
        first = False
    sink.write(b"]\n" if first else b"\n]\n")


def write_csv(rows: Rows, sink: IO[bytes]) -> None:
    """A header and one line per row; null is an empty field."""
    text = io.TextIOWrapper(sink, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows.schema.names)
    for records in _records(rows):
        writer.writerows(records)
    text.detach()


def write_parquet(rows: Rows, sink: IO[bytes]) -> None:
    """One Parquet file, decimals and uuids by their logical types."""
    if isinstance(rows, pa.Table):
        pq.write_table(rows, sink, compression="zstd")
        return
    with pq.ParquetWriter(sink, rows.schema, compression="zstd") as writer:
        for batch in rows:
            writer.write_batch(batch)


def write_arrow(rows: Rows, sink: IO[bytes]) -> None:
    """An Arrow IPC stream."""
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        for part in _parts(rows):
            writer.write_table(part)


WRITERS: Final[dict[str, Callable[[Rows, IO[bytes]], None]]] = {
    "json": write_json,
    "csv": write_csv,
    "parquet": write_parquet,
    "arrow": write_arrow,
}
