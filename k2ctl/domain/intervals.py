"""Sets of numbers per key, kept as intervals: exact, a few bytes per key while the numbers are dense.

A feed numbers its messages 1, 2, 3 …, so what a key has seen is one interval, plus one for every gap that is
still open. All keys share two sorted arrays, and a batch is tested and added with a handful of numpy calls
whatever the number of keys in it.
"""

import io
from typing import Final

import numpy as np

from k2ctl.domain.checked_file import body_of, framed
from k2ctl.domain.texts import codes_of
from k2ctl.errors import StateError

MAGIC: Final = b"K2INTRV2"
NUMBER_BITS: Final = 40
"""Numbers are below 2^40: at a million a second a feed needs twelve days to get there."""

KEY_LIMIT: Final = 1 << (64 - NUMBER_BITS)
"""A key's code has the bits that its numbers leave: 16.8 million feed sessions in a day."""

_KEY_BYTES: Final = np.dtype("V8")
_NUMBER_LIMIT: Final = np.uint64(1 << NUMBER_BITS)


class IntervalSets:
    """For each 64-bit key a set of numbers below 2^40. Of more than KEY_LIMIT keys, none is taken in: StateError."""

    def __init__(self) -> None:
        self._keys = np.zeros(0, np.uint64)
        self._codes = np.zeros(0, np.uint64)
        self._touched_us = np.zeros(0, np.int64)  # by code
        # Half-open intervals [start, end), each number prefixed by its key's code; sorted and disjoint.
        self._starts = np.zeros(0, np.uint64)
        self._ends = np.zeros(0, np.uint64)

    def __len__(self) -> int:
        """The number of intervals: memory is 16 bytes each, and 24 per key."""
        return len(self._starts)

    @property
    def size_bytes(self) -> int:
        """What the arrays take."""
        arrays = (self._keys, self._codes, self._touched_us, self._starts, self._ends)
        return sum(array.nbytes for array in arrays)

    @property
    def keys(self) -> int:
        """The number of keys."""
        return len(self._keys)

    def add(self, keys: np.ndarray, numbers: np.ndarray, now_us: int = 0) -> np.ndarray:
        """Add (key, number) pairs; returns bool[n], true where a pair was there or came earlier in this batch.

        keys: uint64[n]. numbers: uint64[n], each below 2^40. now_us: when, for `forget`.
        """
        seen = np.zeros(len(keys), np.bool_)
        if not len(keys):
            return seen
        points = self._points(keys, numbers, now_us)
        order = np.argsort(points, kind="stable")
        ordered = points[order]
        first = np.ones(len(ordered), np.bool_)
        np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
        fresh = first & ~self._covered(ordered)
        seen[order] = ~fresh
        self._insert(ordered[fresh])
        return seen

    def absorb(self, other: "IntervalSets") -> None:
        """Add all that another holds."""
        codes = self._codes_of(other._keys)
        self._touched_us[codes] = np.maximum(self._touched_us[codes], other._touched_us[other._codes])
        code_here = np.zeros(len(codes), np.uint64)
        code_here[other._codes] = codes
        mask = _NUMBER_LIMIT - np.uint64(1)
        prefix = code_here[other._starts >> NUMBER_BITS] << NUMBER_BITS
        starts = np.concatenate([self._starts, prefix | (other._starts & mask)])
        ends = np.concatenate([self._ends, prefix | (other._ends & mask)])
        if not len(starts):
            return
        order = np.argsort(starts, kind="stable")
        starts, reach = starts[order], np.maximum.accumulate(ends[order])
        # Those that overlap or touch become one. Keys never touch: numbers stay below 2^40 - 1.
        apart = starts[1:] > reach[:-1]
        self._starts = starts[np.concatenate([[True], apart])]
        self._ends = reach[np.concatenate([apart, [True]])]

    def forget(self, before_us: int) -> None:
        """Drop the keys that nothing was added to since `before_us`."""
        stays = self._touched_us >= before_us
        if stays.all():
            return
        code_now = np.cumsum(stays).astype(np.uint64) - np.uint64(1)
        held = stays[self._codes]
        self._keys, self._codes = self._keys[held], code_now[self._codes[held]]
        self._touched_us = self._touched_us[stays]
        kept = stays[self._starts >> NUMBER_BITS]
        mask = _NUMBER_LIMIT - np.uint64(1)
        codes = code_now[self._starts[kept] >> NUMBER_BITS] << NUMBER_BITS
        self._starts, self._ends = codes | (self._starts[kept] & mask), codes | (self._ends[kept] & mask)

    def dumps(self) -> bytes:
        """The sets as a file: one checked frame of numpy's format."""
        sink = io.BytesIO()
        arrays = (self._keys, self._codes, self._touched_us.astype(np.uint64), self._starts, self._ends)
        for array in arrays:
            np.save(sink, array, allow_pickle=False)
        return framed(MAGIC, sink.getvalue())

    @classmethod
    def loads(cls, content: bytes) -> "IntervalSets":
        """Read `dumps` back.

        Raises:
            ValueError: the content is torn, flipped, or not such a file.
        """
        source, loaded = io.BytesIO(body_of(MAGIC, content)), cls()
        arrays = [np.load(source, allow_pickle=False) for _ in range(5)]
        loaded._keys, loaded._codes, touched, loaded._starts, loaded._ends = arrays
        loaded._touched_us = touched.astype(np.int64)
        return loaded

    def _points(self, keys: np.ndarray, numbers: np.ndarray, now_us: int = 0) -> np.ndarray:
        if len(numbers) and int(numbers.max()) >= int(_NUMBER_LIMIT) - 1:
            raise ValueError(f"a number is not below 2^{NUMBER_BITS} - 1")
        which, distinct = codes_of(np.ascontiguousarray(keys).view(_KEY_BYTES))
        codes = self._codes_of(distinct.view(np.uint64))
        self._touched_us[codes] = np.maximum(self._touched_us[codes], now_us)
        result: np.ndarray = (codes[which] << NUMBER_BITS) | numbers
        return result

    def _codes_of(self, distinct: np.ndarray) -> np.ndarray:
        """A dense code for each key; new keys get the next ones."""
        at = np.searchsorted(self._keys, distinct)
        known = at < len(self._keys)
        known[known] = self._keys[at[known]] == distinct[known]
        new = distinct[~known]
        if len(self._keys) + len(new) > KEY_LIMIT:
            raise StateError(
                f"More than {KEY_LIMIT:,} feed sessions in a deduplication window: they cannot be distinguished.",
                "The first eight bytes of message_id name the session, and should stay the same while it lasts.",
            )
        if len(new):
            codes = np.arange(len(self._keys), len(self._keys) + len(new), dtype=np.uint64)
            self._touched_us = np.concatenate([self._touched_us, np.zeros(len(new), np.int64)])
            keys = np.concatenate([self._keys, new])
            order = np.argsort(keys, kind="stable")
            self._codes = np.concatenate([self._codes, codes])[order]
            self._keys = keys[order]
            at = np.searchsorted(self._keys, distinct)
        return self._codes[at]

    def _covered(self, points: np.ndarray) -> np.ndarray:
        at = np.searchsorted(self._starts, points, side="right") - 1
        covered = at >= 0
        covered[covered] = points[covered] < self._ends[at[covered]]
        return covered

    def _insert(self, points: np.ndarray) -> None:
        """Add sorted, distinct, uncovered points: cut them into runs and merge those with the intervals."""
        if not len(points):
            return
        run_starts, run_ends = _runs(points)
        starts = np.concatenate([self._starts, run_starts])
        ends = np.concatenate([self._ends, run_ends])
        order = np.argsort(starts, kind="stable")
        starts, ends = starts[order], ends[order]
        # Disjoint already; intervals that touch become one. Keys never touch: numbers stay below 2^40 - 1.
        joined = starts[1:] == ends[:-1]
        self._starts = starts[np.concatenate([[True], ~joined])]
        self._ends = ends[np.concatenate([~joined, [True]])]


def _runs(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted, distinct points as half-open intervals of consecutive ones."""
    if not len(points):
        return points, points
    breaks = np.flatnonzero(np.diff(points) != 1) + 1
    return points[np.concatenate([[0], breaks])], points[np.concatenate([breaks, [len(points)]]) - 1] + np.uint64(1)
