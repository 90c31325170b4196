"""Rows as JSON objects, made column by column: no Python value per cell, and each distinct text is escaped once.

Whole numbers, finite floating-point numbers and truth values are JSON's own; what JSON has no exact value for is the
text that `texts` has for it. Lists are arrays, structs and maps are objects, a union is its value.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.query.texts import texts_of, whole

_ABSENT: Final = "null"


def json_objects(table: pa.Table, separator: bytes) -> bytes:
    """One object per row, with `separator` between them."""
    if not len(table) or not table.num_columns:
        return separator.join([b"{}"] * len(table))
    pieces: list[pa.Array | str] = []
    opening = "{"
    for name, column in zip(table.schema.names, table.columns, strict=True):
        pieces += [opening + orjson.dumps(name).decode() + ":", json_values(whole(column))]
        opening = ","
    lines = pc.binary_join_element_wise(*pieces, "}" + separator.decode(), "")
    return content_of(lines)[: -len(separator)]


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
