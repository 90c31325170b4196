"""The seam: a snapshot with its offsets, and the stream from there to the watermarks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from k2ctl.clock import Clock
from k2ctl.domain.checkpoint import Checkpoints
from k2ctl.domain.rows import Rows
from k2ctl.domain.trade import WHOLE_HISTORY, Window
from k2ctl.errors import BrokerError
from k2ctl.lake.catalog import Lake
from k2ctl.lake.snapshots import NOTHING, Pinned, ScanPlan, pin, pin_as_of, pin_snapshots
from k2ctl.query.page import Page
from k2ctl.query.stream import Stream
from k2ctl.query.tail import OffsetSpan, Tail, TailLimits, read_tail, span_of
from k2ctl.timing import Stopwatch

LAKE_ONLY: Final = "the stream was not read (lake only)"
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


@dataclass(frozen=True)
class Sources:
    """Both sides of the seam."""

    # The snapshot with its offsets; None without a table or a commit.
    pinned: Pinned | None
    # From those offsets to the watermarks.
    span: OffsetSpan
    # What was read there.
    tail: Tail

    def plan(self, symbols: Sequence[str] | None = None, window: Window = WHOLE_HISTORY) -> ScanPlan:
        """The lake's files that may have trades of `symbols` in `window`."""
        return planned(self.pinned, symbols, window)

    @property
    def lost(self) -> int:
        """Trades of the topic that retention deleted unread, in every epoch."""
        by_partition = self.pinned.checkpoints.by_partition.items() if self.pinned else ()
        return sum(
            checkpoint.counts.lost for partition, checkpoint in by_partition if partition.topic == self.span.topic
        )


def planned(pinned: Pinned | None, symbols: Sequence[str] | None, window: Window) -> ScanPlan:
    """The files of a snapshot, if there is one, that may have trades of `symbols` in `window`; each is intact."""
    return pinned.intact(symbols, window.since_us, window.until_us) if pinned else NOTHING


class Seam:
    """Takes both sides of one lake and one topic. `pinner`: how to pin, where the metadata is kept in memory."""

    def __init__(self, lake: Lake, stream: Stream, clock: Clock, limits: TailLimits, pinner: Pinner | None) -> None:
        self.lake = lake
        self.stream = stream
        self.clock = clock
        self._limits = limits
        self._pin = pinner or (lambda: pin(lake))

    @property
    def limits(self) -> TailLimits:
        """How much of the stream one query may read."""
        return self._limits

    def take(self, question: Question, stages: Stopwatch) -> Sources:
        """Both sides: `pin`, then `beside`."""
        return self.beside(self.pin(question, stages), question, stages)

    def pin(self, question: Question, stages: Stopwatch) -> Pinned | None:
        """1. Pin a snapshot and its offsets from one metadata file. Its rows are fixed from here on."""
        with stages.timed("pin"):
            if question.as_of is not None:
                return pin_as_of(self.lake, question.as_of.moment_us, question.as_of.snapshot_id)
            return self._pin()

    def beside(self, pinned: Pinned | None, question: Question, stages: Stopwatch) -> Sources:
        """2. Take the watermarks: whatever was acknowledged before this call is before them.
        3. Read the stream from the offsets to the watermarks.

        What retention deleted since the pin may have been stored since: then it pins again.
        """
        if question.as_of is not None:
            return Sources(pinned, *self._no_stream("the table as it was then; the stream was not read"))
        if question.lake_only:
            self.lake.table()
            return Sources(pinned, *self._no_stream(LAKE_ONLY))
        try:
            with stages.timed("watermarks"):
                span = span_of(self.stream, pinned.checkpoints if pinned else Checkpoints())
            if span.holes:
                pinned = self.pin(question, stages)
                with stages.timed("watermarks"):
                    span = span_of(self.stream, pinned.checkpoints if pinned else Checkpoints())
            with stages.timed("tail"):
                tail = read_tail(
                    self.stream, span, question.symbols, question.window, self._limits, question.asked_at_us
                )
        except BrokerError as error:
            raise BrokerError(str(error), f"{error.hint}. What the lake has alone: --lake-only") from error
        return Sources(pinned, span, tail)

    def snapshots_alone(self, reason: str) -> Sources:
        """The snapshots alone, of a table whose offsets do not belong to its current snapshot."""
        return Sources(pin_snapshots(self.lake), *self._no_stream(reason))

    def _no_stream(self, reason: str) -> tuple[OffsetSpan, Tail]:
        """The stream's side of a query that leaves it out."""
        topic = self.stream.topic
        return OffsetSpan(topic, "", {}, {}, {}, {}), Tail(Rows.empty(topic, ""), 0, 0, 0, (reason,), frozenset(), {})
