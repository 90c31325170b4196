"""A slot for each number that was sent: what it is to hold, and what was found."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from k2ctl.domain.checksums import checksums
from k2ctl.domain.copies import sessions_and_numbers
from k2ctl.lake.readers import Placed
from k2ctl.load.acknowledged_log import SENT, AcknowledgedLog
from k2ctl.load.sent_intervals import DIGESTS_FROM, breaks_of, joined

SLOTS_A_PASS: Final = 16_000_000
"""Some 12 bytes each are in memory at once."""

LARGEST_HOLE: Final = 1_000_000
"""Numbers between two intervals of a session for which there are no slots: two archives of a symbol, years apart."""


@dataclass(frozen=True)
class Sessions:
    """What all runs of a topic sent, by session. unfinished: bool[n], sent by a load that did not end.

    sent: dtype SENT, sorted by session, copies and backwards added up; a session with large holes among its numbers
    comes several times, a stretch of numbers each. low, high: uint64[n], the numbers sent.
    ours: uint64, sorted, the sessions of any load of ours: these, and those of runs that are not compared now.
    again: uint64, sessions that were sent more than once, each time with other times of sending.
    certain: uint64, those of `again` with one trade that some load which ended knows to be acknowledged.
    """

    sent: np.ndarray
    unfinished: np.ndarray
    low: np.ndarray
    high: np.ndarray
    intervals: np.ndarray
    failed: np.ndarray
    ours: np.ndarray
    again: np.ndarray
    certain: np.ndarray

    @staticmethod
    def of(logs: Sequence[AcknowledgedLog], ours: np.ndarray) -> "Sessions":
        """Several runs together. A session that was sent twice, a trade that was replayed again, is expected once."""
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
        stretch, low, high = _stretches_of(names, intervals)
        again = names[np.bincount(code, minlength=len(names)) > 1]
        certain = np.unique(np.concatenate([_acknowledged(log, again) for log in logs]))
        failed = np.concatenate([log.failed for log in logs])
        failed = failed[np.unique(failed[["session", "number"]], return_index=True)[1]]
        failed = failed[~np.isin(failed["session"], certain)]
        repeated = np.append(False, stretch[1:] == stretch[:-1])[: len(stretch)]
        together, unfinished = together.take(stretch), unfinished.take(stretch)
        for column in ("copies", "backwards"):
            together[column][repeated] = 0
        return Sessions(together, unfinished, low, high, intervals, failed, ours, again, certain)

    @property
    def sizes(self) -> np.ndarray:
        """int64[n]: numbers from the lowest to the highest that was sent."""
        return np.asarray((self.high - self.low).astype(np.int64) + 1)

    def symbols(self, chosen: np.ndarray) -> list[str]:
        """The symbols of some sessions, by position."""
        return sorted({symbol.decode("utf-8", "replace") for symbol in self.sent["symbol"][chosen].tolist()})

    def passes(self) -> Iterator[np.ndarray]:
        """Positions of sessions, in groups that fit in memory; all stretches of a session are in one."""
        if not len(self.sent):
            return
        fresh = np.append(True, self.sent["session"][1:] != self.sent["session"][:-1])
        session = np.cumsum(fresh) - 1
        ends = np.cumsum(np.bincount(session, self.sizes).astype(np.int64))
        passes = (ends - 1) // SLOTS_A_PASS
        for number in np.unique(passes).tolist():
            yield np.flatnonzero(passes[session] == number)


def _stretches_of(names: np.ndarray, intervals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each stretch of numbers without a large hole: its session's position, its lowest and its highest number.

    Of a session without any numbers, 0 to 0. intervals: sorted by session, and by number from and to.
    """
    owner = np.searchsorted(names, intervals["session"])
    fresh = np.ones(len(intervals), np.bool_)
    beyond = intervals["low"][1:] - np.minimum(intervals["high"][:-1], intervals["low"][1:]) > LARGEST_HOLE
    fresh[1:] = (owner[1:] != owner[:-1]) | beyond
    starts = np.flatnonzero(fresh)
    ends = np.append(starts[1:], len(intervals)) - 1 if len(starts) else starts
    without = np.setdiff1d(np.arange(len(names)), owner)
    none = np.zeros(len(without), np.uint64)
    stretch = np.concatenate([owner[starts], without])
    low = np.concatenate([intervals["low"][starts], none])
    high = np.concatenate([intervals["high"][ends], none])
    order = np.lexsort((low, stretch))
    return stretch[order], low[order], high[order]


def _acknowledged(log: AcknowledgedLog, among: np.ndarray) -> np.ndarray:
    """The sessions of one trade, of some, that a load which ended knows Kafka to have."""
    if not log.run.finished:
        return np.zeros(0, np.uint64)
    sent = log.intervals["session"][log.intervals["low"] == log.intervals["high"]]
    return np.asarray(sent[np.isin(sent, among) & ~np.isin(sent, log.failed["session"])])


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


NEVER_SENT: Final = 0
ACKNOWLEDGED: Final = 1
UNCERTAIN: Final = 2
"""What a slot is to hold: nothing; a trade; a trade perhaps, because its delivery failed or its load was killed."""

IN_LAKE, IN_TAIL, DEFERRED, DEAD = 1, 2, 4, 8

NOWHERE: Final = -1
"""The place of a trade whose place in Kafka is not known: its order is not compared."""


class Interval(NamedTuple):
    """Numbers of one session that have something in common."""

    symbol: str
    first: int
    last: int
    trades: int
    # The one that was altered; empty where it is not known.
    column: str = ""
    # Of a trade that no number distinguishes; else empty.
    message_id: str = ""


class Slots:
    """One pass: a slot for each number of some sessions, what it is to hold, and what was found."""

    def __init__(self, sessions: Sessions, chosen: np.ndarray) -> None:
        self._sessions, self._chosen = sessions, chosen
        self._names, self._symbols = (sessions.sent[column][chosen] for column in ("session", "symbol"))
        self._low, self._high = sessions.low[chosen], sessions.high[chosen]
        sizes = sessions.sizes[chosen]
        self._base = np.cumsum(sizes) - sizes
        total = int(sizes.sum())
        self.expected = np.zeros(total, np.uint8)
        self.found = np.zeros(total, np.uint8)
        self.doubled = np.zeros(total, np.bool_)
        self._place = np.full(total, NOWHERE, np.int64)
        self._has_holes = bool((self._names[1:] == self._names[:-1]).any())
        mine = np.isin(sessions.intervals["session"], self._names)
        self._intervals = sessions.intervals[mine]
        self._starts = self._slots_of(self._intervals["session"], self._intervals["low"])
        self._lengths = (self._intervals["high"] - self._intervals["low"]).astype(np.int64) + 1
        self._sums, self._times = (np.zeros(len(self._intervals), np.uint64) for _ in range(2))
        self._expect()
        self.foreign = self.beyond = 0
        self.unexpected_of: dict[str, tuple[int, int, int]] = {}

    def _expect(self) -> None:
        for start, length in zip(self._starts.tolist(), self._lengths.tolist(), strict=True):
            self.expected[start : start + length] = ACKNOWLEDGED
        doubtful = self._sessions.unfinished[self._chosen] & ~np.isin(self._names, self._sessions.certain)
        for at in np.flatnonzero(doubtful).tolist():
            part = self.expected[self._part(at)]
            part[part == ACKNOWLEDGED] = UNCERTAIN
        failed = self._sessions.failed
        self._failed = failed[np.isin(failed["session"], self._names)]
        self._failed_slots = self._slots_of(self._failed["session"], self._failed["number"])
        self.expected[self._failed_slots] = UNCERTAIN

    def _part(self, at: int) -> slice:
        end = self._base[at + 1] if at + 1 < len(self._base) else len(self.expected)
        return slice(int(self._base[at]), int(end))

    def _slots_of(self, session: np.ndarray, number: np.ndarray) -> np.ndarray:
        """int64[n]: the slots of numbers within their session's span."""
        at = self._stretch(np.searchsorted(self._names, session), number)
        return np.asarray(self._base[at] + (number - self._low[at]).astype(np.int64))

    def _stretch(self, at: np.ndarray, number: np.ndarray) -> np.ndarray:
        """The stretch of each number, where `at` is the first of its session."""
        if not self._has_holes:
            return at
        left, right = at, np.searchsorted(self._names, self._names[at], side="right") - 1
        while (left < right).any():
            middle = (left + right + 1) // 2
            above = self._low[middle] <= number
            left, right = np.where(above, middle, left), np.where(above, right, middle - 1)
        return left

    def take(self, placed: Placed, source: int) -> None:
        """Trades from one source; the first showing of each counts, in the order of the calls.

        Foreign is what no load sent, neither of this pass nor of another; a load's id with another symbol, too.
        """
        trades, place = placed.trades, placed.place
        if not len(trades) or not len(self._names):
            return
        session, number = sessions_and_numbers(trades)
        at, ours = self._positions(session)
        at = self._stretch(at, number)
        known = ours & (trades["symbol"] == self._symbols[at])
        if source in (IN_LAKE, IN_TAIL) and not known.all():
            self.foreign += int((ours[~known] | ~np.isin(session[~known], self._sessions.ours)).sum())
        inside = known & (number >= self._low[at]) & (number <= self._high[at])
        if not inside.all():
            self._note_outside(at[known & ~inside], number[known & ~inside])
            # numpy takes records by position many times faster than by mask.
            trades, place, at, number = (part.take(np.flatnonzero(inside)) for part in (trades, place, at, number))
        slots = self._base[at] + (number - self._low[at]).astype(np.int64)
        surprise = self.expected[slots] == NEVER_SENT
        if surprise.any():
            self._surprised(at[surprise], number[surprise])
        first = self._first_showings(slots, source)
        if first is not None:
            trades, place, slots, surprise = (part.take(first) for part in (trades, place, slots, surprise))
        self.found[slots], self._place[slots] = source, place
        if surprise.any():
            trades, slots = (part.take(np.flatnonzero(~surprise)) for part in (trades, slots))
        self._add_up(trades, slots)

    def _positions(self, session: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """int64[n] and bool[n]: where each session is among those of this pass, and whether it is one of them."""
        heads = np.append(0, np.flatnonzero(session[1:] != session[:-1]) + 1)
        at = np.minimum(np.searchsorted(self._names, session[heads]), len(self._names) - 1)
        known = self._names[at] == session[heads]
        lengths = np.diff(np.append(heads, len(session)))
        return np.repeat(at, lengths), np.repeat(known, lengths)

    def _first_showings(self, slots: np.ndarray, source: int) -> np.ndarray | None:
        """Which trades are the first in their slot, and None for all; in the table, others make it doubled."""
        # Of two in one slot the later overwrites the earlier's number. The caller fills in the places.
        numbers = np.arange(len(slots))
        empty = self.found[slots] == 0
        before = self._place[slots]
        self._place[slots] = numbers
        if empty.all() and (self._place[slots] == numbers).all():
            return None
        self._place[slots] = before
        distinct, first = np.unique(slots, return_index=True)
        if source == IN_LAKE:
            self.doubled[distinct[self.found[distinct] != 0]] = True
            self.doubled[slots[np.setdiff1d(numbers, first)]] = True
        return np.asarray(first[self.found[distinct] == 0])

    def _add_up(self, trades: np.ndarray, slots: np.ndarray) -> None:
        """Checksums, to the interval that each trade belongs to."""
        if not len(trades):
            return
        starts = np.append(0, breaks_of(*sessions_and_numbers(trades)))
        ends = np.append(starts[1:], len(slots)) - 1
        owner, owner_of_last = (np.searchsorted(self._starts, slots[of], side="right") - 1 for of in (starts, ends))
        whole = bool((owner == owner_of_last).all())
        if not whole:
            owner = np.searchsorted(self._starts, slots, side="right") - 1
        for sums, values in zip((self._sums, self._times), checksums(trades), strict=True):
            np.add.at(sums, owner, np.add.reduceat(values, starts) if whole else values)

    def _note_outside(self, at: np.ndarray, number: np.ndarray) -> None:
        """Numbers past the span: of a load that was killed they were sent after its last word; else they are wrong."""
        later = self._sessions.unfinished[self._chosen][at]
        self.beyond += int(later.sum())
        self._surprised(at[~later], number[~later])

    def _surprised(self, at: np.ndarray, number: np.ndarray) -> None:
        for session in np.unique(at).tolist():
            numbers = number[at == session]
            low, high, count = self.unexpected_of.get(self.symbol(session), (2**64, 0, 0))
            self.unexpected_of[self.symbol(session)] = (
                min(low, int(numbers.min())),
                max(high, int(numbers.max())),
                count + len(numbers),
            )

    def of_unfinished(self) -> int:
        """Trades of killed loads that are somewhere."""
        parts = (self._part(at) for at in np.flatnonzero(self._sessions.unfinished[self._chosen]).tolist())
        return self.beyond + sum(int(np.count_nonzero(self.found[part])) for part in parts)

    def symbol(self, at: int) -> str:
        """The symbol of a session of this pass."""
        return bytes(self._sessions.sent["symbol"][self._chosen[at]]).decode("utf-8", "replace")

    def runs(self, mask: np.ndarray) -> list[Interval]:
        """The slots of a boolean mask as stretches of numbers, each within one session."""
        slots = np.flatnonzero(mask)
        if not len(slots):
            return []
        at = np.searchsorted(self._base, slots, side="right") - 1
        starts = np.append(0, np.flatnonzero((np.diff(slots) > 1) | (np.diff(at) > 0)) + 1)
        ends = np.append(starts[1:], len(slots)) - 1
        number = self._low[at] + (slots - self._base[at]).astype(np.uint64)
        return self._named(at[starts], number[starts], number[ends])

    def _named(self, at: np.ndarray, first: np.ndarray, last: np.ndarray) -> list[Interval]:
        """Stretches of numbers of sessions by position."""
        found = []
        for session, low, high in zip(at.tolist(), first.tolist(), last.tolist(), strict=True):
            name = f"{int(self._names[session]):016x}{low:016x}" if low >= DIGESTS_FROM else ""
            found.append(
                Interval(self.symbol(session), low, high, high - low + 1, "", str(uuid.UUID(name)) if name else "")
            )
        return found

    def missing(self) -> np.ndarray:
        """bool[slots]: acknowledged, and nowhere; of a killed load, also what precedes one that is there."""
        absent = (self.found == 0) & (self.expected == ACKNOWLEDGED)
        for at in np.flatnonzero(self._sessions.unfinished[self._chosen]).tolist():
            part = self._part(at)
            there = np.flatnonzero(self.found[part])
            if len(there):
                before = slice(part.start, part.start + int(there[-1]))
                absent[before] |= (self.found[before] == 0) & (self.expected[before] == UNCERTAIN)
        absent[self._failed_slots] = False
        return np.asarray(absent)

    def altered(self) -> tuple[list[Interval], list[Interval], int]:
        """Intervals whose trades are all there and are not what was sent, those whose trades are, but for the time of
        sending, and the trades that could not be compared."""
        # Where intervals of two replays overlap, trades count for the later: the earlier then lacks some.
        there = (self.found != 0) & (self.expected != NEVER_SENT)
        present = np.add.reduceat(there, self._starts, dtype=np.int64) if len(self._starts) else self._lengths
        absent = self.found[self._failed_slots] == 0
        owner = np.searchsorted(self._starts, self._failed_slots[absent], side="right") - 1
        due = self._lengths.copy()
        np.subtract.at(due, owner, 1)
        whole = present == due
        differ = {}
        for name, sums in (("sum", self._sums), ("times", self._times)):
            sent = self._intervals[name].copy()
            np.subtract.at(sent, owner, self._failed[name][absent])
            differ[name] = sent != sums
        once = ~np.isin(self._intervals["session"], self._sessions.again)
        wrong, late = whole & differ["sum"], whole & ~differ["sum"] & differ["times"] & once
        return self._stretches(wrong), self._stretches(late), int(present[~whole].sum())

    def _stretches(self, mask: np.ndarray) -> list[Interval]:
        """Some of the intervals that were sent."""
        chosen = self._intervals[mask]
        at = np.searchsorted(self._names, chosen["session"])
        return self._named(at, chosen["low"], chosen["high"])

    def out_of_order(self) -> list[Interval]:
        """Sessions whose trades are in Kafka's order further from the order of their numbers than they were sent."""
        found = []
        for at in np.flatnonzero(self._high > self._low).tolist():
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
