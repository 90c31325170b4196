"""The gap report: how complete the trades are, by symbol and day, and the state of each gap.

Made from the table and what the stream holds beyond it, by the same tracker that the consumer uses, fed in exchange
time; the ledger explains what was deferred. So every command gives the same report, also after a crash, on another
machine, and of years ago. What the numbers of a topic are is what its feed declares, as the table has it, or the
profile of its own topic. The topics of one feed are counted together, and so are all of which nothing is declared.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.clock import Clock
from k2ctl.domain.days import DayNumbers, date_of
from k2ctl.feeds.topics import TopicFeeds
from k2ctl.lake.checkpoints import feeds_in
from k2ctl.lake.readers import sequenced_rows
from k2ctl.lake.snapshots import Pinned
from k2ctl.profiles.model import SequenceSettings
from k2ctl.profiles.universe import Universe
from k2ctl.sequence.channels import NEVER_US, Gap, is_deferred
from k2ctl.sequence.feed_numbers import FeedGroups, FeedNumbers, merged
from k2ctl.sequence.tracker import SequenceRules

GapState = Literal["OPEN", "LOST", "EXPLAINED"]

NOT_DENSE_FROM: Final = 10
"""A symbol of which so many times as many numbers are missing as are stored shares its counter with others."""

UNDECLARED: Final = "not declared"


@dataclass(frozen=True)
class FoundGap:
    """Numbers first to last that are neither in the table nor on their way."""

    exchange: str
    # Of a counter over all symbols: those of the trades on both sides.
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
    # The session of the numbers, in hexadecimal digits; empty without sessions.
    session: str = ""


@dataclass(frozen=True)
class SymbolDay:
    """One symbol on one day (exchange time), in trades."""

    exchange: str
    # `*`, with a partition's number or without, where one counter counts the trades of all symbols.
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
    # What is declared that the numbers are, of each feed; UNDECLARED: they count as dense per symbol.
    numbers: str = UNDECLARED
    # EXCHANGE/SYMBOL of which the numbers look as if they were not dense, where nothing is declared.
    not_dense: tuple[str, ...] = ()


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
    recorded = feeds_in(pinned.table) if pinned else {}
    declared = None if universe is None else TopicFeeds(universe.profile, recorded)
    counted_by = days or DayNumbers()

    def made(settings: SequenceSettings | None) -> FeedNumbers:
        return FeedNumbers(clock, counted_by, settings, knows_begin=since_us is None)

    groups = FeedGroups(declared, made, _topics(pinned, tail))
    shared = any(feed.settings.spans_symbols for feed in groups.feeds)
    with_ids = any(feed.settings.has_sessions for feed in groups.feeds)

    def hours() -> Iterator[pa.Table]:
        read = None if shared else symbols
        stored = sequenced_rows(pinned, read, since_us, until_us, with_ids=with_ids) if pinned else iter(())
        for rows in merged(stored, tail, with_ids=with_ids):
            go_on()
            yield rows

    for rows in hours():
        for feed, part in groups.divided(rows):
            feed.add(part if feed.settings.spans_symbols or not shared else _of_symbols(part, symbols))
    lost_before_us = clock.now_us() - round(SequenceRules().lost_after_s * 1e6)
    found = []
    for feed in groups.feeds:
        every = _judged(feed, pinned, universe, lost_before_us)
        named = dict[tuple[int, int], str]()
        if feed.settings.spans_symbols:
            named = feed.neighbours(groups.parts(hours(), feed), ((one.channel, one.gap) for one in every))
        found += [(one.scope(feed), one.reported(feed, named)) for one in every]
    if shared and symbols is not None:
        found = [(scope, gap) for scope, gap in found if not {*gap.symbol.split(BESIDE)}.isdisjoint(symbols)]
    found.sort(key=lambda one: (one[1].day, one[1].exchange, one[1].symbol, one[1].after_us, one[1].first))
    return _report(groups.feeds, found)


def _topics(pinned: Pinned | None, tail: pa.Table) -> list[str]:
    """The topics that rows of the table and the stream may be of; those of Kafkas that are gone count as well."""
    stored = {at.topic for at in pinned.checkpoints.by_partition} if pinned else set[str]()
    return sorted(stored | set(tail["kafka_topic"].unique().to_pylist()))


BESIDE: Final = " … "
"""Between the symbols of the trades on both sides of a gap that is of no single symbol."""


class _Judged(NamedTuple):
    """A gap and what is known of it."""

    channel: int
    gap: Gap
    state: GapState
    cause: str

    def scope(self, feed: FeedNumbers) -> tuple[str, str]:
        """The exchange, and the symbol that the gap's day counts for."""
        return feed.tracker.channels.name(self.channel)[:2]

    def reported(self, feed: FeedNumbers, named: Mapping[tuple[int, int], str]) -> FoundGap:
        """The gap for the report. named: the symbols on both sides of gaps that are of no single symbol."""
        name, gap = feed.tracker.channels.name(self.channel), self.gap
        sides = [named[side] for n in (gap.start - 1, gap.after) if (side := (self.channel, n)) in named]
        symbol = BESIDE.join(dict.fromkeys(sides)) or name.symbol
        before_us = gap.event_us if gap.before_us == NEVER_US else gap.before_us
        first, last, times = gap.start, gap.after - 1, (before_us, gap.event_us)
        day = feed.day(gap.event_us)
        return FoundGap(
            name.exchange, symbol, day, first, last, gap.missing, self.state, self.cause, *times, name.session
        )


def _judged(feed: FeedNumbers, pinned: Pinned | None, universe: Universe | None, lost_before_us: int) -> list[_Judged]:
    """All gaps of a feed, also those that a restart explains."""
    entries = pinned.checkpoints.ledger.entries if pinned else ()
    found = [_Judged(channel, gap, "EXPLAINED", "reset") for channel, gap in feed.gaps.reset]
    for channel, gap in feed.gaps:
        partition = (feed.topic[channel], int(feed.tracker.channels.partition[channel]))
        if is_deferred(entries, partition, feed.tracker.channels.symbol(channel), gap, universe):
            found.append(_Judged(channel, gap, "EXPLAINED", "deferred"))
        else:
            found.append(_Judged(channel, gap, "LOST" if gap.opened_us < lost_before_us else "OPEN", ""))
    return found


def _of_symbols(rows: pa.Table, symbols: Sequence[str] | None) -> pa.Table:
    return rows if symbols is None else rows.filter(pc.is_in(rows["symbol"], pa.array(list(symbols))))


def _report(feeds: Sequence[FeedNumbers], found: list[tuple[tuple[str, str], FoundGap]]) -> GapReport:
    """found: each gap with the exchange and symbol that its day counts for."""
    missing: dict[tuple[str, str, str], dict[str, int]] = {}
    for scope, gap in found:
        states = missing.setdefault((gap.day, *scope), {})
        states[gap.state] = states.get(gap.state, 0) + gap.missing
    stored: dict[tuple[str, str, str], int] = {}
    for feed in feeds:
        for (channel, day), count in feed.stored.items():
            key = (date_of(day), *feed.tracker.channels.name(channel)[:2])
            stored[key] = stored.get(key, 0) + count
    days = []
    for key, count in sorted(stored.items()):
        states = missing.get(key, {})
        lack = sum(states.values())
        counted = (states.get("OPEN", 0), states.get("LOST", 0), states.get("EXPLAINED", 0))
        days.append(SymbolDay(key[1], key[2], key[0], count, lack, *counted, _percent(count, lack)))
    untracked: dict[str, int] = {}
    for feed in feeds:
        for exchange, trades in feed.untracked.items():
            untracked[exchange] = untracked.get(exchange, 0) + trades
    counts = [feed.tracker.counts() for feed in feeds]
    whole, lack = sum(stored.values()), sum(gap.missing for _, gap in found)
    return GapReport(
        tuple(days),
        tuple(gap for _, gap in found),
        whole,
        lack,
        _percent(whole, lack),
        untracked,
        sum(count.unverified for count in counts),
        sum(count.resets for count in counts),
        numbers=", ".join(sorted({UNDECLARED if feed.declared is None else feed.declared.numbers for feed in feeds})),
        not_dense=tuple(name for feed in feeds if feed.declared is None for name in _not_dense(feed, found)),
    )


def _not_dense(feed: FeedNumbers, found: Iterable[tuple[tuple[str, str], FoundGap]]) -> tuple[str, ...]:
    """The symbols that have far more gaps than trades, or that seem to restart at every other trade."""
    missing: dict[tuple[str, str], int] = {}
    for scope, gap in found:
        missing[scope] = missing.get(scope, 0) + gap.missing
    stored: dict[int, int] = {}
    for (channel, _), count in feed.stored.items():
        stored[channel] = stored.get(channel, 0) + count
    names = []
    for channel, count in stored.items():
        scope, restarts = feed.tracker.channels.name(channel)[:2], int(feed.tracker.channels.run[channel])
        if missing.get(scope, 0) > NOT_DENSE_FROM * count or (restarts > 1 and 2 * restarts >= count):
            names.append("/".join(scope))
    return tuple(sorted(names))


def _percent(stored: int, missing: int) -> float:
    """Never rounded up to a hundred."""
    if not missing:
        return 100.0
    return min(99.999, round(100 * stored / (stored + missing), 3))


def incomplete(days: Iterable[SymbolDay]) -> list[SymbolDay]:
    """The days on which something is missing, the worst first."""
    return sorted((day for day in days if day.missing), key=lambda day: day.completeness_percent)
