"""The gap report: how complete the trades are, by symbol and day, and the state of each gap.

Made from the table and what the stream holds beyond it, by the same tracker that the consumer uses, fed in exchange
time; the ledger explains what was deferred. So every command gives the same report, also after a crash, on another
machine, and of years ago.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.clock import Clock
from k2ctl.domain.days import DayNumbers, date_of
from k2ctl.domain.rows import arrow_schema, trades_of
from k2ctl.lake.readers import SEQUENCED_COLUMNS, sequenced_rows
from k2ctl.lake.snapshots import Pinned
from k2ctl.profiles.universe import Universe
from k2ctl.sequence.channels import Gap, OpenGaps, is_deferred
from k2ctl.sequence.tracker import SequenceRules, SequenceTracker

GapState = Literal["OPEN", "LOST", "EXPLAINED"]

_BATCH_ROWS: Final = 500_000
_MOST_GAPS: Final = 100_000
_SCHEMA: Final = pa.schema(
    [
        arrow_schema().field(name).with_type(pa.dictionary(pa.int32(), pa.string()))
        if name == "kafka_topic"
        else arrow_schema().field(name)
        for name in SEQUENCED_COLUMNS
    ]
)


@dataclass(frozen=True)
class FoundGap:
    """Numbers first to last of a symbol that are neither in the table nor on their way."""

    exchange: str
    symbol: str
    # Of the trade after the gap.
    day: str
    first: int
    last: int
    missing: int
    # LOST: open for longer than the deadline.
    state: GapState
    # `deferred` or `reset` of an EXPLAINED gap.
    cause: str
    # Exchange times of the trades on both sides.
    before_us: int
    after_us: int


@dataclass(frozen=True)
class SymbolDay:
    """One symbol on one day (exchange time), in trades."""

    exchange: str
    symbol: str
    day: str
    # In the table, or on their way to it.
    stored: int
    missing: int
    open: int
    lost: int
    explained: int
    # Stored of stored and missing.
    completeness_percent: float


@dataclass(frozen=True)
class UnmatchedEvent:
    """A correction or cancellation whose trade has not come."""

    exchange: str
    symbol: str
    action: str
    message_id: str
    # The id of the trade; empty if it is the latest one with the same price and quantity.
    refers_to: str
    # The venue's time of the event.
    event_us: int


@dataclass(frozen=True)
class GapReport:
    """How complete the trades are."""

    # Every symbol and day with sequence numbers.
    days: tuple[SymbolDay, ...]
    # Every gap.
    gaps: tuple[FoundGap, ...]
    stored: int
    missing: int
    completeness_percent: float
    # Exchange → trades without a sequence number, whose gaps cannot be found.
    untracked: dict[str, int]
    # Symbols that begin above number 1: trades before are unknown.
    unverified_symbols: int
    # Restarts of a counter.
    resets: int
    # Corrections and cancellations whose trades have not come.
    unmatched: tuple[UnmatchedEvent, ...] = ()


class _Recorded(OpenGaps):
    """Also keeps the gaps that a restart of the counter explains."""

    def __init__(self) -> None:
        super().__init__(_MOST_GAPS)
        self.reset: list[tuple[int, Gap]] = []

    def clear(self, channel: int) -> int:
        self.reset += [(channel, gap) for gap in self.of(channel)]
        return super().clear(channel)


class _Feed:
    """The table's numbers through a tracker, and how many each symbol has on each day."""

    def __init__(self, clock: Clock, days: DayNumbers) -> None:
        self.days = days
        self.tracker = SequenceTracker(clock)
        self.gaps = self.tracker.gaps = _Recorded()
        self.stored: dict[tuple[int, int], int] = {}
        # By channel, where it was read last.
        self.topic: dict[int, str] = {}
        self.untracked: dict[str, int] = {}

    def day(self, at_us: int) -> str:
        """The date of a time."""
        return date_of(self.days.of(np.array([at_us]))[0])

    def add(self, rows: pa.Table) -> None:
        """The rows of one hour."""
        for exchange in pc.value_counts(rows.filter(rows["source_sequence"].is_null())["exchange"]).to_pylist():
            name = exchange["values"]
            self.untracked[name] = self.untracked.get(name, 0) + exchange["counts"]
        numbered = rows.filter(rows["source_sequence"].is_valid())
        for part in numbered.combine_chunks().to_batches(_BATCH_ROWS):
            trades = trades_of(part)
            self.tracker.step(trades, part["kafka_partition"].to_numpy())
            channel = self.tracker.channels.numbers_of(trades["exchange"], trades["symbol"])
            self._note_topics(part, channel)
            days = self.days.of(trades["event_ns"] // 1000)
            for day in np.unique(days).tolist():
                for number in np.flatnonzero(counts := np.bincount(channel[days == day])).tolist():
                    self.stored[number, day] = self.stored.get((number, day), 0) + int(counts[number])

    def _note_topics(self, part: pa.RecordBatch, channel: np.ndarray) -> None:
        topics = part["kafka_topic"]
        last = np.full(len(self.tracker.channels), -1, np.int64)
        last[channel] = topics.indices.to_numpy()
        for number in np.flatnonzero(last >= 0).tolist():
            self.topic[number] = topics.dictionary[last[number]].as_py()


def gap_report(
    pinned: Pinned | None,
    tail: pa.Table,
    clock: Clock,
    universe: Universe | None,
    symbols: Sequence[str] | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
    go_on: Callable[[], None] = lambda: None,
    days: DayNumbers | None = None,
) -> GapReport:
    """The report of a snapshot (None: there is none yet) and of what the stream has beyond it, or of a part of both.

    tail: the wanted part of the stream beyond the snapshot; has `SEQUENCED_COLUMNS`. universe: gives the priority of a
    symbol, and so whether a deferred range may explain its gaps. go_on: called for every hour; raises to end the
    report. days: what the report counts by; None is UTC.

    Raises:
        LakeError: the snapshot cannot be read.
    """
    stored = sequenced_rows(pinned, symbols, since_us, until_us) if pinned else iter(())
    feed = _Feed(clock, days or DayNumbers())
    for rows in _merged(stored, tail):
        go_on()
        feed.add(rows)
    entries = pinned.checkpoints.ledger.entries if pinned else ()
    lost_before_us = clock.now_us() - round(SequenceRules().lost_after_s * 1e6)
    found = [_found(feed, channel, gap, "EXPLAINED", "reset") for channel, gap in feed.gaps.reset]
    for channel, gap in feed.gaps:
        partition = (feed.topic[channel], int(feed.tracker.channels.partition[channel]))
        if is_deferred(entries, partition, _names(feed, channel)[1].encode(), gap, universe):
            found.append(_found(feed, channel, gap, "EXPLAINED", "deferred"))
        else:
            found.append(_found(feed, channel, gap, "LOST" if gap.opened_us < lost_before_us else "OPEN", ""))
    found.sort(key=lambda gap: (gap.day, gap.exchange, gap.symbol, gap.after_us, gap.first))
    return _report(feed, found)


def _merged(stored: Iterable[pa.Table], tail: pa.Table) -> Iterator[pa.Table]:
    """Rows of the table, which come in the order of time, with those of the stream where they belong."""
    rest = tail.select(list(SEQUENCED_COLUMNS)).sort_by("timestamp")
    for rows in stored:
        now = pc.less_equal(rest["timestamp"], rows["timestamp"][-1])
        yield _together([rows, rest.filter(now)])
        rest = rest.filter(pc.invert(now))
    if len(rest):
        yield _together([rest])


def _together(parts: Sequence[pa.Table]) -> pa.Table:
    """Rows in the order of time, of equals the stored ones first; topics dictionary-encoded together."""
    rows = pa.concat_tables([part.cast(_SCHEMA) for part in parts]).unify_dictionaries().combine_chunks()
    order = np.argsort(rows["timestamp"].cast(pa.int64()).to_numpy(), kind="stable")
    return rows.take(pa.array(order)).combine_chunks()


def _report(feed: _Feed, found: list[FoundGap]) -> GapReport:
    missing: dict[tuple[str, str, str], dict[str, int]] = {}
    for gap in found:
        states = missing.setdefault((gap.day, gap.exchange, gap.symbol), {})
        states[gap.state] = states.get(gap.state, 0) + gap.missing
    days = []
    for (channel, day), stored in feed.stored.items():
        exchange, symbol = _names(feed, channel)
        states = missing.get((date_of(day), exchange, symbol), {})
        lack = sum(states.values())
        counted = (states.get("OPEN", 0), states.get("LOST", 0), states.get("EXPLAINED", 0))
        days.append(SymbolDay(exchange, symbol, date_of(day), stored, lack, *counted, _percent(stored, lack)))
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
    day, last = feed.day(gap.event_us), gap.after - 1
    return FoundGap(exchange, symbol, day, gap.start, last, gap.missing, state, cause, gap.before_us, gap.event_us)


def _names(feed: _Feed, channel: int) -> tuple[str, str]:
    exchange, _, symbol = feed.tracker.channels.names[channel].decode().partition("/")
    return exchange, symbol


def _percent(stored: int, missing: int) -> float:
    """Never rounded up to a hundred."""
    if not missing:
        return 100.0
    return min(99.999, round(100 * stored / (stored + missing), 3))


def incomplete(days: Iterable[SymbolDay]) -> list[SymbolDay]:
    """The days on which something is missing, the worst first."""
    return sorted((day for day in days if day.missing), key=lambda day: day.completeness_percent)
