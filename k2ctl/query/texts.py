"""Columns as the texts that people and scripts read: exact decimals, ISO times in UTC, canonical uuids.

What has no text of its own (lists, structs, maps) is JSON, see `json_rows`.
"""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.domain.trade import DECIMAL_ONE, DECIMAL_SCALE
from k2ctl.query import rare_types

_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
_UUID_DIGITS: Final = [at for at in range(36) if at not in {8, 13, 18, 23}]
_TIME_WIDTH: Final = len("2026-11-25 10:00:00.000000")


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    array = column.combine_chunks()
    return array.chunk(0) if isinstance(array, pa.ChunkedArray) else array


def texts_of(array: pa.Array) -> pa.Array | None:
    """Each value of a type that is not made of others as text, null where there is none; None of other types."""
    kind = array.type
    if pa.types.is_string(kind):
        return array
    if isinstance(array, pa.DictionaryArray):
        return _looked_up(array)
    if isinstance(array, pa.UuidArray):
        return _uuids(array)
    if isinstance(array, pa.ExtensionArray):
        return texts_of(array.storage)
    if pa.types.is_decimal128(kind) and kind.precision <= 18 and kind.scale == DECIMAL_SCALE:
        return _decimals(array)
    if pa.types.is_timestamp(kind) and kind.unit == "us" and kind.tz:
        return _times(array)
    return rare_types.texts_of(array)


def _looked_up(array: pa.DictionaryArray) -> pa.Array | None:
    """Each distinct value is made a text once."""
    distinct = texts_of(array.dictionary)
    return None if distinct is None else distinct.take(array.indices)


def _uuids(array: pa.UuidArray) -> pa.Array:
    ids = np.frombuffer(array.storage.buffers()[1], np.uint8)[array.offset * 16 :].reshape(-1, 16)[: len(array)]
    digits = np.stack([ids >> 4, ids & 15], axis=2).reshape(-1, 32)
    texts = np.full((len(array), 36), ord("-"), np.uint8)
    texts[:, _UUID_DIGITS] = _HEX[digits]
    return _of_one_width(texts, array)


def _times(array: pa.Array) -> pa.Array:
    """ISO 8601. Arrow's own text lacks the T and the Z, and its `strftime` takes ten times as long."""
    texts = array.cast(pa.timestamp("us")).cast(pa.string())
    start, end = np.frombuffer(texts.buffers()[1], np.int32)[[0, len(texts)]] if len(texts) else (0, 0)
    if texts.null_count or end - start != _TIME_WIDTH * len(texts):  # not four digits of a year
        return rare_types.texts_of(array)
    made = np.empty((len(texts), _TIME_WIDTH + 1), np.uint8)
    made[:, :-1] = np.frombuffer(texts.buffers()[2], np.uint8)[start:end].reshape(-1, _TIME_WIDTH)
    made[:, 10], made[:, -1] = ord("T"), ord("Z")
    return _of_one_width(made, array)


def _of_one_width(texts: np.ndarray, like: pa.Array) -> pa.Array:
    """ASCII, uint8[n, width], as an array that is null where another one is."""
    count, width = texts.shape
    ends = np.arange(count + 1, dtype=np.int32) * width
    made = pa.Array.from_buffers(pa.string(), count, [None, pa.py_buffer(ends), pa.py_buffer(texts)])
    return made if not like.null_count else pc.if_else(like.is_valid(), made, pa.scalar(None, pa.string()))


def _decimals(array: pa.Array) -> pa.Array:
    """Every digit that counts and no exponent: `45.12`, `100`, `-0.00000001`.

    Arrow's own cast writes small values with an exponent.
    """
    mantissas = _mantissas(array)
    negative, size = mantissas < 0, np.abs(mantissas)
    whole = pa.array(size // DECIMAL_ONE).cast(pa.string())
    digits = pc.utf8_lpad(pa.array(size % DECIMAL_ONE).cast(pa.string()), DECIMAL_SCALE, "0")
    joined = pc.binary_join_element_wise(whole, digits, ".")
    trimmed = pc.utf8_rtrim(pc.utf8_rtrim(joined, "0"), ".")
    signs = pc.if_else(pa.array(negative), "-", "")
    texts = pc.binary_join_element_wise(signs, trimmed, "")
    return pc.if_else(array.is_valid(), texts, pa.scalar(None, pa.string())) if array.null_count else texts


def _mantissas(array: pa.Array) -> np.ndarray:
    """int64[n] of a decimal128 array with at most 18 digits: the low word of each 16-byte value."""
    if not len(array):
        return np.zeros(0, np.int64)
    words = np.frombuffer(array.buffers()[1], np.int64).reshape(-1, 2)
    return words[array.offset : array.offset + len(array), 0]
