"""What consumers report of lines: topics that carry the same market, where each copy tells how far two are apart."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from k2ctl.domain.figure import SKEW_BOUNDS_S, TOPIC, Durations, Series, counter, histogram, merged

NO_SKEW: Final = Durations(SKEW_BOUNDS_S, (0,) * (len(SKEW_BOUNDS_S) + 1))


@dataclass(frozen=True)
class LineCounts:
    """One line, as the commits of some consumers know it, since their start."""

    # Trades of the line, each once: those that were stored, and copies of what other lines had stored.
    trades: int = 0
    # Those copies.
    copies: int = 0
    # Of the trades of two lines, those that this one received first, by their receive times.
    first: int = 0
    # How long after the other line it received the others.
    skew: Durations = NO_SKEW

    def plus(self, other: "LineCounts") -> "LineCounts":
        """Both together."""
        counts = (self.trades + other.trades, self.copies + other.copies, self.first + other.first)
        return LineCounts(*counts, merged([self.skew, other.skew]))

    @property
    def compared(self) -> int:
        """Trades that another line has, too, and that came at different moments."""
        return self.first + sum(self.skew.counts)


Lines = Mapping[str, LineCounts]
"""By the name of the line."""


def all_lines(found: Sequence[Lines]) -> dict[str, LineCounts]:
    """Those of several consumers."""
    together: dict[str, LineCounts] = {}
    for lines in found:
        for name, counts in lines.items():
            together[name] = together.get(name, LineCounts()).plus(counts)
    return together


def _each(of: Callable[[LineCounts], Any]) -> Callable[[Lines], Series]:
    return lambda lines: [((name,), of(counts)) for name, counts in lines.items()]


METRICS_OF_LINES: Final = (
    counter(
        "k2_line_trades_total",
        TOPIC,
        "line",
        meaning="Trades of a line, each once: stored ones, and copies of what other lines had stored.",
        read=_each(lambda one: one.trades),
    ),
    counter(
        "k2_line_copies_total",
        TOPIC,
        "line",
        meaning="Trades of a line that another line had stored before.",
        read=_each(lambda one: one.copies),
    ),
    counter(
        "k2_line_first_total",
        TOPIC,
        "line",
        meaning="Trades of two lines that this one received first.",
        read=_each(lambda one: one.first),
    ),
    histogram(
        "k2_line_skew_seconds",
        TOPIC,
        "line",
        meaning="How long after another line a line received a trade, where it came second.",
        read=_each(lambda one: one.skew),
    ),
)
"""Of a field that is `Lines`."""
