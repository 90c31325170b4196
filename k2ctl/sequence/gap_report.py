"""The gap report: how complete the table is, by symbol and day, and what became of what is missing.

Made from the table alone, by the same tracker that the consumer uses, fed in exchange time; the ledger explains what
was put aside. So it tells the same after a crash, on another machine, and of years ago.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.clock import Clock
from k2ctl.lake.aside.ledger import Ledger
from k2ctl.lake.catalog import Lake
from k2ctl.lake.progress import progress_of
from k2ctl.lake.reading.sequenced import sequenced_rows
from k2ctl.profiles.universe import Universe
from k2ctl.schema.trade import TRADE
from k2ctl.sequence.counts import SequenceRules
from k2ctl.sequence.open_gaps import OpenGaps
from k2ctl.sequence.tracker import SequenceTracker
from k2ctl.state.symbols import Gap

GapState = Literal["OPEN", "LOST", "EXPLAINED"]

_DAY_US: Final = 86_400_000_000
_BATCH_ROWS: Final = 500_000
_MOST_GAPS: Final = 100_000


@dataclass(frozen=True)
class FoundGap:
    """Numbers first to last of a symbol that the table does not hold.

    state: OPEN, LOST (for longer than the deadline) or EXPLAINED; cause: `put aside` or `reset` for the latter.
    before_us, after_us: exchange times of the trades on both sides. day: of the trade after it.
    """

    exchange: str
    symbol: str
    day: str
    first: int
    last: int
    missing: int
    state: GapState
    cause: str
    before_us: int
    after_us: int


@dataclass(frozen=True)
class SymbolDay:
    """One symbol on one day (UTC, exchange time), in trades. completeness_percent: stored of stored and missing."""

    exchange: str
    symbol: str
    day: str
    stored: int
    missing: int
    open: int
    lost: int
    explained: int
    completeness_percent: float


@dataclass(frozen=True)
class GapReport:
    """days: every symbol and day with numbers; gaps: every gap.

    untracked: exchange → trades without a sequence number; of those nothing can be told. unverified_symbols: begin
    above number 1, so that what is missing before is not known. resets: restarts of a counter.
    """

    days: tuple[SymbolDay, ...]
    gaps: tuple[FoundGap, ...]
    stored: int
    missing: int
    completeness_percent: float
    untracked: dict[str, int]
    unverified_symbols: int
    resets: int


class _Recorded(OpenGaps):
    """Also keeps the gaps that a restart of the counter has explained."""

    def __init__(self) -> None:
        super().__init__(_MOST_GAPS)
        self.reset: list[tuple[int, Gap]] = []

    def clear(self, channel: int) -> int:
        self.reset += [(channel, gap) for gap in self.of(channel)]
        return super().clear(channel)


class _Feed:
    """The table's numbers through a tracker, and how many each symbol has on each day.

    topic: by channel, where it was read last.
    """

    def __init__(self, clock: Clock) -> None:
        self.tracker = SequenceTracker(clock)
        self.gaps = self.tracker.gaps = _Recorded()
        self.stored: dict[tuple[int, int], int] = {}
        self.topic: dict[int, str] = {}
        self.untracked: dict[str, int] = {}

    def add(self, rows: pa.Table) -> None:
        """The rows of one hour."""
        for exchange in pc.value_counts(rows.filter(rows["source_sequence"].is_null())["exchange"]).to_pylist():
            name = exchange["values"]
            self.untracked[name] = self.untracked.get(name, 0) + exchange["counts"]
        numbered = rows.filter(rows["source_sequence"].is_valid())
        for start in range(0, len(numbered), _BATCH_ROWS):
            part = numbered.slice(start, _BATCH_ROWS)
            trades = _trades_of(part)
            self.tracker.step(trades, part["kafka_partition"].to_numpy())
            channel = self.tracker.channels.numbers_of(trades["exchange"], trades["symbol"])
            # Files hold one hour each, and so one day.
            day = int(trades["timestamp"][0]) // _DAY_US
            topics = part["kafka_topic"].combine_chunks()
            last = np.zeros(len(self.tracker.channels), np.int64)
            last[channel] = topics.indices.to_numpy()
            for number in np.flatnonzero(counts := np.bincount(channel)).tolist():
                self.topic[number] = topics.dictionary[last[number]].as_py()
                self.stored[number, day] = self.stored.get((number, day), 0) + int(counts[number])


def gap_report(
    lake: Lake, clock: Clock, universe: Universe | None, symbol: str | None = None, since_us: int | None = None
) -> GapReport:
    """Look through the table, or a symbol of it, from an exchange time on.

    universe: tells the priority of a symbol, and so whether a ledger entry may explain its gaps.

    Raises:
        LakeError: there is no table, or it cannot be read.
    """
    table = lake.table()
    ledger = progress_of(table).ledger
    feed = _Feed(clock)
    for rows in sequenced_rows(table, symbol, since_us):
        feed.add(rows)
    lost_before_us = clock.now_us() - round(SequenceRules().lost_after_s * 1e6)
    found = [_found(feed, channel, gap, "EXPLAINED", "reset") for channel, gap in feed.gaps.reset]
    for channel, gap in feed.gaps:
        if _put_aside(ledger, feed, channel, gap, universe):
            found.append(_found(feed, channel, gap, "EXPLAINED", "put aside"))
        else:
            found.append(_found(feed, channel, gap, "LOST" if gap.opened_us < lost_before_us else "OPEN", ""))
    found.sort(key=lambda gap: (gap.day, gap.exchange, gap.symbol, gap.after_us, gap.first))
    return _report(feed, found)


def _report(feed: _Feed, found: list[FoundGap]) -> GapReport:
    missing: dict[tuple[str, str, str], dict[str, int]] = {}
    for gap in found:
        states = missing.setdefault((gap.day, gap.exchange, gap.symbol), {})
        states[gap.state] = states.get(gap.state, 0) + gap.missing
    days = []
    for (channel, day), stored in feed.stored.items():
        exchange, symbol = _names(feed, channel)
        states = missing.get((_day(day * _DAY_US), exchange, symbol), {})
        lack = sum(states.values())
        counted = (states.get("OPEN", 0), states.get("LOST", 0), states.get("EXPLAINED", 0))
        days.append(SymbolDay(exchange, symbol, _day(day * _DAY_US), stored, lack, *counted, _percent(stored, lack)))
    days.sort(key=lambda entry: (entry.day, entry.exchange, entry.symbol))
    stored, lack, counts = sum(feed.stored.values()), sum(gap.missing for gap in found), feed.tracker.counts()
    return GapReport(
        tuple(days),
        tuple(found),
        stored,
        lack,
        _percent(stored, lack),
        feed.untracked,
        counts.unverified,
        counts.resets,
    )


def _found(feed: _Feed, channel: int, gap: Gap, state: GapState, cause: str) -> FoundGap:
    exchange, symbol = _names(feed, channel)
    day, last = _day(gap.event_us), gap.after - 1
    return FoundGap(exchange, symbol, day, gap.start, last, gap.missing, state, cause, gap.before_us, gap.event_us)


def _put_aside(ledger: Ledger, feed: _Feed, channel: int, gap: Gap, universe: Universe | None) -> bool:
    """Whether an entry of the symbol's lane and priority holds trades between those on both sides of the gap."""
    lane = (feed.topic[channel], int(feed.tracker.channels.partition[channel]))
    symbol = _names(feed, channel)[1].encode()
    return any(
        (entry.topic, entry.partition) == lane
        and entry.first_us <= gap.event_us
        and entry.last_us >= gap.before_us
        and (universe is None or entry.policy != universe.policy or entry.holds(universe.priority(symbol)))
        for entry in ledger.entries
    )


def _names(feed: _Feed, channel: int) -> tuple[str, str]:
    exchange, _, symbol = feed.tracker.channels.names[channel].decode().partition("/")
    return exchange, symbol


def _trades_of(rows: pa.Table) -> np.ndarray:
    trades = TRADE.empty(len(rows))
    for name in ("exchange", "symbol"):
        column = rows[name].combine_chunks().dictionary_encode()
        names = np.array(column.dictionary.to_pylist(), trades[name].dtype)
        trades[name] = names[column.indices.to_numpy()]
    for name in ("timestamp", "ingestion_timestamp"):
        trades[name] = rows[name].cast(pa.int64()).to_numpy()
    trades["source_sequence"] = rows["source_sequence"].to_numpy()
    return trades


def _day(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%d")


def _percent(stored: int, missing: int) -> float:
    """Never rounded up to a hundred."""
    if not missing:
        return 100.0
    return min(99.999, round(100 * stored / (stored + missing), 3))


def incomplete(days: Iterable[SymbolDay]) -> list[SymbolDay]:
    """The days on which something is missing, the worst first."""
    return sorted((day for day in days if day.missing), key=lambda day: day.completeness_percent)
