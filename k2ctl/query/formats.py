"""Answers as files and streams: JSON, CSV, Parquet, Arrow.

In JSON and CSV every value is exact, see `texts`: prices and quantities are decimal texts, as in the APIs of exchanges,
for a JSON number would be read as a binary fraction. JSON is made column by column: no Python value per cell, and each
distinct text is escaped once. Whole numbers, finite floating-point numbers and truth values are JSON's own; lists are
arrays, structs and maps are objects, a union is its value.
"""

import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, Final, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from k2ctl.errors import UsageError, first_line
from k2ctl.query.texts import texts_of, whole


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


_ABSENT: Final = "null"


def json_objects(table: pa.Table, separator: bytes) -> bytes:
    """One object per row, with `separator` between them."""
    if not len(table) or not table.num_columns:
        return separator.join([b"{}"] * len(table))
    pieces: list[pa.Array | str] = []
    text = "{"
    for name, column in zip(table.schema.names, table.columns, strict=True):
        text += orjson.dumps(name).decode() + ":"
        values = _alike(column) or json_values(whole(column))
        if isinstance(values, str):
            text += values + ","
        else:
            pieces += [text, values]
            text = ","
    text = text.removesuffix(",") + "}" + separator.decode()
    content = content_of(pc.binary_join_element_wise(*pieces, text, "")) if pieces else text.encode() * len(table)
    return content[: -len(separator)]


def _alike(column: pa.ChunkedArray) -> str | None:
    """The value of all rows, as JSON, where it is one and that shows quickly; of a symbol's trades many columns do."""
    if column.null_count == len(column):
        return _ABSENT
    if column.null_count or not pa.types.is_string(column.type):
        return None
    first = column[0]
    return orjson.dumps(first.as_py()).decode() if pc.all(pc.equal(column, first)).as_py() else None


def content_of(lines: pa.Array) -> bytes:
    """The texts of an array, one behind the other."""
    ends, content = lines.buffers()[1:]
    first, last = np.frombuffer(ends, np.int32)[[lines.offset, lines.offset + len(lines)]].tolist()
    return bytes(content[first:last])


def text_column(column: pa.ChunkedArray) -> list[str | None]:
    """Any column as texts; None stays None. What is made of other values is JSON."""
    texts: list[str | None] = column_texts(column).to_pylist()
    return texts


def column_texts(column: pa.ChunkedArray) -> pa.Array:
    """`text_column` as an array."""
    return _any_texts(whole(column))


def _any_texts(array: pa.Array) -> pa.Array:
    texts = texts_of(array)
    if texts is not None:
        return texts
    if pa.types.is_union(array.type):
        return pa.array(_of_members(array, _any_texts), pa.string())
    if not any(test(array.type) for test, _ in _MADE_OF_OTHERS):
        raise TypeError(f"{array.type} has no text")
    made = json_values(array)
    return pc.if_else(pc.equal(made, _ABSENT), pa.scalar(None, pa.string()), made)


def json_values(array: pa.Array) -> pa.Array:
    """Each value as JSON."""
    kind = array.type
    for test, values in _MADE_OF_OTHERS:
        if test(kind):
            made = pa.array(values(array), pa.string())
            return made if pa.types.is_union(kind) else pc.if_else(array.is_valid(), made, _ABSENT)
    if isinstance(array, pa.DictionaryArray):
        return _or_null(json_values(array.dictionary).take(array.indices))
    texts = _any_texts(array)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return _or_null(texts)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        distinct = texts.dictionary_encode()
        escaped = [orjson.dumps(value).decode() for value in distinct.dictionary.to_pylist()]
        return _or_null(pa.array(escaped, pa.string()).take(distinct.indices))
    quoted = pc.binary_join_element_wise('"', texts, '"', "")  # digits, signs and letters: nothing to escape
    return _or_null(pc.if_else(pc.is_finite(array), texts, quoted) if pa.types.is_floating(kind) else quoted)


def _or_null(texts: pa.Array) -> pa.Array:
    return texts.fill_null(_ABSENT) if texts.null_count else texts


def _spans(array: pa.Array) -> list[tuple[int, int]]:
    """The range of the values of each list, or of the entries of each map, among all of them."""
    if pa.types.is_fixed_size_list(array.type):
        size = array.type.list_size
        return [((array.offset + at) * size, (array.offset + at + 1) * size) for at in range(len(array))]
    ends = array.offsets.to_pylist()
    return list(itertools.pairwise(ends))


def _lists(array: pa.Array) -> list[str]:
    spans = _spans(array)
    begin, count = _stretch(spans)
    values = json_values(array.values.slice(begin, count)).to_pylist()
    return [f"[{','.join(values[first - begin : last - begin])}]" for first, last in spans]


def _maps(array: pa.Array) -> list[str]:
    """Objects; a key that is no text is the text of it."""
    spans = _spans(array)
    begin, count = _stretch(spans)
    names = _any_texts(array.keys.slice(begin, count)).to_pylist()
    values = json_values(array.items.slice(begin, count)).to_pylist()
    entries = [f"{orjson.dumps(name).decode()}:{value}" for name, value in zip(names, values, strict=True)]
    return [f"{{{','.join(entries[first - begin : last - begin])}}}" for first, last in spans]


def _stretch(spans: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Where the first span begins, and the length from there to the end of the last."""
    return (spans[0][0], spans[-1][1] - spans[0][0]) if spans else (0, 0)


def _structs(array: pa.Array) -> list[str]:
    names = [orjson.dumps(array.type.field(at).name).decode() for at in range(array.type.num_fields)]
    columns = [json_values(column).to_pylist() for column in array.flatten()]
    return [
        "{" + ",".join(f"{name}:{value}" for name, value in zip(names, values, strict=True)) + "}"
        for values in (zip(*columns, strict=True) if columns else [()] * len(array))
    ]


def _unions(array: pa.Array) -> list[str | None]:
    return _of_members(array, json_values)


def _of_members(array: pa.Array, texts: Callable[[pa.Array], pa.Array]) -> list[str | None]:
    members = [texts(array.field(at)).to_pylist() for at in range(array.type.num_fields)]
    return [members[code][at] for at, code in enumerate(array.type_codes.to_pylist())]


_MADE_OF_OTHERS: Final[list[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], Sequence[str | None]]]]] = [
    (pa.types.is_list, _lists),
    (pa.types.is_large_list, _lists),
    (pa.types.is_fixed_size_list, _lists),
    (pa.types.is_map, _maps),
    (pa.types.is_struct, _structs),
    (pa.types.is_union, _unions),
]
