"""What must be found: the sessions of every run of a topic, and the numbers that were sent in each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from k2ctl.load.acknowledged_log import SENT, AcknowledgedLog, joined

SLOTS_A_PASS: Final = 16_000_000
"""Some 12 bytes each are in memory at once."""


@dataclass(frozen=True)
class Sessions:
    """What all runs of a topic sent, by session. unfinished: bool[n], sent by a load that did not end.

    sent: dtype SENT, sorted by session, copies and backwards added up. low, high: uint64[n], the numbers sent.
    ours: uint64, sorted, what is no stranger's: these, and the sessions of runs that are not held to anything now.
    again: uint64, sessions that were sent more than once, each time with other times of sending.
    """

    sent: np.ndarray
    unfinished: np.ndarray
    low: np.ndarray
    high: np.ndarray
    intervals: np.ndarray
    failed: np.ndarray
    ours: np.ndarray
    again: np.ndarray

    @staticmethod
    def of(logs: Sequence[AcknowledgedLog], ours: np.ndarray) -> "Sessions":
        """Several runs together. A session that was sent twice, a replayed file, is expected once."""
        sent = np.concatenate([log.sessions for log in logs] or [np.zeros(0, SENT)])
        names, first, code = np.unique(sent["session"], return_index=True, return_inverse=True)
        together = sent[first]
        for column in ("copies", "backwards"):
            together[column] = 0
            np.add.at(together[column], code, sent[column])
        unfinished = np.zeros(len(names), np.bool_)
        for log in logs:
            if not log.run.finished:
                unfinished[np.searchsorted(names, log.sessions["session"])] = True
        intervals = _united([log.intervals for log in logs])
        low, high = np.full(len(names), np.iinfo(np.uint64).max, np.uint64), np.zeros(len(names), np.uint64)
        owner = np.searchsorted(names, intervals["session"])
        np.minimum.at(low, owner, intervals["low"])
        np.maximum.at(high, owner, intervals["high"])
        low = np.minimum(low, high)
        failed = np.concatenate([log.failed for log in logs])
        failed = failed[np.unique(failed[["session", "number"]], return_index=True)[1]]
        again = names[np.bincount(code, minlength=len(names)) > 1]
        return Sessions(together, unfinished, low, high, intervals, failed, ours, again)

    @property
    def sizes(self) -> np.ndarray:
        """int64[n]: numbers from the lowest to the highest that was sent."""
        return np.asarray((self.high - self.low).astype(np.int64) + 1)

    def symbols(self, chosen: np.ndarray) -> list[str]:
        """The symbols of some sessions, by position."""
        return sorted({symbol.decode("ascii", "replace") for symbol in self.sent["symbol"][chosen].tolist()})

    def passes(self) -> Iterator[np.ndarray]:
        """Positions of sessions, in groups that fit in memory."""
        ends = np.cumsum(self.sizes)
        for number in range(int(ends[-1] // SLOTS_A_PASS) + 1 if len(ends) else 0):
            chosen = np.flatnonzero((ends - 1) // SLOTS_A_PASS == number)
            if len(chosen):
                yield chosen


def _united(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Intervals of all runs; where a later run repeats one, the longer of the two stands."""
    every = np.concatenate(parts)
    lengths = (every["high"] - every["low"]).astype(np.int64)
    ordered = every.take(np.lexsort((-lengths, every["low"], every["session"])))
    same = ordered["session"][1:] == ordered["session"][:-1]
    if (same & (ordered["low"][1:] <= ordered["high"][:-1])).any():
        ordered = ordered[_not_covered(ordered)]
    return joined(ordered)


def _not_covered(ordered: np.ndarray) -> np.ndarray:
    """bool[n]: intervals that hold a number which none before them in their session holds."""
    keep, session, covered = np.ones(len(ordered), np.bool_), -1, -1
    for at, (name, high) in enumerate(zip(ordered["session"].tolist(), ordered["high"].tolist(), strict=True)):
        if name != session:
            session, covered = name, -1
        keep[at] = high > covered
        covered = max(covered, high)
    return keep
