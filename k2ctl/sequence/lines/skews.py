"""How far lines are apart: exact quantiles of any number of whole numbers in little memory, and a histogram."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from k2ctl.domain.figure import SKEW_BOUNDS_S, Durations, merged

_CHUNK: Final = 1_000_000
_DIGITS: Final = 16
_BOUNDS_NS: Final = np.array([round(bound * 1e9) for bound in SKEW_BOUNDS_S], np.int64)


def cells(values_ns: np.ndarray) -> Durations:
    """int64[n] nanoseconds as a histogram."""
    counts = np.bincount(np.searchsorted(_BOUNDS_NS, values_ns), minlength=len(_BOUNDS_NS) + 1)
    return Durations(SKEW_BOUNDS_S, tuple(counts.tolist()), int(values_ns.sum()) / 1e9)


class Skews:
    """Nanoseconds, not negative, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.histogram = cells(np.zeros(0, np.int64))
        self.count = 0

    def add(self, values_ns: np.ndarray) -> None:
        """int64[n]."""
        with self._path.open("ab") as file:
            values_ns.astype(np.int64).tofile(file)
        self.count += len(values_ns)
        self.histogram = merged([self.histogram, cells(values_ns)])

    def quantile_us(self, share: float) -> float | None:
        """The smallest value that so large a share of all does not exceed; None where there is none.

        Digit by digit, of 16 bits each: a pass over the file counts how often each occurs behind those found so far.
        """
        if not self.count:
            return None
        rank, found = max(0, int(np.ceil(share * self.count)) - 1), 0
        for shift in range(64 - _DIGITS, -1, -_DIGITS):
            counts = np.zeros(1 << _DIGITS, np.int64)
            for values in self._chunks():
                alike = values >> np.uint64(shift)
                if shift + _DIGITS < 64:
                    alike = alike[alike >> np.uint64(_DIGITS) == found]
                counts += np.bincount((alike & np.uint64((1 << _DIGITS) - 1)).astype(np.int64), minlength=len(counts))
            ends = np.cumsum(counts)
            digit = int(np.searchsorted(ends, rank, side="right"))
            rank -= int(ends[digit] - counts[digit])
            found = found << _DIGITS | digit
        return found / 1000

    def _chunks(self) -> Iterator[np.ndarray]:
        with self._path.open("rb") as file:
            while len(values := np.fromfile(file, np.uint64, _CHUNK)):
                yield values
