"""What must be found: every run's intervals, laid out as one slot for each number, and what was found in each slot."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from k2ctl.lake.reading.whole import Placed
from k2ctl.load.truth import SENT, Truth, joined
from k2ctl.schema.checksum import checksums, sessions_and_numbers

NEVER_SENT, ACKNOWLEDGED, UNCERTAIN = 0, 1, 2
"""What a slot is to hold: nothing; a trade; a trade perhaps, because its delivery failed or its load was killed."""

IN_LAKE, IN_TAIL, ASIDE, DEAD = 1, 2, 4, 8

SLOTS_A_PASS: Final = 16_000_000
"""Some 10 bytes each are in memory at once."""


class Interval(NamedTuple):
    """Numbers of one session that share something."""

    symbol: str
    first: int
    last: int
    trades: int


@dataclass(frozen=True)
class Sessions:
    """What all runs of a topic sent, by session. unfinished: bool[n], sent by a load that did not end.

    sent: dtype SENT, sorted by session, copies and backwards added up. low, high: uint64[n], the numbers sent.
    """

    sent: np.ndarray
    unfinished: np.ndarray
    low: np.ndarray
    high: np.ndarray
    intervals: np.ndarray
    failed: np.ndarray

    @staticmethod
    def of(truths: Sequence[Truth]) -> "Sessions":
        """Several runs together. A session that was sent twice, a replayed file, is expected once."""
        sent = np.concatenate([truth.sessions for truth in truths] or [np.zeros(0, SENT)])
        names, first, code = np.unique(sent["session"], return_index=True, return_inverse=True)
        together = sent[first]
        for column in ("copies", "backwards"):
            together[column] = 0
            np.add.at(together[column], code, sent[column])
        unfinished = np.zeros(len(names), np.bool_)
        for truth in truths:
            if not truth.run.finished:
                unfinished[np.searchsorted(names, truth.sessions["session"])] = True
        intervals = _united([truth.intervals for truth in truths])
        low, high = np.full(len(names), np.iinfo(np.uint64).max, np.uint64), np.zeros(len(names), np.uint64)
        owner = np.searchsorted(names, intervals["session"])
        np.minimum.at(low, owner, intervals["low"])
        np.maximum.at(high, owner, intervals["high"])
        low = np.minimum(low, high)
        failed = np.concatenate([truth.failed for truth in truths])
        failed = failed[np.unique(failed[["session", "number"]], return_index=True)[1]]
        return Sessions(together, unfinished, low, high, intervals, failed)

    @property
    def sizes(self) -> np.ndarray:
        """int64[n]: numbers from the lowest to the highest that was sent."""
        return np.asarray((self.high - self.low).astype(np.int64) + 1)

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
    lengths = every["high"] - every["low"]
    ordered = every[np.lexsort((-lengths.astype(np.int64), every["low"], every["session"]))]
    keep, session, covered = np.ones(len(ordered), np.bool_), -1, -1
    for at, (name, high) in enumerate(zip(ordered["session"].tolist(), ordered["high"].tolist(), strict=True)):
        if name != session:
            session, covered = name, -1
        keep[at] = high > covered
        covered = max(covered, high)
    return joined(ordered[keep])


class Slots:
    """One pass: a slot for each number of some sessions, what it is to hold, and what was found."""

    def __init__(self, sessions: Sessions, chosen: np.ndarray) -> None:
        self._sessions, self._chosen = sessions, chosen
        self._names = sessions.sent["session"][chosen]
        self._low, self._high = sessions.low[chosen], sessions.high[chosen]
        sizes = sessions.sizes[chosen]
        self._base = np.cumsum(sizes) - sizes
        total = int(sizes.sum())
        self.expected = np.zeros(total, np.uint8)
        self.found = np.zeros(total, np.uint8)
        self.doubled = np.zeros(total, np.bool_)
        self._place = np.full(total, -1, np.int64)
        mine = np.isin(sessions.intervals["session"], self._names)
        self._intervals = sessions.intervals[mine]
        self._starts = self._slots_of(self._intervals["session"], self._intervals["low"])
        self._lengths = (self._intervals["high"] - self._intervals["low"]).astype(np.int64) + 1
        self._sums = np.zeros((len(self._intervals), 2), np.uint64)
        self._expect()
        self.foreign = self.unexpected = self.beyond = 0
        self.unexpected_of: dict[str, tuple[int, int, int]] = {}

    def _expect(self) -> None:
        marks = np.zeros(len(self.expected) + 1, np.int32)
        np.add.at(marks, self._starts, 1)
        np.add.at(marks, self._starts + self._lengths, -1)
        sent = np.cumsum(marks[:-1]) > 0
        self.expected[sent] = ACKNOWLEDGED
        for at in np.flatnonzero(self._sessions.unfinished[self._chosen]).tolist():
            part = self._part(at)
            self.expected[part][self.expected[part] == ACKNOWLEDGED] = UNCERTAIN
        failed = self._sessions.failed
        self._failed = failed[np.isin(failed["session"], self._names)]
        self._failed_slots = self._slots_of(self._failed["session"], self._failed["number"])
        self.expected[self._failed_slots] = UNCERTAIN

    def _part(self, at: int) -> slice:
        end = self._base[at + 1] if at + 1 < len(self._base) else len(self.expected)
        return slice(int(self._base[at]), int(end))

    def _slots_of(self, session: np.ndarray, number: np.ndarray) -> np.ndarray:
        """int64[n]: the slots of numbers that lie within their session's span."""
        at = np.searchsorted(self._names, session)
        return np.asarray(self._base[at] + (number - self._low[at]).astype(np.int64))

    def take(self, placed: Placed, source: int) -> None:
        """Trades from one source; the first showing of each counts, in the order of the calls.

        Foreign is what no load sent, neither of this pass nor of another.
        """
        session, number = sessions_and_numbers(placed.trades)
        at = np.minimum(np.searchsorted(self._names, session), max(0, len(self._names) - 1))
        known = self._names[at] == session if len(self._names) else np.zeros(len(session), np.bool_)
        if source in (IN_LAKE, IN_TAIL):
            self.foreign += int((~np.isin(session[~known], self._sessions.sent["session"])).sum())
        inside = known & (number >= self._low[at]) & (number <= self._high[at])
        self._note_outside(at[known & ~inside], number[known & ~inside])
        slots = self._base[at[inside]] + (number[inside] - self._low[at[inside]]).astype(np.int64)
        surprise = self.expected[slots] == NEVER_SENT
        self._surprised(at[inside][surprise], number[inside][surprise])
        fresh, first = np.unique(slots, return_index=True)
        if source == IN_LAKE:
            self.doubled[fresh[self.found[fresh] != 0]] = True
            self.doubled[slots[np.setdiff1d(np.arange(len(slots)), first)]] = True
        new = self.found[fresh] == 0
        fresh, first = fresh[new], first[new]
        self.found[fresh] = source
        self._place[fresh] = placed.place[inside][first]
        wanted = self.expected[fresh] != NEVER_SENT
        owner = np.searchsorted(self._starts, fresh[wanted], side="right") - 1
        np.add.at(self._sums, owner, checksums(placed.trades[inside][first[wanted]]))

    def _note_outside(self, at: np.ndarray, number: np.ndarray) -> None:
        """Numbers past the span: of a load that was killed they were sent after its last word; else they are wrong."""
        later = self._sessions.unfinished[self._chosen][at]
        self.beyond += int(later.sum())
        self._surprised(at[~later], number[~later])

    def _surprised(self, at: np.ndarray, number: np.ndarray) -> None:
        self.unexpected += len(at)
        for session in np.unique(at).tolist():
            numbers = number[at == session]
            low, high, count = self.unexpected_of.get(self.symbol(session), (2**64, 0, 0))
            self.unexpected_of[self.symbol(session)] = (
                min(low, int(numbers.min())),
                max(high, int(numbers.max())),
                count + len(numbers),
            )

    def of_unfinished(self) -> np.ndarray:
        """bool[slots]: of a session that a killed load sent."""
        return np.asarray(np.repeat(self._sessions.unfinished[self._chosen], self._sessions.sizes[self._chosen]))

    def symbol(self, at: int) -> str:
        """The symbol of a session of this pass."""
        return bytes(self._sessions.sent["symbol"][self._chosen[at]]).decode("ascii", "replace")

    def runs(self, mask: np.ndarray) -> list[Interval]:
        """The slots of a boolean mask as stretches of numbers, each within one session."""
        slots = np.flatnonzero(mask)
        if not len(slots):
            return []
        at = np.searchsorted(self._base, slots, side="right") - 1
        starts = np.append(0, np.flatnonzero((np.diff(slots) > 1) | (np.diff(at) > 0)) + 1)
        ends = np.append(starts[1:], len(slots)) - 1
        number = self._low[at] + (slots - self._base[at]).astype(np.uint64)
        columns = (at[starts].tolist(), number[starts].tolist(), number[ends].tolist())
        return [Interval(self.symbol(s), low, high, high - low + 1) for s, low, high in zip(*columns, strict=True)]

    def missing(self) -> np.ndarray:
        """bool[slots]: acknowledged, and nowhere; of a killed load's, what lies before a later one that is there."""
        absent = (self.found == 0) & (self.expected == ACKNOWLEDGED)
        for at in np.flatnonzero(self._sessions.unfinished[self._chosen]).tolist():
            part = self._part(at)
            there = np.flatnonzero(self.found[part])
            if len(there):
                before = slice(part.start, part.start + int(there[-1]))
                absent[before] |= (self.found[before] == 0) & (self.expected[before] == UNCERTAIN)
        absent[self._failed_slots] = False
        return np.asarray(absent)

    def altered(self) -> tuple[list[Interval], int]:
        """Intervals whose trades are all there and are not what was sent; and the trades that could not be compared."""
        # Where intervals of two replays overlap, trades count for the later: the earlier then lacks some.
        there = np.flatnonzero((self.found != 0) & (self.expected != NEVER_SENT))
        present = np.bincount(np.searchsorted(self._starts, there, side="right") - 1, minlength=len(self._starts))
        sums = self._intervals["sum"].copy()
        absent = self.found[self._failed_slots] == 0
        owner = np.searchsorted(self._starts, self._failed_slots[absent], side="right") - 1
        np.subtract.at(sums, owner, self._failed["sum"][absent])
        due = self._lengths.copy()
        np.subtract.at(due, owner, 1)
        whole = present == due
        wrong = np.flatnonzero(whole & (sums != self._sums).any(axis=1))
        at = np.searchsorted(self._names, self._intervals["session"][wrong])
        columns = (at.tolist(), self._intervals["low"][wrong].tolist(), self._intervals["high"][wrong].tolist())
        found = [Interval(self.symbol(s), low, high, high - low + 1) for s, low, high in zip(*columns, strict=True)]
        return found, int(present[~whole].sum())

    def out_of_order(self) -> list[Interval]:
        """Sessions whose trades lie in Kafka's order further from the order of their numbers than they were sent."""
        found = []
        for at in range(len(self._names)):
            part = self._part(at)
            there = np.flatnonzero(self._place[part] >= 0)
            place = self._place[part][there]
            if len(place) < 2 or (np.diff(place) > 0).all():
                continue
            numbers = there[np.argsort(place, kind="stable")]
            back = np.flatnonzero(np.diff(numbers) < 0)
            more = len(back) - int(self._sessions.sent["backwards"][self._chosen[at]])
            if more > 0:
                low = int(self._low[at])
                touched = numbers[np.append(back, back + 1)]
                found.append(Interval(self.symbol(at), low + int(touched.min()), low + int(touched.max()), more))
        return found
