"""Reading positions in many records at once: each step reads one value of every record, with numpy.

A record that does not hold what is read is failed with its reason and stays at its end; the others go on. So what is
read of a failed record means nothing, and a damaged record costs its batch nothing.
"""

from collections.abc import Sequence
from copy import copy
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_BEYOND: Final = 16
"""Bytes behind the last record, so that a word can be read at any position."""

_STOPS: Final = np.uint64(0x8080808080808080)
_SEVENS: Final = (
    # Seven bits of each byte become fourteen of two, these become 28 of four, and these 56 of eight.
    (np.uint64(0x007F007F007F007F), np.uint64(0x7F007F007F007F00), np.uint64(1)),
    (np.uint64(0x00003FFF00003FFF), np.uint64(0x3FFF00003FFF0000), np.uint64(2)),
    (np.uint64(0x000000000FFFFFFF), np.uint64(0x0FFFFFFF00000000), np.uint64(4)),
)
_ONE: Final = np.uint64(1)
_MORE: Final = 0x80
"""What a byte of a varint is at least that is not its last."""

_IN_A_WORD: Final = 8
_LONGEST: Final = 10
"""Bytes of the longest varint: 64 bits in sevens."""


class Cursor:
    """Where each of n records is read next.

    at, end: int64[n], positions in the bytes of all.
    every: int64[n], the numbers of all records. A step with just this array needs no look-ups.
    failed: bool[n]; reasons: why, by record.
    items: int64[n], items of lists that were met.
    """

    def __init__(self, values: Sequence[bytes]) -> None:
        lengths = np.fromiter(map(len, values), np.int64, len(values))
        self.end = np.cumsum(lengths)
        self.at = self.end - lengths
        self.raw = np.frombuffer(b"".join([*values, bytes(_BEYOND)]), np.uint8)
        self._words = np.ndarray((len(self.raw) - 7,), "V8", self.raw, strides=(1,))
        self._begin()

    def _begin(self) -> None:
        self.every = np.arange(len(self.at))
        self.failed = np.zeros(len(self.at), np.bool_)
        self.reasons: dict[int, str] = {}
        self.items = np.zeros(len(self.at), np.int64)

    def of(self, rows: np.ndarray) -> "Cursor":
        """Some of the records, from where they are read next."""
        if rows is self.every:
            return self.between(self.at, self.end)
        return self.between(self.at[rows], self.end[rows])

    def between(self, begins: np.ndarray, ends: np.ndarray) -> "Cursor":
        """Parts of the records, each as a record of its own."""
        part = copy(self)
        part.at, part.end = begins.copy(), ends
        part._begin()
        return part

    def __len__(self) -> int:
        return len(self.at)

    def fail(self, rows: np.ndarray, reason: str) -> None:
        """Give up some records; the first reason counts."""
        for row in rows[~self.failed[rows]].tolist():
            self.reasons[row] = reason
        self.failed[rows] = True
        self.at[rows] = self.end[rows]

    def words(self, at: np.ndarray) -> np.ndarray:
        """uint64[n]: eight bytes at each position, the first the lowest."""
        found: np.ndarray = self._words[at].view("<u8")
        return found

    def take(self, rows: np.ndarray, sizes: np.ndarray | int, what: str) -> np.ndarray:
        """The positions before a step of so many bytes; int64[n]. Those that have fewer fail."""
        is_every = rows is self.every
        before, end = (self.at, self.end) if is_every else (self.at[rows], self.end[rows])
        after: np.ndarray = before + np.asarray(sizes, np.int64)
        short = (after > end) | (after < before)
        if short.any():
            self.fail(rows[short], f"{what}: the record ends before it does")
            before, after = np.where(short, end, before), np.where(short, end, after)
        if is_every:
            self.at = after
        else:
            self.at[rows] = after
        positions: np.ndarray = before
        return positions

    def varints(self, rows: np.ndarray, what: str) -> np.ndarray:
        """uint64[n]: numbers in bytes of seven bits, the last without its eighth."""
        at = self.at if rows is self.every else self.at[rows]
        first = self.raw[at]
        if not len(first) or first.max() < _MORE:
            self.take(rows, 1, what)
            return np.asarray(first, np.uint64)
        word = self.words(at)
        stop = ~word & _STOPS
        last = stop & (~stop + _ONE)
        below = last - _ONE  # all bits where no byte of the eight is the last
        value = word & below & ~_STOPS
        length = (np.bitwise_count(below) >> 3).astype(np.int64) + 1
        for low, high, shift in _SEVENS:
            value = (value & low) | ((value & high) >> shift)
        long = length > _IN_A_WORD
        if long.any():
            value[long], length[long] = self._long(value[long], at[long])
            too_long = (length > _LONGEST) & (at + _LONGEST <= self.end[rows])
            if too_long.any():
                self.fail(rows[too_long], f"{what}: a number of more than 64 bits")
                length[too_long] = 0
        self.take(rows, length, what)
        return value

    def _long(self, value: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of nine and ten bytes, of which the first eight are read; eleven bytes mean too many bits."""
        behind = self._words[np.minimum(at + _IN_A_WORD, len(self._words) - 1)].view("<u8")
        ninth, tenth = behind & np.uint64(0xFF), (behind >> np.uint64(8)) & np.uint64(0xFF)
        value = value | ((ninth & np.uint64(0x7F)) << np.uint64(56))
        is_ten = ninth >= np.uint64(0x80)
        value = np.where(is_ten, value | (tenth << np.uint64(63)), value)
        length = np.where(is_ten, np.where(tenth > _ONE, _LONGEST + 1, _LONGEST), _IN_A_WORD + 1)
        return value, length

    def zigzags(self, rows: np.ndarray, what: str) -> np.ndarray:
        """int64[n]: varints of which the lowest bit is the sign."""
        value = self.varints(rows, what)
        return (value >> _ONE).view(np.int64) ^ -(value & _ONE).view(np.int64)

    def spans(self, rows: np.ndarray, lengths: np.ndarray | int, what: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps over so many bytes; returns where they begin and end."""
        before = self.take(rows, lengths, what)
        return before, self.at.copy() if rows is self.every else self.at[rows]

    def binary(self, begins: np.ndarray, ends: np.ndarray) -> pa.Array:
        """The bytes of n spans that follow one another, with gaps or none between them."""
        if not len(begins):
            return pa.array([], pa.large_binary())
        offsets = np.empty(2 * len(begins), np.int64)
        offsets[0::2], offsets[1::2] = begins, ends
        # Every second element is a gap.
        every = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(self.raw)]
        )
        return every.take(pa.array(np.arange(0, len(offsets), 2)))

    def texts(self, rows: np.ndarray, begins: np.ndarray, ends: np.ndarray, what: str) -> pa.Array:
        """The same as texts; what is not UTF-8 fails."""
        found = self.binary(begins, ends)
        try:
            return found.cast(pa.large_string())
        except pa.ArrowInvalid:
            good = np.array([_is_utf8(value) for value in found.to_pylist()], np.bool_)
            self.fail(rows[~good], f"{what}: not UTF-8")
            return pc.if_else(pa.array(good), found, b"").cast(pa.large_string())


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
