"""The tail: what is in Kafka and not yet in the table, read up to the watermarks and decoded as the consumer will.

Here it is decided whether the range was read completely: `Tail.missing` has every reason why it was not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from k2ctl.domain.checkpoint import Checkpoints, TopicPartition
from k2ctl.domain.corrections import alike_of, are_alike
from k2ctl.domain.rows import Rows, arrow_schema, as_declared
from k2ctl.domain.trade import NEW, Window
from k2ctl.feeds.records import Decoder
from k2ctl.kafka.watermarks import open_transaction
from k2ctl.query.stream import Ranges, Stream, TailRecords


@dataclass(frozen=True)
class TailLimits:
    """How much of the stream one query may read: records of all partitions, and seconds."""

    records: int = 2_000_000
    seconds: float = 20.0


@dataclass(frozen=True)
class OffsetSpan:
    """What is to be read of each partition of a topic."""

    topic: str
    epoch: str
    # Partition → the table's next offset, or the log's start.
    boundary: Mapping[int, int]
    # Partition → the end of the log.
    watermarks: Mapping[int, int]
    # Partition → (table's offset, log start), where retention has deleted what is not in the table.
    holes: Mapping[int, tuple[int, int]]
    # Partition → (table's offset, watermark), where the log ends before the table's offset.
    beyond: Mapping[int, tuple[int, int]]


@dataclass(frozen=True)
class Tail:
    """The trades that a query takes from the stream."""

    # Those of one topic each.
    parts: tuple[Rows, ...]
    # Records that were read, of all symbols.
    records: int
    # See `Evidence`.
    undecodable: int
    invalid: int
    # Why trades may be missing; empty if the range was read completely.
    missing: tuple[str, ...]
    # All symbols that were seen.
    symbols: frozenset[str]
    # Symbol asked for → its newest trade, in the window or not.
    last_us: Mapping[str, int]
    # Corrections and cancellations, in the window or not.
    events: tuple[Rows, ...] = ()
    # New prints that a cancellation without an id may mean, in the window or not.
    alike: tuple[Rows, ...] = ()

    def to_arrow(self) -> pa.Table:
        """All rows, as `arrow_schema()` says."""
        return rows_table(self.parts)


def rows_table(parts: Sequence[Rows]) -> pa.Table:
    """Rows of some topics as one table, as `arrow_schema()` says."""
    tables = [as_declared(rows.to_arrow()) for rows in parts if len(rows)]
    return pa.concat_tables(tables) if tables else arrow_schema().empty_table()


NOTHING_READ: Final = Tail((), 0, 0, 0, (), frozenset(), {})


def joined(tails: Mapping[str, Tail]) -> Tail:
    """The tails of some topics as one. Where there are several, reasons name their topic."""
    several = len(tails) > 1
    last_us: dict[str, int] = {}
    for tail in tails.values():
        for symbol, time_us in tail.last_us.items():
            last_us[symbol] = max(time_us, last_us.get(symbol, time_us))
    every = tails.values()
    return Tail(
        tuple(rows for tail in every for rows in tail.parts),
        sum(tail.records for tail in every),
        sum(tail.undecodable for tail in every),
        sum(tail.invalid for tail in every),
        tuple(f"{topic}: {reason}" if several else reason for topic, tail in tails.items() for reason in tail.missing),
        frozenset[str]().union(*(tail.symbols for tail in every)),
        last_us,
        tuple(rows for tail in every for rows in tail.events),
        tuple(rows for tail in every for rows in tail.alike),
    )


def span_of(stream: Stream, checkpoints: Checkpoints) -> OffsetSpan:
    """From the pinned checkpoints to the end of the log now; only partitions of the current epoch count."""
    marks = stream.watermarks()
    epoch = stream.epoch() if marks else ""
    boundary: dict[int, int] = {}
    holes: dict[int, tuple[int, int]] = {}
    beyond: dict[int, tuple[int, int]] = {}
    for partition, (low, high) in sorted(marks.items()):
        checkpoint = checkpoints.by_partition.get(TopicPartition(stream.topic, epoch, partition))
        start = low if checkpoint is None else checkpoint.next_offset
        if start < low:
            holes[partition] = (start, low)
        if start > high:
            beyond[partition] = (start, high)
        boundary[partition] = start
    return OffsetSpan(stream.topic, epoch, boundary, {p: high for p, (_, high) in marks.items()}, holes, beyond)


def read_tail(
    stream: Stream, span: OffsetSpan, symbols: Sequence[str] | None, window: Window, limits: TailLimits, now_us: int
) -> Tail:
    """Read and decode `span`, and keep the valid trades of `symbols` (None: all) in `window`."""
    # What is known of the other partitions, such as holes, is said all the same.
    only = None if symbols is None else stream.partitions_with(symbols, len(span.boundary))
    ranges = {
        partition: (max(start, span.holes.get(partition, (0, start))[1]), span.watermarks[partition])
        for partition, start in span.boundary.items()
        if partition not in span.beyond and (only is None or partition in only)
    }
    received, reached, late_holes = stream.read(span.epoch, ranges, limits.seconds, limits.records)
    met = [part for part in received if symbols is None or not set(symbols).isdisjoint(part.symbols)]
    parts = [_select(part, ranges, span, symbols, window) for part in met]
    rows = Rows.concatenate([rows for rows, _ in parts] or [Rows.empty(span.topic, span.epoch)])
    judged_us = max(now_us, *(part.newest_us for part in received), 0)

    def good(found: Rows) -> Rows:
        return valid(found, judged_us, stream.decoder)

    kept = good(rows)
    events, alike = _events(met, ranges, span, symbols, good)
    holes = {**span.holes, **{hole.partition: (hole.asked, hole.first) for hole in late_holes}}
    missing = (*_hole_reasons(holes), *_beyond_reasons(span), *_not_reached(stream, ranges, reached))
    last_us: dict[str, int] = {}
    for _, newest_us in parts:
        for symbol, time_us in newest_us.items():
            last_us[symbol] = max(time_us, last_us.get(symbol, time_us))
    records = sum(max(0, reached.get(p, start) - start) for p, (start, _) in ranges.items())
    broken = sum(within(part.broken[:, 0], part.broken[:, 1], ranges).sum() for part in received)
    seen = frozenset[str]().union(*(part.symbols for part in received))
    refused = len(rows) - len(kept)
    return Tail((kept,), records, int(broken), refused, missing, seen, last_us, events, alike)


def valid(rows: Rows, now_us: int, decoder: Decoder) -> Rows:
    """Without those that the consumer dead-letters."""
    if not len(rows):
        return rows
    bad = decoder.invalid(rows.trades, now_us)
    return rows.take(np.delete(np.arange(len(rows)), list(bad))) if bad else rows


def _events(
    parts: Sequence[TailRecords],
    ranges: Ranges,
    span: OffsetSpan,
    symbols: Sequence[str] | None,
    good: Callable[[Rows], Rows],
) -> tuple[tuple[Rows, ...], tuple[Rows, ...]]:
    """`Tail.events` and `Tail.alike`."""
    if not any(part.events for part in parts):
        return (), ()
    found = [_within(part, ranges, span, symbols) for part in parts]
    events = good(Rows.concatenate([rows.take(rows.trades["action"] != NEW) for rows in found]))
    if not len(events):
        return (), ()
    wanted = alike_of(events.trades)
    if not len(wanted):
        return (events,), ()
    return (events,), (good(Rows.concatenate([rows.take(are_alike(rows.trades, wanted)) for rows in found])),)


def _within(part: TailRecords, ranges: Ranges, span: OffsetSpan, symbols: Sequence[str] | None) -> Rows:
    found = part.of(symbols)
    return part.rows(span.topic, span.epoch, found[within(part.partition[found], part.offset[found], ranges)])


def _select(
    part: TailRecords, ranges: Ranges, span: OffsetSpan, symbols: Sequence[str] | None, window: Window
) -> tuple[Rows, Mapping[str, int]]:
    """What one part of the stream gives to a query; and `Tail.last_us`, where the window leaves something out."""
    found = part.of(symbols)
    found = found[within(part.partition[found], part.offset[found], ranges)]
    trades = part.trades.take(found)
    kept = found[window.holds(trades["event_ns"] // 1000)]
    return part.rows(span.topic, span.epoch, kept), _last_us(trades, symbols) if len(kept) < len(found) else {}


def within(partition: np.ndarray, offset: np.ndarray, ranges: Ranges) -> np.ndarray:
    """bool[n]: which records are in the ranges."""
    size = max([*ranges, int(partition.max(initial=0))], default=0) + 1
    first, end = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for number, (low, high) in ranges.items():
        first[number], end[number] = low, high
    inside: np.ndarray = (offset >= first[partition]) & (offset < end[partition])
    return inside


def newest_us(rows: Rows, symbol: str) -> int | None:
    """The newest time of a symbol among some rows; None without any."""
    return _last_us(rows.trades, [symbol]).get(symbol)


def _last_us(trades: np.ndarray, symbols: Sequence[str] | None) -> dict[str, int]:
    """The newest timestamp of each of `symbols` among `trades`."""
    newest: dict[str, int] = {}
    for symbol in symbols or ():
        times = trades["event_ns"][of_symbols(trades["symbol"], [symbol])] // 1000
        if len(times):
            newest[symbol] = int(times.max())
    return newest


def of_symbols(column: np.ndarray, symbols: Sequence[str] | None) -> np.ndarray:
    """bool[n]: which of the fixed-width texts are among `symbols`; None is every symbol."""
    if symbols is None:
        return np.ones(len(column), np.bool_)
    mask = np.zeros(len(column), np.bool_)
    for symbol in symbols:
        mask |= column == symbol.encode("utf-8")
    return mask


def _hole_reasons(holes: Mapping[int, tuple[int, int]]) -> tuple[str, ...]:
    if not holes:
        return ()
    records = sum(first - asked for asked, first in holes.values())
    return (f"retention deleted {records:,} records of {_partitions(holes)} before they were stored",)


def _beyond_reasons(span: OffsetSpan) -> tuple[str, ...]:
    if not span.beyond:
        return ()
    return (f"{_partitions(span.beyond)}: the log ends before the offset that the table has; Kafka was wiped",)


def _not_reached(stream: Stream, ranges: Ranges, reached: Mapping[int, int]) -> tuple[str, ...]:
    behind = {p: end - reached.get(p, start) for p, (start, end) in ranges.items() if reached.get(p, start) < end}
    if not behind:
        return ()
    stable = stream.stable_ends(behind)
    blocked = {p: (stable[p], ranges[p][1]) for p in behind if stable[p] <= reached.get(p, ranges[p][0])}
    cut = {p: count for p, count in behind.items() if p not in blocked}
    reasons = [open_transaction(blocked)] if blocked else []
    if cut:
        reasons.append(f"the tail is cut short: {sum(cut.values()):,} records of {_partitions(cut)} were not read")
    return tuple(reasons)


def _partitions(numbers: Mapping[int, object]) -> str:
    """`partition 3`, `partitions 0, 1, 2` or, of many, how many."""
    if len(numbers) == 1:
        return f"partition {next(iter(numbers))}"
    if len(numbers) > 6:
        return f"{len(numbers)} partitions"
    return "partitions " + ", ".join(map(str, sorted(numbers)))
