"""`k2ctl gaps --lines`: how complete and how quick each line is, beside the others, from what Kafka holds of them.

1. Take the time, then the watermarks of all lines: what came by that time is before them.
2. Read each line from there on backwards as far as the window and Kafka go; its prints go to the disk, by time.
3. Slice by slice of time, match the prints of all lines: the same print (`k2ctl.domain.copies`) is one trade.
4. Compare those that every line could have by now: received by the first line after what any line no longer holds, and
   so long ago that the other lines had the settling time to bring them. The rest is counted, and never missing.
5. Follow the venue's numbers of each line and of all of them together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from k2ctl.clock import Clock
from k2ctl.domain.figure import Durations
from k2ctl.domain.trade import Window
from k2ctl.endpoints import Endpoints
from k2ctl.feeds.topics import TopicFeeds
from k2ctl.profiles.model import SequenceSettings
from k2ctl.sequence.lines.matching import LineShares, Prints, prints_of
from k2ctl.sequence.lines.numbers import LineGaps, LineNumbers
from k2ctl.sequence.lines.prints import PrintsByTime, arrivals
from k2ctl.sequence.lines.reading import ALWAYS_NS, NEVER_NS, LineRead, LineReader, Say
from k2ctl.sequence.lines.skews import Skews


@dataclass(frozen=True)
class LineFigures:
    """One line beside the others. Counts are trades that are compared, unless they say otherwise."""

    line: str
    topic: str
    # Trades of the line, each once.
    trades: int
    # Copies within the line.
    repeated: int
    # Before all others, of the trades of several lines; and its share of them in per cent.
    first: int
    first_percent: float | None
    # On no other line.
    alone: int
    # On another line, and not on this one; and its share of all trades in per cent.
    missing: int
    missing_percent: float
    # Gaps in the venue's numbers; None where the numbers say nothing of that.
    gaps: LineGaps | None
    # How long after the first line, of the trades that came later on this line.
    skew_p50_us: float | None
    skew_p99_us: float | None
    later: int
    skew: Durations
    # True if the receive time is the timestamp of the Kafka record, in whole milliseconds; else the record says it.
    by_kafka_time: bool
    # Of all trades of the window, whether they are compared or not.
    first_received_us: int | None
    last_received_us: int | None
    # Trades that the consumer dead-letters; records that hold none, and those that Kafka no longer holds.
    refused: int
    undecodable: int
    gone_records: int
    # Why Kafka did not give all that it holds; else empty.
    unread: str


@dataclass(frozen=True)
class LinesReport:
    """Lines beside each other."""

    lines: tuple[LineFigures, ...]
    # Trades that are compared, those of every line, and those that came on several lines first at the same moment.
    trades: int
    on_all: int
    tied: int
    # What no line has of the venue's numbers; None where the numbers say nothing of that, and why.
    missing_on_all: LineGaps | None
    numbers: str
    settle_s: float
    # Compared is what was received first in [from, until); None: there is no such bound.
    from_us: int | None
    until_us: int
    # Trades from before, when Kafka no longer held all of every line; and those that may still come on other lines.
    no_longer_held: int
    unsettled: int


def lines_report(
    endpoints: Endpoints,
    feeds: TopicFeeds,
    lines: Mapping[str, str],
    window: Window,
    symbols: Sequence[str] | None,
    settle_s: float,
    clock: Clock,
    say: Say = lambda _: None,
) -> LinesReport:
    """lines: name → topic, two or more. window: exchange times. symbols: None is all.

    Raises:
        BrokerError: there is no such topic, or Kafka does not answer.
        ProfileError: a feed is not as it should be.
    """
    now_us = clock.now_us()
    readers = [LineReader(endpoints, name, topic, feeds.decoder(topic), window) for name, topic in lines.items()]
    with TemporaryDirectory(prefix="k2ctl-lines-") as folder:
        prints = PrintsByTime(_made(Path(folder) / "prints"))
        wanted = None if symbols is None else np.array([symbol.encode() for symbol in symbols])
        for number, reader in enumerate(readers):
            for rows in reader.trades(now_us, say):
                arrived = arrivals(rows, number)
                prints.add(arrived if wanted is None else arrived[np.isin(arrived["symbol"], wanted)])
        reads = [reader.read for reader in readers]
        settings, why = _numbers([feeds.sequence(topic) for topic in lines.values()], by_symbol=symbols is not None)
        whole = window.since_us is None and not any(read.gone for read in reads)
        numbers = None if why else LineNumbers(clock, settings, len(reads), knows_begin=whole)
        compared = ComparedSpan.of(reads, now_us, settle_s)
        comparison = LineComparison(compared, [Skews(Path(folder) / f"skew-{at}") for at in range(len(reads))], numbers)
        for slice_ in prints.slices():
            comparison.add(slice_)
        return comparison.report(reads, settle_s, why)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _numbers(declared: Sequence[SequenceSettings | None], *, by_symbol: bool) -> tuple[SequenceSettings | None, str]:
    """What the numbers of all lines are, and why they say nothing of gaps; empty if they do."""
    settings = declared[0] or SequenceSettings()
    if any((one or SequenceSettings()) != settings for one in declared):
        return None, "the feeds of the lines declare different numbers"
    if not settings.is_dense:
        return None, f"the numbers are declared as {settings.numbers}"
    if settings.spans_symbols and not settings.spans_partitions:
        return None, "a number is of a partition, and lines need not have the same ones"
    if settings.spans_symbols and by_symbol:
        return None, "one counter counts all symbols: leave --symbol out"
    return declared[0], ""


@dataclass(frozen=True)
class ComparedSpan:
    """Which prints are compared: those that the first line received in [from, until)."""

    from_ns: int
    until_ns: int

    @staticmethod
    def of(reads: Sequence[LineRead], now_us: int, settle_s: float) -> "ComparedSpan":
        """What every line could have by now."""
        settle_ns, from_ns = round(settle_s * 1e9), max(read.from_ns for read in reads)
        until_ns = min(now_us * 1000, *(read.until_ns for read in reads))
        if from_ns not in (ALWAYS_NS, NEVER_NS):
            from_ns += settle_ns
        return ComparedSpan(from_ns, max(until_ns, ALWAYS_NS + settle_ns) - settle_ns)


class LineComparison:
    """Adds up slices of time (dtype ARRIVAL). numbers: None where they say nothing of gaps."""

    def __init__(self, compared: ComparedSpan, skews: Sequence[Skews], numbers: LineNumbers | None) -> None:
        self._compared, self._skews, self._numbers = compared, skews, numbers
        self._shares = LineShares(len(skews))
        self._no_longer_held = self._unsettled = 0

    def add(self, arrived: np.ndarray) -> None:
        """All arrivals of some exchange times, in their order; later ones follow."""
        prints = prints_of(arrived, len(self._skews))
        first_ns = prints.first_ns
        held, settled = first_ns >= self._compared.from_ns, first_ns < self._compared.until_ns
        self._no_longer_held += int((~held).sum())
        self._unsettled += int((held & ~settled).sum())
        inside = prints.where(held & settled)
        self._note(arrived, inside)

    def _note(self, arrived: np.ndarray, prints: Prints) -> None:
        if not len(prints.place):
            return
        later_ns = self._shares.add(prints)
        for skews, column in zip(self._skews, later_ns.T, strict=True):
            skews.add(column[column > 0])
        if self._numbers is not None:
            self._numbers.add(arrived, prints)

    def report(self, reads: Sequence[LineRead], settle_s: float, why: str) -> LinesReport:
        """All that was added. why: nothing is said of gaps."""
        numbers = self._numbers if self._numbers is not None and self._numbers.numbered else None
        gaps = [None] * len(reads) if numbers is None else numbers.gaps()
        shares, compared = self._shares, self._compared
        return LinesReport(
            tuple(self._line(at, read, gaps[at]) for at, read in enumerate(reads)),
            shares.prints,
            shares.on_all,
            shares.tied,
            None if numbers is None else numbers.missing_on_all(),
            why or ("" if numbers is not None else "no trade has a number"),
            settle_s,
            None if compared.from_ns == ALWAYS_NS else compared.from_ns // 1000,
            compared.until_ns // 1000,
            self._no_longer_held,
            self._unsettled,
        )

    def _line(self, at: int, read: LineRead, gaps: LineGaps | None) -> LineFigures:
        shares, skews = self._shares, self._skews[at]
        trades, first = int(shares.trades[at]), int(shares.first[at])
        missing = shares.prints - trades
        return LineFigures(
            read.name,
            read.topic,
            trades,
            int(shares.repeated[at]),
            first,
            _percent(first, shares.on_several) if shares.on_several else None,
            int(shares.alone[at]),
            missing,
            _percent(missing, shares.prints),
            gaps,
            skews.quantile_us(0.5),
            skews.quantile_us(0.99),
            skews.count,
            skews.histogram,
            read.by_kafka_time,
            _us(read.first_received_ns),
            _us(read.last_received_ns),
            read.refused,
            read.undecodable,
            read.gone,
            read.unread,
        )


def _us(time_ns: int | None) -> int | None:
    return None if time_ns is None else time_ns // 1000


def _percent(part: int, whole: int) -> float:
    """0 and 100 only where it is none and all."""
    if not part or part == whole:
        return 100.0 if part else 0.0
    return min(99.999, max(0.001, round(100 * part / whole, 3)))
