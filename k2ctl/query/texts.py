"""Columns as the texts that people and scripts read: exact decimals, ISO times in UTC, canonical uuids."""

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.schema.trade import DECIMAL_ONE, DECIMAL_SCALE

_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
_UUID_DIGITS: Final = [at for at in range(36) if at not in {8, 13, 18, 23}]
_TIME_WIDTH: Final = len("2026-11-25 10:00:00.000000")


def text_column(column: pa.ChunkedArray) -> list[str | None]:
    """Any column that is not a number or a truth value, as texts; null stays None."""
    array = whole(column)
    exact = exact_texts(array)
    values: list[Any] = (array if exact is None else exact).to_pylist()
    if exact is not None or _is_plain(array.type):
        return values
    if pa.types.is_decimal(array.type):
        return _wide_decimals(values)
    return [None if value is None else str(value) for value in values]


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    array = column.combine_chunks()
    return array.chunk(0) if isinstance(array, pa.ChunkedArray) else array


def exact_texts(array: pa.Array) -> pa.Array | None:
    """Ids, times and prices as an array of texts; None of other types."""
    kind = array.type
    if isinstance(array, pa.UuidArray):
        return _uuids(array)
    if pa.types.is_decimal128(kind) and kind.precision <= 18 and kind.scale == DECIMAL_SCALE:
        return _decimals(array)
    if pa.types.is_timestamp(kind) and kind.unit == "us":
        return _times(array.cast(pa.timestamp("us")))
    return None


def _is_plain(kind: pa.DataType) -> bool:
    """Whether JSON has a value for it; the computed columns of SQL may be of any type."""
    plain = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_floating)
    return any(test(kind) for test in plain) or pa.types.is_boolean(kind) or pa.types.is_dictionary(kind)


def _wide_decimals(values: list[Any]) -> list[str | None]:
    """Sums and products of prices: as exact as the others, slower."""
    return [None if value is None else f"{value.normalize():f}" for value in values]


def _uuids(array: pa.UuidArray) -> pa.Array:
    ids = np.frombuffer(array.storage.buffers()[1], np.uint8)[array.offset * 16 :].reshape(-1, 16)[: len(array)]
    digits = np.stack([ids >> 4, ids & 15], axis=2).reshape(-1, 32)
    texts = np.full((len(array), 36), ord("-"), np.uint8)
    texts[:, _UUID_DIGITS] = _HEX[digits]
    return _of_one_width(texts, array)


def _times(array: pa.Array) -> pa.Array:
    """ISO 8601. Arrow's own text lacks the T and the Z, and its `strftime` takes ten times as long."""
    texts = array.cast(pa.string())
    start, end = np.frombuffer(texts.buffers()[1], np.int32)[[0, len(texts)]] if len(texts) else (0, 0)
    if texts.null_count or end - start != _TIME_WIDTH * len(texts):  # a year of more than four digits
        return pc.strftime(array, format="%Y-%m-%dT%H:%M:%SZ")
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
