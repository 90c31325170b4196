"""The venue's numbers on each line: where they have gaps, and which of those another line fills.

A gap of a line is what the tracker says of the line's own trades, and what the line lacks before its first and behind
its last number of a channel, of which other lines tell. A number is missing on all lines where the tracker says so of
the trades of all of them; the others are filled.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from k2ctl.clock import Clock
from k2ctl.domain.trade import NO_SEQUENCE
from k2ctl.profiles.model import SequenceSettings
from k2ctl.sequence.channels import Gap
from k2ctl.sequence.feed_numbers import RecordedGaps
from k2ctl.sequence.lines.matching import Prints
from k2ctl.sequence.tracker import SequenceTracker


@dataclass(frozen=True)
class LineGaps:
    """Gaps, and the numbers that are missing in them."""

    gaps: int
    numbers: int
    # Of them those of which other lines have every number; and all numbers that other lines have.
    filled_gaps: int
    filled_numbers: int


class _NumbersOf:
    """The numbers of some trades."""

    def __init__(self, clock: Clock, settings: SequenceSettings | None, *, knows_begin: bool) -> None:
        self.tracker = SequenceTracker(clock, settings=settings, knows_begin=knows_begin)
        self.recorded = self.tracker.gaps = RecordedGaps()

    def add(self, arrived: np.ndarray) -> None:
        self.tracker.step(arrived, arrived["partition"])

    def gaps(self) -> Iterator[tuple[bytes, Gap]]:
        """The channel's name, and each gap, also those that a restart of the counter explains."""
        for channel, gap in (*self.recorded.reset, *self.recorded):
            yield self.tracker.channels.names[channel], gap

    def run(self, channel: int) -> Gap:
        """All numbers of a channel's present run."""
        of = self.tracker.channels
        columns = (of.first, of.highest + 1, of.seen_us, of.begun_us, of.latest_us)
        return Gap(*(int(column[channel]) for column in columns))


class LineNumbers:
    """Follows the numbers of lines side by side, which all have the same kind of numbers.

    knows_begin: as of `SequenceTracker`.
    """

    def __init__(self, clock: Clock, settings: SequenceSettings | None, lines: int, *, knows_begin: bool) -> None:
        self._lines = [_NumbersOf(clock, settings, knows_begin=knows_begin) for _ in range(lines)]
        self._all = _NumbersOf(clock, settings, knows_begin=knows_begin)
        self.numbered = 0
        """Prints with a number."""

    def add(self, arrived: np.ndarray, prints: Prints) -> None:
        """Prints of a slice of time; `prints` has their places in it."""
        for line, followed in enumerate(self._lines):
            there = prints.place[:, line]
            followed.add(arrived.take(np.sort(there[there >= 0])))
        first = arrived.take(np.sort(prints.place[np.arange(len(prints.place)), prints.received_ns.argmin(axis=1)]))
        self.numbered += int((first["source_sequence"] != NO_SEQUENCE).sum())
        self._all.add(first)

    def missing_on_all(self) -> LineGaps:
        """What no line has."""
        gaps = [gap for _, gap in self._all.gaps()]
        return LineGaps(len(gaps), sum(gap.missing for gap in gaps), 0, 0)

    def gaps(self) -> list[LineGaps]:
        """Of each line."""
        nowhere: dict[bytes, list[Gap]] = {}
        for name, gap in self._all.gaps():
            nowhere.setdefault(name, []).append(gap)
        for gaps in nowhere.values():
            gaps.sort(key=_event_us)
        return [self._of(line, nowhere) for line in self._lines]

    def _of(self, line: _NumbersOf, nowhere: dict[bytes, list[Gap]]) -> LineGaps:
        gaps = [*line.gaps(), *self._at_ends(line)]
        left = [_missing_within(gap, nowhere.get(name, ())) for name, gap in gaps]
        numbers = sum(gap.missing for _, gap in gaps)
        return LineGaps(len(gaps), numbers, sum(not missing for missing in left), numbers - sum(left))

    def _at_ends(self, line: _NumbersOf) -> Iterator[tuple[bytes, Gap]]:
        """What a line lacks of each channel's present run before its first and behind its last number."""
        known = {name: number for number, name in enumerate(line.tracker.channels.names)}
        runs = self._all.tracker.channels.run
        for channel, name in enumerate(self._all.tracker.channels.names):
            whole, own = self._all.run(channel), known.get(name)
            if own is None or line.tracker.channels.run[own] < runs[channel]:
                yield name, whole
                continue
            part = line.run(own)
            ends = (whole._replace(after=part.start), whole._replace(start=part.after))
            yield from ((name, gap) for gap in ends if gap.missing > 0)


def _event_us(gap: Gap) -> int:
    return gap.event_us


def _missing_within(gap: Gap, nowhere: Sequence[Gap]) -> int:
    """How many numbers of a gap are in gaps of all lines, of the same run: their times are within those of the gap.

    nowhere: by `_event_us`.
    """
    first, last = bisect_left(nowhere, gap.before_us, key=_event_us), bisect_right(nowhere, gap.event_us, key=_event_us)
    inside = (one for one in nowhere[first:last] if gap.before_us <= one.before_us)
    return sum(max(0, min(gap.after, one.after) - max(gap.start, one.start)) for one in inside)
