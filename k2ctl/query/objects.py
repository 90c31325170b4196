"""Rows as JSON objects, made column by column: no Python value per cell, and each distinct text is escaped once."""

from typing import Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.query.texts import exact_texts, text_column, whole

_ABSENT: Final = "null"


def json_objects(table: pa.Table, separator: bytes) -> bytes:
    """One object per row, with `separator` between them; values as `texts.text_column` has them."""
    if not len(table) or not table.num_columns:
        return separator.join([b"{}"] * len(table))
    pieces: list[pa.Array | str] = []
    opening = "{"
    for name, column in zip(table.schema.names, table.columns, strict=True):
        pieces += [opening + orjson.dumps(name).decode() + ":", _json_values(column)]
        opening = ","
    lines = pc.binary_join_element_wise(*pieces, "}" + separator.decode(), "")
    ends, content = lines.buffers()[1:]
    first, last = np.frombuffer(ends, np.int32)[[lines.offset, lines.offset + len(lines)]].tolist()
    return bytes(content[first : last - len(separator)])


def _json_values(column: pa.ChunkedArray) -> pa.Array:
    """Each value as JSON."""
    array = whole(column)
    exact, kind = exact_texts(array), array.type
    if exact is not None:  # digits, signs and letters: nothing to escape
        return _or_null(pc.binary_join_element_wise('"', exact, '"', ""))
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return _or_null(array.cast(pa.string()))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        array = array.dictionary_encode()
    if isinstance(array, pa.DictionaryArray) and pa.types.is_string(array.dictionary.type):
        return _or_null(_escaped(array.dictionary.to_pylist()).take(array.indices))
    return _escaped(text_column(column))


def _escaped(values: list[str | None]) -> pa.Array:
    return pa.array([orjson.dumps(value).decode() for value in values], pa.string())


def _or_null(texts: pa.Array) -> pa.Array:
    return texts.fill_null(_ABSENT) if texts.null_count else texts
