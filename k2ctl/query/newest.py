"""The newest trades of both sides of the seam: the lake is scanned while the stream is read, then both are united."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Final

import pyarrow as pa

from k2ctl.deferred.outstanding import outstanding_entries
from k2ctl.domain.rows import Rows
from k2ctl.domain.trade import NEW
from k2ctl.query.answer import Answer, evidence_of
from k2ctl.query.changes import Events
from k2ctl.query.history import FilesGone
from k2ctl.query.page import Page
from k2ctl.query.seam import TORN, Question, Sources
from k2ctl.query.sides import Sides, asked_of
from k2ctl.query.tail import rows_table
from k2ctl.query.unite import United, unite
from k2ctl.timing import Stopwatch

_SPARE: Final = 64
"""Rows of each side beyond the limit: of one time with the last one, or copies of others."""


class NewestTrades:
    """Answers `recent`. Not thread-safe; has a thread of its own for the stream until `close`."""

    def __init__(self, sides: Sides) -> None:
        self._sides = sides
        self._history = sides.history
        self._beside = ThreadPoolExecutor(1, "k2-beside")

    def close(self) -> None:
        """End the thread."""
        self._beside.shutdown()

    def answer(self, question: Question, stages: Stopwatch, *, again: bool) -> Answer:
        """1. Take both sides, and the lake's newest rows meanwhile.
        2. Read what was deferred, if it is asked for.
        3. Unite them, or correct them together, and cut what is beyond the limit.

        Raises:
            FilesGone: a file of the plan is; with `again` also where a spill file cannot be read as a whole.
        """
        sources, lake = self._sides_and_rows(question, stages)
        parts, missing = self._deferred(sources) if question.deferred else ([], self._sides.outstanding(sources))
        if TORN in missing and again:
            raise FilesGone("A spill file cannot be read as a whole.", "See: k2ctl lake status")
        events = [rows.take(rows.trades["action"] != NEW) for rows in parts]
        parts = [rows.take(question.window.holds(rows.trades["event_ns"] // 1000)) for rows in parts]
        united = self._united(sources, [*sources.tail.parts, *parts], lake)
        if not question.raw:
            united = self._corrected(sources, [*sources.tail.parts, *parts], events, united)
        return self._cut(sources, united, parts, missing)

    def _cut(self, sources: Sources, united: United, deferred: Sequence[Rows], missing: tuple[str, ...]) -> Answer:
        """The answer: the rows up to the limit, and the evidence."""
        limit = sources.question.limit
        more = limit is not None and len(united.rows) > limit
        rows = united.rows.slice(0, limit) if more else united.rows
        from_tail = int(united.from_tail[: len(rows)].sum())
        silent = self._sides.silent(sources, rows, deferred)
        evidence = evidence_of(
            sources,
            missing,
            lake_rows=len(rows) - from_tail,
            tail_rows=from_tail,
            duplicates_removed=united.duplicates,
            more=more,
            newest_us=rows.column("timestamp")[0].cast(pa.int64()).as_py() if len(rows) else None,
            last_trade_us=silent,
        )
        return Answer(rows, evidence)

    def _sides_and_rows(self, question: Question, stages: Stopwatch) -> tuple[Sources, pa.Table]:
        """Both sides, and the lake's newest rows: the pinned files are scanned while the stream is read.

        Of a stream that is followed the watermarks are asked for first: it takes a fraction of a millisecond, and
        several while a scan has all cores.
        """
        seam, count = self._sides.seam, _first_count(question)
        pinned = seam.pin(question, stages)
        is_followed = all(stream.is_followed for stream in pinned.streams.values())
        if is_followed:
            pinned = seam.bounded(pinned)
        reading = self._beside.submit(seam.read if is_followed else seam.beside, pinned)
        try:
            rows = self._newest(pinned, count)
        finally:
            wait([reading])  # its streams are the next query's
        sources = reading.result()
        return sources, rows if sources.pinned is pinned.pinned else self._newest(sources, count)

    def _newest(self, sources: Sources, count: int | None) -> pa.Table:
        with sources.stages.timed("scan"):
            return self._history.newest(sources.plan, asked_of(sources), count, sources.question.page)

    def _deferred(self, sources: Sources) -> tuple[list[Rows], tuple[str, ...]]:
        """The deferred rows, and why some may be missing."""
        if sources.pinned is None:
            return [], ()
        question = sources.question
        ranges = outstanding_entries(sources.ledger, question.symbols, question.window, self._sides.universe)
        with sources.stages.timed("deferred"):
            return self._sides.seam.deferred(sources, ranges)

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
                newest = self._history.newest_corrected(sources.plan, asked_of(sources), count, page, fresh, changes)
                found = _behind(page, United(*newest, len(tail) - len(fresh)))
                if count is None or limit is None or len(newest[0]) < count or len(found.rows) > limit:
                    return found
                count *= 4


def _first_count(question: Question) -> int | None:
    """How many rows of each side are read first; None: all."""
    return None if question.limit is None else question.limit + 1 + _SPARE


def _of_page(page: Page | None, parts: Sequence[Rows]) -> Sequence[Rows]:
    return parts if page is None else [page.select(rows) for rows in parts]


def _behind(page: Page | None, united: United) -> United:
    if page is None or page.after is None:
        return united
    mask = page.behind(united.rows)
    return replace(united, rows=united.rows.filter(pa.array(mask)), from_tail=united.from_tail[mask])
