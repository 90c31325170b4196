"""Both sides of the seam as a session reads them, and what an answer says of both beside its rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from k2ctl.deferred.outstanding import outstanding_reasons
from k2ctl.domain.days import UTC_DAYS, DayRule
from k2ctl.domain.rows import Rows
from k2ctl.feeds.topics import TopicFeeds
from k2ctl.lake.checkpoints import feeds_in
from k2ctl.profiles.universe import Universe
from k2ctl.query.history import Asked, History
from k2ctl.query.names import may_be_spelled_otherwise, refuse
from k2ctl.query.seam import Seam, Sources
from k2ctl.query.tail import newest_us


@dataclass(frozen=True)
class Sides:
    """What all questions of one session are answered from."""

    seam: Seam
    history: History
    # None without a profile.
    universe: Universe | None

    @cached_property
    def days(self) -> DayRule:
        """The market's days."""
        if self.universe is None:
            return UTC_DAYS
        market = self.universe.profile.market
        return DayRule(market.zone or "UTC", market.session or "")

    def feeds(self, sources: Sources) -> TopicFeeds | None:
        """What is known of the topics; None without a profile."""
        if self.universe is None:
            return None
        return TopicFeeds(self.universe.profile, feeds_in(sources.pinned.table) if sources.pinned else {})

    def outstanding(self, sources: Sources) -> tuple[str, ...]:
        """Why rows may be missing by the ledger; none with `as_of`, because that ledger is not kept."""
        if sources.pinned is None:
            return ()
        question = sources.question
        return outstanding_reasons(sources.ledger, question.symbols, question.window, self.universe)

    def silent(self, sources: Sources, rows: pa.Table, deferred: Sequence[Rows] = ()) -> Mapping[str, int]:
        """Symbols of the question without a row, with their last trade; unknown symbols are an error.

        deferred: what was read of deferred ranges.
        """
        silent: dict[str, int] = {}
        with sources.stages.timed("names"):
            for symbol in _absent(sources, rows):
                last_us = self._last_us(sources, symbol, deferred)
                if last_us is None:
                    known = self.history.symbols(sources.plan_of(None)) | sources.tail.symbols
                    raise refuse(symbol, known, sources.tail.missing, ", ".join(sources.streams))
                if not sources.question.window.holds(np.array([last_us]))[0]:  # else it was cancelled
                    silent[symbol] = last_us
        return silent

    def _last_us(self, sources: Sources, symbol: str, deferred: Sequence[Rows]) -> int | None:
        """When a symbol was traded last, on whichever side; None of one that neither has."""
        stored_us = self.history.last_trade_us(sources.plan_of([symbol]), symbol)
        # Of a trade that was cancelled there is no row.
        printed = (newest_us(part, symbol) for part in (*sources.tail.parts, *deferred))
        times = (stored_us, sources.tail.last_us.get(symbol), *printed)
        return max((time for time in times if time is not None), default=None)


def _absent(sources: Sources, rows: pa.Table) -> list[str]:
    """The symbols of the question that may not be there: without a row, though nothing has cut them off."""
    question = sources.question
    found = set(rows.column("symbol").unique().to_pylist()) if len(rows) else set()
    absent = [symbol for symbol in question.symbols or () if symbol not in found]
    is_later_page = question.page is not None and question.page.after is not None
    if is_later_page or (question.limit is not None and len(rows) == question.limit):
        # A symbol may be absent only because the limit cut it off, or its rows were on an earlier page.
        return list(filter(may_be_spelled_otherwise, absent))
    return absent


def asked_of(sources: Sources) -> Asked:
    """What the history is asked for."""
    question = sources.question
    return Asked(question.symbols, question.window, question.known_at_us)
