"""Answers as files and streams: JSON, CSV, Parquet, Arrow.

Prices and quantities are exact decimal texts in JSON and CSV, as in the APIs of exchanges: a JSON number would
be read as a binary fraction. Times are ISO 8601 in UTC, ids are canonical uuids.
"""

import csv
import io
from collections.abc import Callable, Iterator
from typing import IO, Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from k2ctl.query.texts import text_column

BINARY: Final = ("parquet", "arrow")
_BATCH_ROWS: Final = 10_000


def _records(table: pa.Table) -> Iterator[list[tuple[Any, ...]]]:
    """The rows in batches, every value as it is to be written."""
    for start in range(0, len(table), _BATCH_ROWS):
        part = table.slice(start, _BATCH_ROWS)
        yield list(zip(*(text_column(column) for column in part.columns), strict=True))


def write_json(table: pa.Table, sink: IO[bytes]) -> None:
    """A list of objects, one line each."""
    names, first = table.schema.names, True
    sink.write(b"[")
    for records in _records(table):
        for record in records:
            sink.write(b"\n" if first else b",\n")
            sink.write(orjson.dumps(dict(zip(names, record, strict=True))))
            first = False
    sink.write(b"]\n" if first else b"\n]\n")


def write_csv(table: pa.Table, sink: IO[bytes]) -> None:
    """A header and one line per row; null is an empty field."""
    text = io.TextIOWrapper(sink, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.schema.names)
    for records in _records(table):
        writer.writerows(records)
    text.detach()


def write_parquet(table: pa.Table, sink: IO[bytes]) -> None:
    """One Parquet file, decimals and uuids by their logical types."""
    pq.write_table(table, sink, compression="zstd")


def write_arrow(table: pa.Table, sink: IO[bytes]) -> None:
    """An Arrow IPC stream."""
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=_BATCH_ROWS)


WRITERS: Final[dict[str, Callable[[pa.Table, IO[bytes]], None]]] = {
    "json": write_json,
    "csv": write_csv,
    "parquet": write_parquet,
    "arrow": write_arrow,
}
