"""Prices and quantities: whole numbers of 10^-12 in 128 bits, in numpy as on the wire and in Arrow.

One scale holds everything that a trade may have, from 10^-12 to 10^15, and Arrow's decimal128 is the same two words: a
column goes to the table as it came from Kafka. numpy has no such integers, so the words are compared one by one.
"""

import json
import re
from decimal import Context, Decimal
from typing import Final

import numpy as np
import pyarrow as pa

DECIMAL_SCALE: Final = 12
DECIMAL_ONE: Final = 10**DECIMAL_SCALE
"""One, as a mantissa."""

DECIMAL_LIMIT: Final = 10**15 * DECIMAL_ONE
"""The largest mantissa that a trade may have, by its absolute value."""

DECIMAL: Final = np.dtype([("low", "<u8"), ("high", "<i8")])
"""A mantissa: two's complement in two words."""

_PIECE: Final = np.dtype((np.void, DECIMAL.itemsize))

DECIMAL_TYPE: Final = pa.decimal128(38, DECIMAL_SCALE)

_WORD: Final = 1 << 64
_EXACT: Final = Context(prec=60)
_WIDE: Final = Context(prec=2000)
_DECIMAL: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_EXPONENT_DIGITS: Final = 3
"""1e999999 has nine bytes, and a million digits."""

_CUT: Final = 40


def of_int64(mantissas: np.ndarray) -> np.ndarray:
    """DECIMAL[n] of int64 mantissas: up to nine million units."""
    made = np.empty(len(mantissas), DECIMAL)
    made["low"] = np.asarray(mantissas, np.int64).view(np.uint64)
    made["high"] = np.asarray(mantissas, np.int64) >> 63
    return made


def words(mantissa: int) -> tuple[int, int]:
    """The two words of a mantissa."""
    return mantissa % _WORD, mantissa // _WORD


def of_int(mantissa: int) -> np.ndarray:
    """One mantissa, a scalar of DECIMAL."""
    return np.array(words(mantissa), DECIMAL)


def of_text(text: str) -> np.ndarray:
    """One decimal, exactly, a scalar of DECIMAL.

    Raises:
        ValueError: as `exact_words`.
    """
    return np.array(exact_words(text), DECIMAL)


def exact_words(text: str | None) -> tuple[int, int]:
    """The two words of a decimal, exactly.

    Raises:
        ValueError: why it is none that a trade may have, as the rest of a sentence about it.
    """
    if text is None:
        raise ValueError("is missing")
    shown = json.dumps(text[:_CUT], ensure_ascii=False) + ("…" if len(text) > _CUT else "")
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"is {shown}, not a decimal")
    exponent = text.lower().partition("e")[2].lstrip("+-0")
    if len(exponent) > _EXPONENT_DIGITS or len(text) > _WIDE.prec // 2:
        raise ValueError(f"is {shown}, beyond 10^15 or of more than {DECIMAL_SCALE} decimal places")
    scaled = Decimal(text).scaleb(DECIMAL_SCALE, _WIDE)
    if abs(scaled) > DECIMAL_LIMIT:
        raise ValueError(f"is {shown}, beyond 10^15")
    if scaled != scaled.to_integral_value():
        raise ValueError(f"is {shown}, of more than {DECIMAL_SCALE} decimal places")
    return words(int(scaled))


def as_int(value: np.void) -> int:
    """The mantissa of one scalar of DECIMAL."""
    low, high = value.item()
    return int(high) * _WORD + int(low)


def as_decimal(value: np.void) -> Decimal:
    """One scalar of DECIMAL, exactly."""
    return Decimal(as_int(value)).scaleb(-DECIMAL_SCALE, _EXACT)


def as_text(value: np.void) -> str:
    """One scalar of DECIMAL with the digits that count, without an exponent."""
    return f"{as_decimal(value):f}".rstrip("0").rstrip(".")


def negative(words: np.ndarray) -> np.ndarray:
    """bool[n]: which mantissas are below zero. words: uint64[2, n], the fields of DECIMAL."""
    return np.asarray(words[1].view(np.int64) < 0)


def beyond_limit(words: np.ndarray) -> np.ndarray:
    """bool[n]: which mantissas are above 10^15 by their absolute value. words: as of `negative`."""
    low, high = words[0], words[1].view(np.int64)
    if not high.any():
        return np.zeros(len(high), np.bool_)
    return np.asarray(_above(low, high, DECIMAL_LIMIT) | ~_above(low, high, -DECIMAL_LIMIT - 1))


def _above(low: np.ndarray, high: np.ndarray, limit: int) -> np.ndarray:
    """bool[n]: mantissa > limit."""
    limit_low, limit_high = np.uint64(limit % _WORD), limit // _WORD
    return np.asarray((high > limit_high) | ((high == limit_high) & (low > limit_low)))


def to_arrow(column: np.ndarray, missing: np.ndarray | None = None) -> pa.Array:
    """DECIMAL[n] as decimal128(38, 12); null where `missing`."""
    validity = None if missing is None else pa.array(~missing).buffers()[1]
    # As one piece of 16 bytes; numpy copies a pair of numbers one by one, which takes four times as long.
    pieces = np.ascontiguousarray(column.view(_PIECE))
    return pa.Array.from_buffers(DECIMAL_TYPE, len(column), [validity, pa.py_buffer(pieces)])


def from_arrow(column: pa.Array) -> np.ndarray:
    """DECIMAL[n] of decimals of any scale up to 12; of nulls any number."""
    if not len(column):
        return np.zeros(0, DECIMAL)
    if pa.types.is_decimal128(column.type) and column.type.scale < DECIMAL_SCALE:
        small = _small_from_arrow(column)
        if small is not None:
            return small
    words: np.ndarray = np.frombuffer(column.cast(DECIMAL_TYPE).buffers()[1], DECIMAL)
    return words[column.offset : column.offset + len(column)]


def _small_from_arrow(column: pa.Array) -> np.ndarray | None:
    """The same of decimals whose mantissas fit into a word, six times as fast; None if one does not."""
    given = np.frombuffer(column.buffers()[1], DECIMAL)[column.offset : column.offset + len(column)]
    low, factor = given["low"].view(np.int64), 10 ** (DECIMAL_SCALE - column.type.scale)
    most = ((1 << 63) - 1) // factor
    if (given["high"] != low >> 63).any() or low.max() > most or low.min() < -most:
        return None
    return of_int64(low * factor)
