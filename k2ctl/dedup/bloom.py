"""A Bloom filter for a bounded number of message ids, tested and set a batch at a time.

pybloom-live's `BloomFilter` gives the bits, the slices and the file format. Its own hashing takes one key at a time
(0.12 to 0.25 M ids/s); here the positions of a whole batch are computed, and its bitarray is read and written through
numpy (about 5 M ids/s at 500,000 ids, measured on two cores). Its own `in` and `add` are not used: they hash otherwise.
"""

import io
from typing import Any, Final

import numpy as np
from pybloom_live import BloomFilter

from k2ctl.domain.checked_file import body_of, framed

MAGIC: Final = b"K2BLOOM2"

_ODD_1: Final = np.uint64(0x9E3779B97F4A7C15)
_ODD_2: Final = np.uint64(0xD6E8FEB86659FD93)
_ODD_3: Final = np.uint64(0xBF58476D1CE4E5B9)
_HALF: Final = np.uint64(32)
_LOW_3: Final = np.int64(7)


def words_of(message_ids: np.ndarray) -> np.ndarray:
    """Ids, V16[n], as their two big-endian halves: uint64[n, 2]."""
    return np.ascontiguousarray(message_ids).view(">u8").reshape(-1, 2).astype(np.uint64)


class IdFilter:
    """Up to `capacity` ids. No false negative; false positives at `error_rate` when it is full."""

    def __init__(self, capacity: int, error_rate: float) -> None:
        self._filter: Any = BloomFilter(capacity, error_rate)
        self._attach()

    @property
    def capacity(self) -> int:
        return int(self._filter.capacity)

    @property
    def count(self) -> int:
        return int(self._filter.count)

    @property
    def size_bytes(self) -> int:
        """What its bits take, full or empty."""
        return len(self._bits)

    def test(self, words: np.ndarray) -> np.ndarray:
        """bool[n]: which ids (uint64[n, 2]) may be there. Slice after slice, only with those still in question."""
        seen = np.zeros(len(words), np.bool_)
        alive = np.arange(len(words))
        step, at = _mixed(words)
        for start in range(0, self._filter.num_bits, self._filter.bits_per_slice):
            bit = self._positions(at, start)
            hit = (self._bits[bit >> 3] >> (bit & _LOW_3).astype(np.uint8)) & 1 != 0
            alive, step = alive[hit], step[hit]
            if not len(alive):
                return seen
            at = at[hit] + step
        seen[alive] = True
        return seen

    def add(self, words: np.ndarray) -> None:
        """Add ids, uint64[n, 2], each of them once.

        Raises:
            ValueError: there is no room for so many; an overfull filter takes everything for known.
        """
        if self.count + len(words) > self.capacity:
            raise ValueError(f"{self.count} and {len(words)} more ids are over the {self.capacity} of this filter")
        step, at = _mixed(words)
        for start in range(0, self._filter.num_bits, self._filter.bits_per_slice):
            bit = self._positions(at, start)
            # `|=` with an index array would keep only one of the bits that fall into the same byte.
            np.bitwise_or.at(self._bits, bit >> 3, np.left_shift(np.uint8(1), (bit & _LOW_3).astype(np.uint8)))
            at = at + step
        self._filter.count += len(words)

    def dumps(self) -> bytes:
        """The file of a filter: one checked frame of pybloom-live's own format."""
        sink = io.BytesIO()
        self._filter.tofile(sink)
        return framed(MAGIC, sink.getvalue())

    @classmethod
    def loads(cls, content: bytes) -> "IdFilter":
        """Read `dumps` back.

        Raises:
            ValueError: the content is torn, flipped, or not a filter.
        """
        loaded = cls.__new__(cls)
        loaded._filter = BloomFilter.fromfile(io.BytesIO(body_of(MAGIC, content)))
        loaded._attach()
        return loaded

    def _attach(self) -> None:
        self._bits = np.frombuffer(memoryview(self._filter.bitarray), np.uint8)

    def _positions(self, at: np.ndarray, start: int) -> np.ndarray:
        scaled: np.ndarray = ((at >> _HALF) * np.uint64(self._filter.bits_per_slice)) >> _HALF
        return scaled.view(np.int64) + start


def _mixed(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two 64-bit hashes of each id: the step between slices, and where to begin.

    Multiplied and folded, because ids need not be random: versions, nodes and clocks of a uuid are constants.
    """
    first = words[:, 0] ^ (words[:, 1] * _ODD_1)
    first = (first ^ (first >> _HALF)) * _ODD_2
    first ^= first >> _HALF
    second = (first ^ words[:, 1]) * _ODD_3
    second ^= second >> np.uint64(29)
    return second | np.uint64(1), first * _ODD_1
