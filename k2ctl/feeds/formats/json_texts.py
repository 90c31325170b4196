"""Record values as texts in which DuckDB's JSON functions find every number by its digits.

They read a number with a point or an exponent as a float, which has the digits that were written if those are at most
fifteen. A longer one becomes a string here, and is read by its text like any other. All of it works on the bytes of a
whole batch at once.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_BOM: Final = b"\xef\xbb\xbf"
_BEFORE: Final = np.frombuffer(_BOM[:1] + b" \t\r\n", np.uint8)
_EXACT: Final = 15
"""Digits that a float always holds."""

_BLOCK: Final = 1 << 16
"""Bytes that are looked at together: so many as stay in the processor's cache."""

_TAIL: Final = r"\d*(?:[eE][+-]?\d+)?"
_LONG: Final = "|".join(
    [rf"\d\.\d{{{_EXACT}}}{_TAIL}"]
    + [rf"[1-9]\d{{{whole - 1}}}\.\d{{{_EXACT + 1 - whole}}}{_TAIL}" for whole in range(2, _EXACT + 1)]
    + [rf"[1-9]\d{{{_EXACT},}}(?:\.\d{_TAIL}|[eE][+-]?\d+)", r"\d+(?:\.\d+)?[eE]-\d{3,}"]
)
"""Numbers that a float may not hold: of more digits, or so small that it is zero."""

_HAS_LONG: Final = rf"[:,\[\s]-?(?:{_LONG})"
_STRING_OR_LONG: Final = rf'("(?:[^"\\]|\\.)*")|([:,\[\s])(-?(?:{_LONG}))'
_MARK: Final = "\x01"
"""Stands where a quote is to stand. JSON has no such byte."""


def joined(values: Sequence[bytes]) -> pa.Array:
    """large_string[n] of bytes, without a look at them."""
    starts = np.zeros(len(values) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, values), np.int64, len(values)), out=starts[1:])
    return _of(b"".join(values), starts)


def _of(data: bytes | np.ndarray, starts: np.ndarray) -> pa.Array:
    buffers = [None, pa.py_buffer(starts.astype(np.int64)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_string(), len(starts) - 1, buffers)


def raw(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of n texts without nulls, one behind the other, and int64[n + 1]: where each begins, and the end."""
    _, offsets, data = texts.buffers()
    starts = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    whole = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    return whole[starts[0] : starts[-1]], starts - starts[0]


def first_bytes(texts: pa.Array) -> np.ndarray:
    """uint8[n]; 0 of an empty text."""
    data, starts = raw(texts)
    padded = np.append(data[:1], 0) if not len(data) else data
    return np.where(starts[1:] > starts[:-1], padded[np.minimum(starts[:-1], len(padded) - 1)], 0)


def trimmed(texts: pa.Array) -> pa.Array:
    """The texts without white space and a byte order mark, which some programs put first."""
    data, starts = raw(texts)
    odd = np.flatnonzero(np.isin(first_bytes(texts), _BEFORE))
    if not len(odd):
        return texts
    size, kept = np.diff(starts), np.ones(len(data), np.bool_)
    for at in odd.tolist():
        text = data[starts[at] : starts[at + 1]].tobytes()
        before = len(text) - len(text.removeprefix(_BOM).lstrip())
        kept[starts[at] : starts[at] + before] = False
        size[at] -= before
    return _of(data[kept], np.concatenate([[0], np.cumsum(size)]))


def not_utf8(texts: pa.Array) -> list[int]:
    """Which texts are not UTF-8."""
    data, starts = raw(texts)
    failed = []
    for at in _holders(np.flatnonzero(data & 0x80), starts).tolist():
        try:
            data[starts[at] : starts[at + 1]].tobytes().decode()
        except UnicodeDecodeError:
            failed.append(at)
    return failed


def by_digits(texts: pa.Array) -> pa.Array:
    """The texts with their long numbers as strings."""
    suspects = _suspects(texts)
    before = texts.take(pa.array(suspects))
    have = pc.match_substring_regex(before, _HAS_LONG).to_numpy(zero_copy_only=False)
    if not have.any():
        return texts
    suspects, before = suspects[have], before.filter(pa.array(have))
    marked = pc.replace_substring_regex(before, _STRING_OR_LONG, rf"\1\2{_MARK}\3{_MARK}")
    after = pc.replace_substring(pc.replace_substring(marked, _MARK * 2, ""), _MARK, '"')
    after = pc.if_else(pc.match_substring(before, _MARK), before, after)
    changed = np.zeros(len(texts), np.bool_)
    changed[suspects] = True
    return pc.replace_with_mask(texts, pa.array(changed), after)


def _suspects(texts: pa.Array) -> np.ndarray:
    """int64[k]: texts with that many digits and points in a row, or a negative exponent."""
    data, starts = raw(texts)
    found = [np.zeros(0, np.int64)]
    for begin in range(0, len(data), _BLOCK):
        block = data[begin : begin + _BLOCK + _EXACT + 1]
        runs = (block <= ord("9")) & (block >= ord("."))
        for step in (1, 2, 4, 8, 1):  # runs of 2, 4, 8, 16 and 17
            runs = runs[:-step] & runs[step:]
        small = (block[:-1] == ord("e")) | (block[:-1] == ord("E"))
        small &= block[1:] == ord("-")
        found += [np.flatnonzero(runs) + begin, np.flatnonzero(small) + begin]
    return _holders(np.concatenate(found), starts)


def _holders(positions: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """int64[k], distinct: which texts the bytes at some positions belong to."""
    if not len(positions):
        return np.zeros(0, np.int64)
    holds = np.zeros(len(starts) - 1, np.bool_)
    holds[np.searchsorted(starts, positions, side="right") - 1] = True
    return np.flatnonzero(holds)
