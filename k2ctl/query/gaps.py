"""The gaps of both sides of the seam: of the table, and of what is on its way to it."""

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa

from k2ctl.domain.days import DayNumbers, DayRule
from k2ctl.domain.trade import WHOLE_HISTORY
from k2ctl.query.answer import Evidence, evidence_of
from k2ctl.query.changes import Events
from k2ctl.query.seam import Question, Sources
from k2ctl.query.sides import Sides
from k2ctl.sequence.gap_report import GapReport, UnmatchedEvent, gap_report
from k2ctl.timing import Stopwatch


class Gaps:
    """Answers `gaps`. Not thread-safe."""

    def __init__(self, sides: Sides, go_on: Callable[[], None]) -> None:
        """go_on: called between the steps of a report; raises to end it."""
        self._sides = sides
        self._go_on = go_on

    def answer(self, question: Question, days: DayRule | None) -> tuple[GapReport, Evidence]:
        """The report, and where it comes from. days: whose days they are counted by; None is the market's."""
        sources = self._take(question)
        # A counter over all symbols says what is missing only if the trades of all are read.
        shared = question.symbols is not None and self._spans_symbols(sources)
        if shared:
            sources = self._take(replace(question, symbols=None))
        with sources.stages.timed("scan"):
            tail = self._sides.history.fresh(sources.plan, sources.tail.to_arrow())
            sources = replace(sources, question=question)
            report = self.report(sources, tail, days)
        if len(Events(self._sides.history, sources)):
            report = replace(report, unmatched=self._unmatched(question))
        there = pa.table({"symbol": pa.array([day.symbol for day in report.days], pa.string())})
        silent = self._sides.silent(sources, there)
        missing = self._sides.outstanding(sources)
        return report, evidence_of(sources, missing, tail_rows=len(tail), last_trade_us={} if shared else silent)

    def report(self, sources: Sources, tail: pa.Table, days: DayRule | None = None) -> GapReport:
        """The report of sources. tail: rows of the stream that are not in the lake."""
        question, sides = sources.question, self._sides
        span = (question.window.since_us, question.window.until_us)
        counted_by = DayNumbers(days or sides.days)
        clock, symbols = sides.seam.clock, question.symbols
        return gap_report(sources.pinned, tail, clock, sides.universe, symbols, *span, self._go_on, counted_by)

    def _take(self, question: Question) -> Sources:
        return self._sides.seam.take(question, Stopwatch(self._sides.seam.clock))

    def _spans_symbols(self, sources: Sources) -> bool:
        """Whether a counter of one of the topics counts the trades of several symbols."""
        feeds = self._sides.feeds(sources)
        declared = [feeds.sequence(topic) for topic in sources.streams] if feeds else []
        return any(settings is not None and settings.spans_symbols for settings in declared)

    def _unmatched(self, question: Question) -> tuple[UnmatchedEvent, ...]:
        """The events of the question's window without a trade, which may be of any time."""
        sources = self._take(replace(question, window=WHOLE_HISTORY))
        fresh = self._sides.history.fresh(sources.plan, sources.tail.to_arrow())
        return Events(self._sides.history, replace(sources, question=question)).unmatched(fresh)
