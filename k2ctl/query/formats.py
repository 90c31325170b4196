"""Answers as files and streams: JSON, CSV, Parquet, Arrow.

In JSON and CSV every value is exact, see `texts`: prices and quantities are decimal texts, as in the APIs of exchanges,
for a JSON number would be read as a binary fraction. Times are ISO 8601 in UTC, ids are canonical uuids.
"""

import io
import itertools
from collections.abc import Callable, Iterator
from typing import IO, Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from k2ctl.errors import UsageError, first_line
from k2ctl.query.json_rows import column_texts, content_of, json_objects


class Limited:
    """The first rows, at most `limit` (None: all), of an answer that is still being computed; to be read once.

    The first part is computed at once: an answer that fails then leaves nothing behind.

    more: whether there were others, known once all are read.
    """

    def __init__(self, rows: pa.RecordBatchReader, limit: int | None) -> None:
        self.schema: pa.Schema = rows.schema
        self.more = False
        self._limit = limit
        first = next(iter(rows), None)
        self._rows = rows if first is None else itertools.chain([first], rows)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        left = self._limit
        for batch in self._rows:
            if left is not None and len(batch) > left:
                self.more = True
                yield batch.slice(0, left)
                return
            left = None if left is None else left - len(batch)
            yield batch


Rows: TypeAlias = pa.Table | pa.RecordBatchReader | Limited
"""A whole answer, or one that is still being computed and is written as it comes."""

_BATCH_ROWS: Final = 10_000


def _parts(rows: Rows) -> Iterator[pa.Table]:
    """The rows in tables of bounded size."""
    whole = [rows] if isinstance(rows, pa.Table) else (pa.Table.from_batches([batch]) for batch in rows)
    for table in whole:
        for start in range(0, len(table), _BATCH_ROWS):
            yield table.slice(start, _BATCH_ROWS)


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
    """A header and one line per row; null is an empty field, and an empty text is `""`.

    Where there is one column only, null is `""` too: many readers pass over an empty line.
    """
    sink.write(csv_header(rows.schema))
    for part in _parts(rows):
        sink.write(csv_lines(part))


def csv_header(schema: pa.Schema) -> bytes:
    """The names of the columns."""
    return csv_lines(pa.table([[name] for name in schema.names], [str(at) for at in range(len(schema))]))


def csv_lines(part: pa.Table) -> bytes:
    """One line per row."""
    if not len(part) or not part.num_columns:
        return b"\n" * len(part)
    fields = [_field(column_texts(column)) for column in part.columns]
    absent = "" if len(fields) > 1 else '""'
    lines = pc.binary_join_element_wise(*(field.fill_null(absent) for field in fields), ",")
    return content_of(pc.binary_join_element_wise(lines, "\n", ""))


def _field(texts: pa.Array) -> pa.Array:
    """Quoted where a reader would take it for something else."""
    needed = pc.or_(pc.match_substring_regex(texts, '[",\r\n]'), pc.equal(texts, ""))
    if not pc.any(needed).as_py():
        return texts
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(texts, '"', '""'), '"', "")
    return pc.if_else(needed, quoted, texts)


def write_parquet(rows: Rows, sink: IO[bytes]) -> None:
    """One Parquet file, decimals and uuids by their logical types.

    Raises:
        UsageError: Parquet has no type for a column; nothing was written.
    """
    _check_parquet(rows.schema)
    with pq.ParquetWriter(sink, rows.schema, compression="zstd") as writer:
        for part in [rows] if isinstance(rows, pa.Table) else (pa.Table.from_batches([batch]) for batch in rows):
            try:
                writer.write_table(part)
            except pa.ArrowInvalid as error:  # such as a time that Parquet's units cannot count
                raise UsageError(f"Parquet cannot hold a value: {first_line(error)}.", _CAST) from error


_CAST: Final = "Cast it in the query, to VARCHAR for instance, or pick --format csv."


def _check_parquet(schema: pa.Schema) -> None:
    if _holds(schema):
        return
    strange = [field for field in schema if not _holds(pa.schema([field]))] or list(schema)
    named = ", ".join(f"{field.name} ({field.type})" for field in strange)
    raise UsageError(f"Parquet has no type for: {named}.", _CAST)


def _holds(schema: pa.Schema) -> bool:
    try:
        pq.write_table(schema.empty_table(), io.BytesIO())
    except pa.ArrowException:
        return False
    return True


def write_arrow(rows: Rows, sink: IO[bytes]) -> None:
    """An Arrow IPC file, which can be read from any place: what readers expect of `.arrow` and `.feather`."""
    with pa.ipc.new_file(_Counted(sink), rows.schema) as writer:
        for part in _parts(rows):
            writer.write_table(part)


def write_arrow_stream(rows: Rows, sink: IO[bytes]) -> None:
    """An Arrow IPC stream, which is read from its beginning, `.arrows`."""
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        for part in _parts(rows):
            writer.write_table(part)


class _Counted(io.RawIOBase):
    """A sink that says how far it has come; a pipe does not."""

    def __init__(self, sink: IO[bytes]) -> None:
        super().__init__()
        self._sink = sink
        self._written = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._sink.write(content)
        self._written += len(content)
        return len(content)

    def tell(self) -> int:
        return self._written


WRITERS: Final[dict[str, Callable[[Rows, IO[bytes]], None]]] = {
    "json": write_json,
    "csv": write_csv,
    "parquet": write_parquet,
    "arrow": write_arrow,
    "arrows": write_arrow_stream,
}
