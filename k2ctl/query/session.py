"""One table over the lake and the stream: the session answers queries. No time is guessed anywhere."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Final, TypeVar

import numpy as np
import pyarrow as pa

from k2ctl.clock import Clock, SystemClock
from k2ctl.deferred.outstanding import outstanding_entries, outstanding_reasons
from k2ctl.domain.days import DAY_US, UTC_DAYS, BarLength, DayNumbers, DayRule, check_days
from k2ctl.domain.rows import Rows
from k2ctl.domain.trade import NEW, WHOLE_HISTORY, Window
from k2ctl.endpoints import Endpoints
from k2ctl.errors import TooLong, UsageError
from k2ctl.feeds.topics import TopicFeeds
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import feeds_in
from k2ctl.profiles import load_profile
from k2ctl.profiles.conditions import conditions_of, tables_of_exchanges
from k2ctl.profiles.universe import Universe
from k2ctl.query.answer import Answer, Evidence, evidence_of, gap_table
from k2ctl.query.bars import BarRules
from k2ctl.query.changes import Events
from k2ctl.query.history import Asked, FilesGone, History
from k2ctl.query.names import OtherSpelling, may_be_spelled_otherwise, named, refuse
from k2ctl.query.page import Page
from k2ctl.query.seam import TORN, AsOf, Pinner, Question, Seam, Sources
from k2ctl.query.stream import KafkaStreams, Stream, Streams
from k2ctl.query.tail import TailLimits, newest_us, rows_table
from k2ctl.query.unite import United, unite
from k2ctl.sequence.gap_report import GapReport, UnmatchedEvent, gap_report
from k2ctl.timing import Stopwatch

_TRIES: Final = 3
_SPARE: Final = 64
"""Rows of each side beyond the limit: of one time with the last one, or copies of others."""


class Session:
    """Answers queries over one lake and its topics. Not thread-safe; keeps connections until `close`.

    streams: one topic, or those of the table. beside: a session of the same lake for another thread, whose DuckDB both
    share.
    """

    def __init__(
        self,
        lake: Lake,
        streams: Stream | Streams,
        clock: Clock | None = None,
        limits: TailLimits | None = None,
        universe: Universe | None = None,
        pinner: Pinner | None = None,
        beside: "Session | None" = None,
    ) -> None:
        self._clock = clock or SystemClock()
        every: Streams = streams if callable(streams) else lambda _: (streams,)
        self.seam = Seam(lake, every, self._clock, limits or TailLimits(), pinner)
        self._universe = universe
        self._history: History = History(lake, beside._history if beside else None)
        self._scans = ThreadPoolExecutor(1, "k2-scan")
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
        self._scans.shutdown()
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
            return self._with_new_pins(lambda stages, again: self._recent(asked, stages, again=again))

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
            days = UTC_DAYS if length.us else self.days
        elif length.us > DAY_US:
            raise UsageError("Of a zone or a session, bars of a day and more are whole days.", "Write --bar 1d")
        check_days(days)
        if self._universe is None or all_prints:
            return BarRules(length, days)
        market = self._universe.profile.market
        others = tables_of_exchanges(market)
        return BarRules(length, days, conditions_of(market), exchange=market.exchange, of_exchanges=others)

    @cached_property
    def days(self) -> DayRule:
        """The market's days."""
        if self._universe is None:
            return UTC_DAYS
        market = self._universe.profile.market
        return DayRule(market.zone or "UTC", market.session or "")

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
        return as_spelled(question, lambda asked: self._gaps(asked, days))

    def _gaps(self, question: Question, days: DayRule | None) -> tuple[GapReport, Evidence]:
        sources = self.seam.take(question, Stopwatch(self._clock))
        # A counter over all symbols says what is missing only if the trades of all are read.
        shared = question.symbols is not None and self._spans_symbols(sources)
        if shared:
            sources = self.seam.take(replace(question, symbols=None), Stopwatch(self._clock))
        with sources.stages.timed("scan"):
            tail = self._history.fresh(sources.plan, sources.tail.to_arrow())
            sources = replace(sources, question=question)
            report = self.gap_report(sources, tail, days)
        if len(Events(self._history, sources)):
            report = replace(report, unmatched=self._unmatched(question))
        there = pa.table({"symbol": pa.array([day.symbol for day in report.days], pa.string())})
        silent = self._silent(sources, there)
        last_us = {} if shared else silent
        return report, evidence_of(sources, self.outstanding(sources), tail_rows=len(tail), last_trade_us=last_us)

    def _spans_symbols(self, sources: Sources) -> bool:
        """Whether a counter of one of the topics counts the trades of several symbols."""
        feeds = self._feeds(sources)
        declared = [feeds.sequence(topic) for topic in sources.streams] if feeds else []
        return any(settings is not None and settings.spans_symbols for settings in declared)

    def _feeds(self, sources: Sources) -> TopicFeeds | None:
        """What is known of the topics; None without a profile."""
        if self._universe is None:
            return None
        return TopicFeeds(self._universe.profile, feeds_in(sources.pinned.table) if sources.pinned else {})

    def _unmatched(self, question: Question) -> tuple[UnmatchedEvent, ...]:
        """The events of the question's window without a trade, which may be of any time."""
        sources = self.seam.take(replace(question, window=WHOLE_HISTORY), Stopwatch(self._clock))
        fresh = self._history.fresh(sources.plan, sources.tail.to_arrow())
        return Events(self._history, replace(sources, question=question)).unmatched(fresh)

    def gap_rows(self, symbols: Sequence[str], window: Window, limit: int) -> Answer:
        """The first `limit` gaps of `symbols` in `window` as rows, by day, symbol and time.

        Raises: as `recent`.
        """
        report, evidence = self.gaps(symbols, window)
        return Answer(gap_table(report.gaps[:limit]), replace(evidence, more=len(report.gaps) > limit))

    def gap_report(self, sources: Sources, tail: pa.Table, days: DayRule | None = None) -> GapReport:
        """The report of both sides of the seam. tail: rows of the stream that are not in the lake."""
        symbols, window = sources.question.symbols, sources.question.window
        span = (window.since_us, window.until_us)
        counted_by = DayNumbers(days or self.days)
        return gap_report(sources.pinned, tail, self._clock, self._universe, symbols, *span, self._go_on, counted_by)

    def _go_on(self) -> None:
        if self._interrupted.is_set():
            raise TooLong

    def symbols(self) -> Answer:
        """All symbols that either side has ever seen, by name."""
        sources = self.seam.take(Question(None, WHOLE_HISTORY, self._clock.now_us()), Stopwatch(self._clock))
        with sources.stages.timed("scan"):
            known = self._history.symbols(sources.plan) | sources.tail.symbols
        table = pa.table({"symbol": pa.array(sorted(known), pa.string())})
        return Answer(table, evidence_of(sources, self.outstanding(sources)))

    def outstanding(self, sources: Sources) -> tuple[str, ...]:
        """Why rows may be missing by the ledger; none with `as_of`, because that ledger is not kept."""
        if sources.pinned is None:
            return ()
        return outstanding_reasons(sources.ledger, sources.question.symbols, sources.question.window, self._universe)

    def _recent(self, question: Question, stages: Stopwatch, *, again: bool) -> Answer:
        """1. Take both sides, and the lake's newest rows meanwhile.
        2. Read what was deferred, if it is asked for.
        3. Unite them, or correct them together, and cut what is beyond the limit.
        """
        sources, lake = self._sides_and_rows(question, stages)
        parts, missing = self._deferred(sources) if question.deferred else ([], self.outstanding(sources))
        if TORN in missing and again:
            raise FilesGone("A spill file cannot be read as a whole.", "See: k2ctl lake status")
        events = [rows.take(rows.trades["action"] != NEW) for rows in parts]
        parts = [rows.take(question.window.holds(rows.trades["event_ns"] // 1000)) for rows in parts]
        united = self._united(sources, [*sources.tail.parts, *parts], lake)
        if not question.raw:
            united = self._corrected(sources, [*sources.tail.parts, *parts], events, united)
        cut = question.limit is not None and len(united.rows) > question.limit
        rows = united.rows.slice(0, question.limit) if cut else united.rows
        from_tail = int(united.from_tail[: len(rows)].sum())
        silent = self._silent(sources, rows, parts)
        evidence = evidence_of(
            sources,
            missing,
            lake_rows=len(rows) - from_tail,
            tail_rows=from_tail,
            duplicates_removed=united.duplicates,
            more=cut,
            newest_us=rows.column("timestamp")[0].cast(pa.int64()).as_py() if len(rows) else None,
            last_trade_us=silent,
        )
        return Answer(rows, evidence)

    def _sides_and_rows(self, question: Question, stages: Stopwatch) -> tuple[Sources, pa.Table]:
        """Both sides, and the lake's newest rows: the pinned files are scanned while the stream is read."""
        pinned = self.seam.pin(question, stages)
        scan = self._scans.submit(self._newest, pinned, _first_count(question))
        try:
            sources = self.seam.beside(pinned)
        except BaseException:
            self.interrupt()
            raise
        finally:
            wait([scan])  # its connection is the next query's
        if sources.pinned is not pinned.pinned:
            return sources, self._newest(sources, _first_count(question))
        return sources, scan.result()

    def _newest(self, sources: Sources, count: int | None) -> pa.Table:
        with sources.stages.timed("scan"):
            return self._history.newest(sources.plan, _asked(sources), count, sources.question.page)

    def _deferred(self, sources: Sources) -> tuple[list[Rows], tuple[str, ...]]:
        """The deferred rows, and why some may be missing."""
        if sources.pinned is None:
            return [], ()
        question = sources.question
        ranges = outstanding_entries(sources.ledger, question.symbols, question.window, self._universe)
        with sources.stages.timed("deferred"):
            return self.seam.deferred(sources, ranges)

    def _united(self, sources: Sources, parts: Sequence[Rows], lake: pa.Table) -> United:
        """Under a limit only the newest of both sides are read and united, and more where that was not enough."""
        page, limit, count = sources.question.page, sources.question.limit, _first_count(sources.question)
        tails = _of_page(page, parts)
        while True:
            with sources.stages.timed("unite"):
                united = _behind(page, unite(lake, tails, count))
            if count is None or limit is None or united.whole or united.sure > limit:
                return united
            count *= 4  # copies, or many trades of one time
            lake = self._newest(sources, count)

    def _corrected(self, sources: Sources, parts: Sequence[Rows], deferred: Sequence[Rows], united: United) -> United:
        """The trades as corrected; `united`, where nothing corrects them. deferred: events of deferred ranges."""
        page, limit, count = sources.question.page, sources.question.limit, _first_count(sources.question)
        with sources.stages.timed("corrections"):
            events = Events(self._history, sources, deferred)
            if not len(events) and not united.reprints:
                return united
            tail = rows_table(_of_page(page, parts))
            fresh = self._history.fresh(sources.plan, tail)
            changes = events.changes(fresh)
            while True:
                newest = self._history.newest_corrected(sources.plan, _asked(sources), count, page, fresh, changes)
                found = _behind(page, United(*newest, len(tail) - len(fresh)))
                if count is None or limit is None or len(newest[0]) < count or len(found.rows) > limit:
                    return found
                count *= 4

    def _bars(self, question: Question, rules: BarRules, stages: Stopwatch) -> Answer:
        sources = self.seam.take(question, stages)
        rules = self._by_topic(rules, sources)
        tail = sources.tail.to_arrow()
        with stages.timed("scan"):
            fresh = self._history.fresh(sources.plan, tail)
            changes = None if question.raw else Events(self._history, sources).changes(fresh)
            table = self._history.bars(sources.plan, fresh, _asked(sources), rules, changes)
        total = sum(table.column("trades").to_pylist())
        evidence = evidence_of(
            sources,
            self.outstanding(sources),
            lake_rows=max(0, total - len(fresh)),
            tail_rows=min(len(fresh), total),
            duplicates_removed=len(tail) - len(fresh),
            last_trade_us=self._silent(sources, table),
        )
        return Answer(table, evidence)

    def _by_topic(self, rules: BarRules, sources: Sources) -> BarRules:
        """The rules with the tables that the feeds of topics name."""
        feeds = self._feeds(sources)
        if rules.conditions is None or feeds is None:
            return rules
        named = {topic: feeds.conditions(topic) for topic in feeds.recorded}
        return replace(rules, of_topics={topic: table for topic, table in named.items() if table != rules.conditions})

    def _silent(self, sources: Sources, rows: pa.Table, deferred: Sequence[Rows] = ()) -> Mapping[str, int]:
        """Symbols of the question without a row, with their last trade; unknown symbols are an error.

        deferred: what was read of deferred ranges.
        """
        question, tail = sources.question, sources.tail
        found = set(rows.column("symbol").unique().to_pylist()) if len(rows) else set()
        absent = [symbol for symbol in question.symbols or () if symbol not in found]
        is_later_page = question.page is not None and question.page.after is not None
        if is_later_page or (question.limit is not None and len(rows) == question.limit):
            # A symbol may be absent only because the limit cut it off, or its rows were on an earlier page.
            absent = list(filter(may_be_spelled_otherwise, absent))
        silent: dict[str, int] = {}
        with sources.stages.timed("names"):
            for symbol in absent:
                stored_us = self._history.last_trade_us(sources.plan_of([symbol]), symbol)
                # Of a trade that was cancelled there is no row.
                printed = (newest_us(part, symbol) for part in (*tail.parts, *deferred))
                times = (stored_us, tail.last_us.get(symbol), *printed)
                known_us = [time for time in times if time is not None]
                if not known_us:
                    known = self._history.symbols(sources.plan_of(None)) | tail.symbols
                    raise refuse(symbol, known, tail.missing, ", ".join(sources.streams))
                if not question.window.holds(np.array([max(known_us)]))[0]:  # else it was cancelled
                    silent[symbol] = max(known_us)
        return silent


_Answered = TypeVar("_Answered")


def as_spelled(question: Question, answer: Callable[[Question], _Answered]) -> _Answered:
    """Answer; a symbol that is stored in one other spelling only is asked for in that one."""
    for _ in question.symbols or ():
        try:
            return answer(question)
        except OtherSpelling as other:
            question = replace(question, symbols=other.within(question.symbols or ()))
    return answer(question)


def _first_count(question: Question) -> int | None:
    """How many rows of each side are read first; None: all."""
    return None if question.limit is None else question.limit + 1 + _SPARE


def _asked(sources: Sources) -> Asked:
    question = sources.question
    return Asked(question.symbols, question.window, question.known_at_us)


def _of_page(page: Page | None, parts: Sequence[Rows]) -> Sequence[Rows]:
    return parts if page is None else [page.select(rows) for rows in parts]


def _behind(page: Page | None, united: United) -> United:
    if page is None or page.after is None:
        return united
    mask = page.behind(united.rows)
    return replace(united, rows=united.rows.filter(pa.array(mask)), from_tail=united.from_tail[mask])
