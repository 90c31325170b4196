"""Intervals of consecutive numbers of one session that were sent, with the sums of their trades' checksums."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from k2ctl.domain.checksums import Checksums, checksums_by_column

BLOCK: Final = 1024
"""Intervals end at multiples of this, so that an altered trade is found within so many."""

_BLOCK_BITS: Final = BLOCK.bit_length() - 1
_IN_BLOCK: Final = np.uint64(BLOCK - 1)

DIGESTS_FROM: Final = np.uint64(1 << 63)
"""The second half of an id that is a digest: no trade continues it. No number of a session is as high."""

INTERVAL: Final = np.dtype([("session", "u8"), ("low", "u8"), ("high", "u8"), ("sum", "u8"), ("times", "u8")])
"""Numbers low to high of a session, all of them, and the sums of the `checksums` of their trades."""


class SentRuns(NamedTuple):
    """Of n trades in the order of sending, those of a session whose numbers go on by one, as their sender knows them.

    starts, ends: int64[runs], the positions from and to; from 0 to n without holes. first: uint64[runs], their numbers.
    """

    session: np.ndarray
    first: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    @staticmethod
    def together(batches: "Sequence[SentRuns]") -> "SentRuns":
        """Those of several batches, one after the other."""
        sizes = [int(runs.ends[-1]) for runs in batches]
        before = np.repeat(np.cumsum([0, *sizes[:-1]]), [len(runs.starts) for runs in batches])
        session, first, starts, ends = (np.concatenate(of) for of in zip(*batches, strict=True))
        return SentRuns(session, first, starts + before, ends + before)

    def stretches(self) -> np.ndarray:
        """int64[stretches]: where each begins that is within one run and one block."""
        at, ends = self.starts + (BLOCK - (self.first & _IN_BLOCK)).view(np.int64), self.ends
        found = [self.starts]
        while len(inside := np.flatnonzero(at < ends)):
            at, ends = at[inside], ends[inside]
            found.append(at)
            at = at + BLOCK
        return np.sort(np.concatenate(found))


class KnownTrades(NamedTuple):
    """What the maker of trades knows of them, so that nobody has to read it from them.

    others: uint64[runs], of the trades of each run; columns, sent_at: each as `checksums_by_column` asks.
    """

    runs: SentRuns
    others: np.ndarray
    columns: Mapping[str, np.ndarray]
    sent_at: np.ndarray

    def checksums(self) -> Checksums:
        """Those of the trades that were meant."""
        others = np.repeat(self.others, self.runs.ends - self.runs.starts)
        return checksums_by_column(others, self.columns, self.sent_at)


def intervals_of(runs: SentRuns, sums: Checksums) -> np.ndarray:
    """The stretches of trades (dtype INTERVAL), in the order of sending."""
    starts = runs.stretches()
    blocks = (((runs.first & _IN_BLOCK).view(np.int64) + (runs.ends - runs.starts - 1)) >> _BLOCK_BITS) + 1
    low = starts.view(np.uint64) + np.repeat(runs.first - runs.starts.view(np.uint64), blocks)
    found = np.empty(len(starts), INTERVAL)
    found["session"] = np.repeat(runs.session, blocks)
    found["low"] = low
    found["high"] = low + (np.diff(starts, append=runs.ends[-1:]) - 1).view(np.uint64)
    found["sum"] = np.add.reduceat(sums.content, starts)
    found["times"] = np.add.reduceat(sums.times, starts)
    return found


def breaks_of(session: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Where, in trades in the order of sending, one does not continue the one before it, or begins a block."""
    breaks = session[1:] != session[:-1]
    breaks |= number[1:] - number[:-1] != 1
    breaks |= number[1:] & _IN_BLOCK == 0
    return np.flatnonzero(breaks) + 1


def joined(intervals: np.ndarray) -> np.ndarray:
    """Intervals (dtype INTERVAL) by session and number, those that continue each other within a block as one."""
    return continued(intervals.take(np.lexsort((intervals["low"], intervals["session"]))))


def continued(intervals: np.ndarray) -> np.ndarray:
    """Neighbours that continue each other within a block as one; in the order that they are in."""
    if not len(intervals):
        return intervals
    broken = intervals["session"][1:] != intervals["session"][:-1]
    broken |= intervals["low"][1:] - intervals["high"][:-1] != 1
    broken |= intervals["low"][1:] & _IN_BLOCK == 0
    starts = np.append(0, np.flatnonzero(broken) + 1)
    result = intervals.take(starts)
    result["high"] = intervals["high"][np.append(starts[1:], len(intervals)) - 1]
    for sums in ("sum", "times"):
        result[sums] = np.add.reduceat(intervals[sums], starts)
    return result
