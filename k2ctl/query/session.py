"""One table over the lake and the stream: the session answers queries. No time is guessed anywhere."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypeVar

import pyarrow as pa

from k2ctl.clock import Clock, SystemClock
from k2ctl.domain.days import DAY_US, UTC_DAYS, BarLength, DayRule, check_days
from k2ctl.domain.trade import WHOLE_HISTORY, Window
from k2ctl.endpoints import Endpoints
from k2ctl.errors import TooLong, UsageError
from k2ctl.lake.catalog import Lake
from k2ctl.profiles import load_profile
from k2ctl.profiles.conditions import conditions_of, tables_of_exchanges
from k2ctl.profiles.universe import Universe
from k2ctl.query.answer import Answer, Evidence, evidence_of, gap_table
from k2ctl.query.bars import BarRules
from k2ctl.query.changes import Events
from k2ctl.query.gaps import Gaps
from k2ctl.query.history import FilesGone, History
from k2ctl.query.names import OtherSpelling, named
from k2ctl.query.newest import NewestTrades
from k2ctl.query.page import Page
from k2ctl.query.seam import AsOf, Pinner, Question, Seam, Sources
from k2ctl.query.sides import Sides, asked_of
from k2ctl.query.stream import KafkaStreams, Stream, Streams
from k2ctl.query.tail import TailLimits
from k2ctl.sequence.gap_report import GapReport
from k2ctl.timing import Stopwatch

_TRIES: Final = 3


class Session:
    """Answers queries over one lake and its topics. Not thread-safe; keeps connections until `close`.

    streams: one topic, or those of the table. beside: one of the same lake, whose DuckDB is shared.
    """

    def __init__(
        self,
        lake: Lake,
        streams: Stream | Streams,
        clock: Clock | None = None,
        limits: TailLimits | None = None,
        universe: Universe | None = None,
        pinner: Pinner | None = None,
        beside: History | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        every: Streams = streams if callable(streams) else lambda _: (streams,)
        self.seam = Seam(lake, every, self._clock, limits or TailLimits(), pinner)
        self._history: History = History(lake, beside)
        self.sides = Sides(self.seam, self._history, universe)
        self._newest = NewestTrades(self.sides)
        self._gaps = Gaps(self.sides, self._go_on)
        self._interrupted = threading.Event()

    @classmethod
    def at(cls, endpoints: Endpoints, clock: Clock | None = None, limits: TailLimits | None = None) -> "Session":
        """A session on the running stack, over the topics of its table and its profile."""
        profile = load_profile(endpoints.profile)
        return cls(Lake.at(endpoints), KafkaStreams(endpoints, profile), clock, limits, Universe(profile))

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._newest.close()
        self._history.close()
        self.seam.lake.close()

    def interrupt(self) -> None:
        """End the scan under way, from another thread; its query fails."""
        self._interrupted.set()
        self._history.interrupt()

    def recent(
        self,
        symbols: str | Sequence[str] | None,
        window: Window = WHOLE_HISTORY,
        limit: int | None = None,
        *,
        lake_only: bool = False,
        as_of: AsOf | None = None,
        page: Page | None = None,
        deferred: bool = False,
        raw: bool = False,
        known_at_us: int | None = None,
    ) -> Answer:
        """The trades of `symbols` (None: of all) in `window`, newest first, at most `limit`, each exactly once.

        1. Take both sides of the seam, see `Seam.take`, and read the snapshot's rows meanwhile.
        2. Unite both: of a trade and its copies one row.
        3. Where there are corrections or cancellations, ask again for the trades as corrected.

        With `lake_only` or `as_of` the stream is left out, and the answer says that it is partial. `page`: only
        rows behind the last one of the page before, of those that were there for the first page. `deferred`: read
        deferred trades as well, from spill files and Kafka; slow, for an answer that has to be complete. `raw`: what
        was printed, corrections and cancellations as rows of their own. `known_at_us`: only what was committed by then.

        Raises:
            UnknownSymbol: a symbol that neither side has ever seen, with the nearest names.
            BrokerError: Kafka does not answer. LakeError: the table or the catalog cannot be read.
        """
        question = Question(
            named(symbols), window, self._clock.now_us(), limit, lake_only, as_of, page, deferred, raw, known_at_us
        )

        def answer(asked: Question) -> Answer:
            return self._with_new_pins(lambda stages, again: self._newest.answer(asked, stages, again=again))

        return as_spelled(question, answer)

    def bars(
        self,
        symbols: str | Sequence[str],
        length: BarLength,
        window: Window = WHOLE_HISTORY,
        *,
        days: DayRule | None = None,
        all_prints: bool = False,
        as_of: AsOf | None = None,
        raw: bool = False,
        known_at_us: int | None = None,
    ) -> Answer:
        """Open, high, low, close, volume, vwap and count of each bar, oldest first, from the same seam.

        The first and the last bar are cut by the window, where it does not begin or end with a bar. `days`: whose days
        bars follow; None is the market's. `all_prints`: every print counts, whatever its conditions. `raw`: of trades
        as they were first printed. `known_at_us`: as of `recent`.

        Raises: as `recent`. UsageError: there are no such days.
        """
        rules = self._bar_rules(length, days, all_prints=all_prints)
        question = Question(named(symbols), window, self._clock.now_us(), as_of=as_of, raw=raw, known_at_us=known_at_us)

        def answer(asked: Question) -> Answer:
            return self._with_new_pins(lambda stages, _: self._bars(asked, rules, stages))

        return as_spelled(question, answer)

    def _bar_rules(self, length: BarLength, days: DayRule | None, *, all_prints: bool) -> BarRules:
        """Bars shorter than a day follow days only where they are asked for: they are those of UTC in most zones."""
        if days is None:
            days = UTC_DAYS if length.us else self.sides.days
        elif length.us > DAY_US:
            raise UsageError("Of a zone or a session, bars of a day and more are whole days.", "Write --bar 1d")
        check_days(days)
        universe = self.sides.universe
        if universe is None or all_prints:
            return BarRules(length, days)
        market = universe.profile.market
        others = tables_of_exchanges(market)
        return BarRules(length, days, conditions_of(market), exchange=market.exchange, of_exchanges=others)

    def _with_new_pins(self, answer: Callable[[Stopwatch, bool], Answer]) -> Answer:
        """Answer once more where a planned file is gone: a new pin names files that are there."""
        stages = Stopwatch(self._clock)
        for again in (True,) * (_TRIES - 1):
            with suppress(FilesGone):
                return answer(stages, again)
        return answer(stages, False)

    def gaps(
        self,
        symbols: Sequence[str] | None,
        window: Window = WHOLE_HISTORY,
        *,
        lake_only: bool = False,
        days: DayRule | None = None,
    ) -> tuple[GapReport, Evidence]:
        """The gaps of `symbols` (None: all) in `window`, of the table and of what is on its way to it.

        days: whose days they are counted by; None is the market's.

        Raises: as `recent`.
        """
        self._interrupted.clear()
        question = Question(named(symbols), window, self._clock.now_us(), lake_only=lake_only)
        return as_spelled(question, lambda asked: self._gaps.answer(asked, days))

    def gap_rows(self, symbols: Sequence[str], window: Window, limit: int) -> Answer:
        """The first `limit` gaps of `symbols` in `window` as rows, by day, symbol and time.

        Raises: as `recent`.
        """
        report, evidence = self.gaps(symbols, window)
        return Answer(gap_table(report.gaps[:limit]), replace(evidence, more=len(report.gaps) > limit))

    def gap_report(self, sources: Sources, tail: pa.Table) -> GapReport:
        """The report of sources, by the market's days. tail: rows of the stream that are not in the lake."""
        return self._gaps.report(sources, tail)

    def _go_on(self) -> None:
        if self._interrupted.is_set():
            raise TooLong

    def symbols(self) -> Answer:
        """All symbols that either side has ever seen, by name."""
        sources = self.seam.take(Question(None, WHOLE_HISTORY, self._clock.now_us()), Stopwatch(self._clock))
        with sources.stages.timed("scan"):
            known = self._history.symbols(sources.plan) | sources.tail.symbols
        table = pa.table({"symbol": pa.array(sorted(known), pa.string())})
        return Answer(table, evidence_of(sources, self.sides.outstanding(sources)))

    def _bars(self, question: Question, rules: BarRules, stages: Stopwatch) -> Answer:
        sources = self.seam.take(question, stages)
        rules = self._by_topic(rules, sources)
        tail = sources.tail.to_arrow()
        with stages.timed("scan"):
            fresh = self._history.fresh(sources.plan, tail)
            changes = None if question.raw else Events(self._history, sources).changes(fresh)
            table = self._history.bars(sources.plan, fresh, asked_of(sources), rules, changes)
        total = sum(table.column("trades").to_pylist())
        evidence = evidence_of(
            sources,
            self.sides.outstanding(sources),
            lake_rows=max(0, total - len(fresh)),
            tail_rows=min(len(fresh), total),
            duplicates_removed=len(tail) - len(fresh),
            last_trade_us=self.sides.silent(sources, table),
        )
        return Answer(table, evidence)

    def _by_topic(self, rules: BarRules, sources: Sources) -> BarRules:
        """The rules with the tables that the feeds of topics name."""
        feeds = self.sides.feeds(sources)
        if rules.conditions is None or feeds is None:
            return rules
        named = {topic: feeds.conditions(topic) for topic in feeds.recorded}
        return replace(rules, of_topics={topic: table for topic, table in named.items() if table != rules.conditions})


_Answered = TypeVar("_Answered")


def as_spelled(question: Question, answer: Callable[[Question], _Answered]) -> _Answered:
    """Answer; a symbol that is stored in one other spelling only is asked for in that one."""
    for _ in question.symbols or ():
        try:
            return answer(question)
        except OtherSpelling as other:
            question = replace(question, symbols=other.within(question.symbols or ()))
    return answer(question)
