"""The seam: a snapshot with its offsets, the stream from there to the watermarks, and what was deferred before."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from k2ctl.clock import Clock
from k2ctl.deferred.spill_files import read_spilled
from k2ctl.domain.checkpoint import Checkpoints
from k2ctl.domain.ledger import DeferredRange, Ledger
from k2ctl.domain.rows import Rows
from k2ctl.domain.trade import NEW, WHOLE_HISTORY, Window
from k2ctl.errors import BrokerError
from k2ctl.lake.catalog import Lake
from k2ctl.lake.snapshots import NOTHING, Pinned, ScanPlan, pin, pin_as_of, pin_snapshots
from k2ctl.query.page import Page
from k2ctl.query.stream import Stream, Streams
from k2ctl.query.tail import (
    NOTHING_READ,
    OffsetSpan,
    Tail,
    TailLimits,
    joined,
    of_symbols,
    read_tail,
    span_of,
    valid,
    within,
)
from k2ctl.timing import Stopwatch

LAKE_ONLY: Final = "the stream was not read (lake only)"
TORN: Final = "a spill file cannot be read as a whole"
"""Why deferred rows may be missing; its trades may have been backfilled since the pin."""
Pinner = Callable[[], Pinned | None]


@dataclass(frozen=True)
class AsOf:
    """The table as it was: exactly one of the two is given."""

    # The snapshot that was current at this time.
    moment_us: int | None = None
    snapshot_id: int | None = None


@dataclass(frozen=True)
class Question:
    """What was asked, and when."""

    # None: all symbols.
    symbols: Sequence[str] | None
    window: Window
    asked_at_us: int
    # The newest rows that are wanted; None: all.
    limit: int | None = None
    # True leaves the stream out.
    lake_only: bool = False
    as_of: AsOf | None = None
    page: Page | None = None
    # True reads deferred trades as well.
    deferred: bool = False
    # True leaves corrections and cancellations as rows of their own.
    raw: bool = False
    # Only what was committed by then; None: everything.
    known_at_us: int | None = None


@dataclass(frozen=True)
class Sources:
    """Both sides of the seam, as they are read for one question."""

    question: Question
    # How long each stage takes.
    stages: Stopwatch
    # The snapshot with its offsets; None without a table or a commit.
    pinned: Pinned | None
    # Its files that may have rows of the question.
    plan: ScanPlan
    # The topics that the table is filled from, by name.
    streams: Mapping[str, Stream]
    # Of each, from those offsets to the watermarks; none where the stream was left out.
    spans: Mapping[str, OffsetSpan]
    # What was read there.
    tail: Tail

    def plan_of(self, symbols: Sequence[str] | None) -> ScanPlan:
        """The lake's files that may have trades of `symbols`, of whatever time."""
        return planned(self.pinned, symbols, WHOLE_HISTORY)

    @property
    def lost(self) -> int:
        """Trades of the topics that retention deleted unread, in every epoch."""
        by_partition = self.pinned.checkpoints.by_partition.items() if self.pinned else ()
        return sum(checkpoint.counts.lost for partition, checkpoint in by_partition if partition.topic in self.streams)

    @property
    def ledger(self) -> Ledger:
        """What was deferred of the topics."""
        entries = self.pinned.checkpoints.ledger.entries if self.pinned else ()
        return Ledger(tuple(entry for entry in entries if entry.topic in self.streams))


def planned(pinned: Pinned | None, symbols: Sequence[str] | None, window: Window) -> ScanPlan:
    """The files of a snapshot, if there is one, that may have trades of `symbols` in `window`; each is intact."""
    return pinned.intact(symbols, window.since_us, window.until_us) if pinned else NOTHING


class Seam:
    """Takes both sides of one lake and its topics. `pinner`: how to pin, where the metadata is kept in memory."""

    def __init__(self, lake: Lake, streams: Streams, clock: Clock, limits: TailLimits, pinner: Pinner | None) -> None:
        self.lake = lake
        self._streams = streams
        self.clock = clock
        self._limits = limits
        self._pin = pinner or (lambda: pin(lake))

    def take(self, question: Question, stages: Stopwatch) -> Sources:
        """Both sides: `pin`, then `beside`."""
        return self.beside(self.pin(question, stages))

    def pin(self, question: Question, stages: Stopwatch) -> Sources:
        """1. Pin a snapshot and its offsets from one metadata file. Its rows are fixed from here on.
        2. Plan its files.
        """
        with stages.timed("pin"):
            as_of = question.as_of
            pinned = self._pin() if as_of is None else pin_as_of(self.lake, as_of.moment_us, as_of.snapshot_id)
        return self._alone(question, stages, pinned)

    def snapshots_alone(self, question: Question, stages: Stopwatch, reason: str) -> Sources:
        """The snapshots alone, of a table whose offsets do not belong to its current snapshot."""
        return _without_stream(self._alone(question, stages, pin_snapshots(self.lake)), reason)

    def _alone(self, question: Question, stages: Stopwatch, pinned: Pinned | None) -> Sources:
        """The lake's side, with nothing of the stream yet."""
        with stages.timed("plan"):
            plan = planned(pinned, question.symbols, question.window)
        streams = {stream.topic: stream for stream in self._streams(pinned)}
        return Sources(question, stages, pinned, plan, streams, {}, NOTHING_READ)

    def beside(self, sources: Sources) -> Sources:
        """The stream's side: `bounded`, then `read`."""
        return self.read(self.bounded(sources))

    def bounded(self, sources: Sources) -> Sources:
        """3. Take the watermarks: whatever was acknowledged before this call is before them.

        What retention deleted since the pin may have been stored since: then it pins again.
        """
        question = sources.question
        if question.as_of is not None:
            return _without_stream(sources, "the table as it was then; the stream was not read")
        if question.known_at_us is not None:
            return _without_stream(sources, "what was committed by then; the stream was not read")
        if question.lake_only:
            self.lake.table()
            return _without_stream(sources, LAKE_ONLY)
        with _of_kafka():
            spans = _spans(sources)
            if any(span.holes for span in spans.values()):
                sources = self.pin(question, sources.stages)
                spans = _spans(sources)
        return replace(sources, spans=spans)

    def read(self, sources: Sources) -> Sources:
        """4. Read the stream from the offsets to the watermarks; nothing where it was left out."""
        if not sources.spans:
            return sources
        question = sources.question
        asked = (question.symbols, question.window, self._limits, question.asked_at_us)
        with _of_kafka(), sources.stages.timed("tail"):
            tails = {topic: read_tail(sources.streams[topic], span, *asked) for topic, span in sources.spans.items()}
        return replace(sources, tail=joined(tails))

    def deferred(self, sources: Sources, ranges: Sequence[DeferredRange]) -> tuple[list[Rows], tuple[str, ...]]:
        """The valid rows of the question in deferred ranges, of one epoch each, and why some may be missing.

        Corrections and cancellations of any time are among them.

        Rows that are in the table too may be among them, with the same ids.
        """
        pinned, now_us = sources.pinned, sources.question.asked_at_us
        parts, missing = list[Rows](), list[str]()
        if pinned is None:
            return parts, ()
        for file, *of in dict.fromkeys((one.spill, one.topic, one.epoch) for one in ranges if one.spill):
            rows, intact = read_spilled(pinned, file, *of)
            parts.append(rows)
            missing += [] if intact else [TORN]
        in_kafka = [one for one in ranges if not one.spill]
        there = {(span.topic, span.epoch) for span in sources.spans.values()}
        gone = sum(one.count for one in in_kafka if (one.topic, one.epoch) not in there)
        if gone:
            missing.append(f"{gone:,} trades were deferred in a Kafka that is gone")
        for one in in_kafka:
            if (one.topic, one.epoch) in there:
                rows, whole, newest_us = self._still_in_kafka(sources.streams[one.topic], one)
                now_us = max(now_us, newest_us)
                parts.append(rows)
                if not whole:
                    missing.append(f"partition {one.partition}: a range that was deferred was not read to its end")
        wanted = [_wanted(rows, sources.question) for rows in parts]
        good = [valid(rows, now_us, sources.streams[rows.topic].decoder) for rows in wanted]
        return good, tuple(dict.fromkeys(missing))

    def _still_in_kafka(self, stream: Stream, one: DeferredRange) -> tuple[Rows, bool, int]:
        """The rows of a range, whether they are all of it, and the latest record timestamp."""
        ranges = {one.partition: (one.start, one.end)}
        received, reached, holes = stream.read(one.epoch, ranges, self._limits.seconds, self._limits.records)
        rows = [
            part.rows(one.topic, one.epoch, np.flatnonzero(within(part.partition, part.offset, ranges)))
            for part in received
        ]
        whole = not holes and reached.get(one.partition, one.start) >= one.end
        newest_us = max((part.newest_us for part in received), default=0)
        return Rows.concatenate(rows or [Rows.empty(one.topic, one.epoch)]), whole, newest_us


@contextmanager
def _of_kafka() -> Iterator[None]:
    """A block that asks Kafka; its errors say what there is without it."""
    try:
        yield
    except BrokerError as error:
        raise BrokerError(str(error), f"{error.hint}. What the lake has alone: --lake-only") from error


def _spans(sources: Sources) -> dict[str, OffsetSpan]:
    """What is to be read of each topic."""
    checkpoints = sources.pinned.checkpoints if sources.pinned else Checkpoints()
    with sources.stages.timed("watermarks"):
        return {topic: span_of(stream, checkpoints) for topic, stream in sources.streams.items()}


def _wanted(rows: Rows, question: Question) -> Rows:
    trades = rows.trades
    inside = question.window.holds(trades["event_ns"] // 1000) | (trades["action"] != NEW)
    return rows.take(of_symbols(trades["symbol"], question.symbols) & inside)


def _without_stream(sources: Sources, reason: str) -> Sources:
    """A question that leaves the stream out."""
    return replace(sources, tail=replace(sources.tail, missing=(reason,)))
