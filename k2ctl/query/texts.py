"""Columns as the texts that people and scripts read: exact decimals, ISO times in UTC, canonical uuids."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.schema.trade import DECIMAL_ONE, DECIMAL_SCALE


def text_column(column: pa.ChunkedArray) -> list[str | None]:
    """Any column that is not a number or a truth value, as texts; null stays None."""
    array = column.combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    if isinstance(array, pa.UuidArray):
        return _uuids(array)
    if pa.types.is_decimal(array.type):
        exact = array.type.bit_width == 128 and array.type.precision <= 18 and array.type.scale == DECIMAL_SCALE
        return _decimals(array) if exact else _wide_decimals(array)
    if pa.types.is_timestamp(array.type) and array.type.unit == "us":
        texts: list[str | None] = pc.strftime(array.cast(pa.timestamp("us")), format="%Y-%m-%dT%H:%M:%SZ").to_pylist()
        return texts
    values: list[Any] = array.to_pylist()
    if _is_plain(array.type):
        return values
    return [None if value is None else str(value) for value in values]


def _is_plain(kind: pa.DataType) -> bool:
    """Whether JSON has a value for it; the computed columns of SQL may be of any type."""
    plain = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_floating)
    return any(test(kind) for test in plain) or pa.types.is_boolean(kind) or pa.types.is_dictionary(kind)


def _wide_decimals(array: pa.Array) -> list[str | None]:
    """Sums and products of prices: as exact as the others, slower."""
    return [None if value is None else f"{value.normalize():f}" for value in array.to_pylist()]


def _uuids(array: pa.UuidArray) -> list[str | None]:
    text = b"".join(array.storage.to_pylist()).hex()
    return [
        f"{text[at : at + 8]}-{text[at + 8 : at + 12]}-{text[at + 12 : at + 16]}"
        f"-{text[at + 16 : at + 20]}-{text[at + 20 : at + 32]}"
        for at in range(0, len(text), 32)
    ]


def _decimals(array: pa.Array) -> list[str | None]:
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
    texts: list[str | None] = pc.if_else(
        array.is_valid(), pc.binary_join_element_wise(signs, trimmed, ""), pa.scalar(None, pa.string())
    ).to_pylist()
    return texts


def _mantissas(array: pa.Array) -> np.ndarray:
    """int64[n] of a decimal128 array with at most 18 digits: the low word of each 16-byte value."""
    if not len(array):
        return np.zeros(0, np.int64)
    words = np.frombuffer(array.buffers()[1], np.int64).reshape(-1, 2)
    return words[array.offset : array.offset + len(array), 0]
