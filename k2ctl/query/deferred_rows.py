"""The trades that were deferred and not backfilled yet, read from their spill files and from Kafka for one query."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from k2ctl.deferred.spill_files import read_spilled
from k2ctl.domain.ledger import DeferredRange
from k2ctl.domain.rows import Rows
from k2ctl.domain.trade import Window
from k2ctl.domain.validity import invalid
from k2ctl.lake.snapshots import Pinned
from k2ctl.query.stream import Stream
from k2ctl.query.tail import OffsetSpan, TailLimits, of_symbols, within


@dataclass(frozen=True)
class DeferredRows:
    """What was read of the deferred trades."""

    # Rows of one epoch each. Trades that are in the table too may be among them, with the same ids.
    parts: tuple[Rows, ...] = ()
    # What could not be read.
    missing: tuple[str, ...] = ()
    # True if a spill file could not be read; its trades may have been backfilled since the pin.
    torn: bool = False


def read_deferred(
    entries: Sequence[DeferredRange],
    pinned: Pinned,
    stream: Stream,
    span: OffsetSpan,
    limits: TailLimits,
    symbols: Sequence[str] | None,
    window: Window,
    now_us: int,
) -> DeferredRows:
    """The valid trades of `symbols` in `window` of the deferred ranges."""
    parts, missing = list[Rows](), list[str]()
    for file, epoch in dict.fromkeys((entry.spill, entry.epoch) for entry in entries if entry.spill):
        rows, intact = read_spilled(pinned, file, span.topic, epoch)
        parts.append(rows)
        if not intact:
            missing.append("a spill file cannot be read as a whole")
    torn = bool(missing)
    in_kafka = [entry for entry in entries if not entry.spill]
    gone = sum(entry.count for entry in in_kafka if entry.epoch != span.epoch)
    if gone:
        missing.append(f"{gone:,} trades were deferred in a Kafka that is gone")
    for entry in in_kafka:
        if entry.epoch == span.epoch:
            rows, whole, newest_us = _from_kafka(entry, stream, span, limits)
            now_us = max(now_us, newest_us)
            parts.append(rows)
            if not whole:
                missing.append(f"partition {entry.partition}: a range that was deferred was not read to its end")
    chosen = [_wanted(rows, symbols, window, now_us) for rows in parts]
    return DeferredRows(tuple(rows for rows in chosen if len(rows)), tuple(dict.fromkeys(missing)), torn)


def _from_kafka(entry: DeferredRange, stream: Stream, span: OffsetSpan, limits: TailLimits) -> tuple[Rows, bool, int]:
    """The rows of a range, whether they are all of it, and the latest record timestamp."""
    ranges = {entry.partition: (entry.start, entry.end)}
    received, reached, holes = stream.read(span.epoch, ranges, limits.seconds, limits.records)
    rows = [
        part.rows(span.topic, span.epoch, np.flatnonzero(within(part.partition, part.offset, ranges)))
        for part in received
    ]
    whole = not holes and reached.get(entry.partition, entry.start) >= entry.end
    newest_us = max((part.newest_us for part in received), default=0)
    return Rows.concatenate(rows or [Rows.empty(span.topic, span.epoch)]), whole, newest_us


def _wanted(rows: Rows, symbols: Sequence[str] | None, window: Window, now_us: int) -> Rows:
    kept = rows.take(of_symbols(rows.trades["symbol"], symbols) & window.holds(rows.trades["timestamp"]))
    bad = invalid(kept.trades, now_us)
    return kept.take(np.delete(np.arange(len(kept)), list(bad))) if bad else kept
