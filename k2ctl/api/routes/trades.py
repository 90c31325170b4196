"""Trades, bars and gaps: rows, each answer with the evidence that they are all there are."""

from dataclasses import asdict
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from k2ctl.api.engine import WarmEngine
from k2ctl.api.problems import Refused
from k2ctl.api.render import ROWS, SYMBOLS, etag_of, rendered, representation, tagged
from k2ctl.api.routes.parameters import (
    Accept,
    AllPrints,
    Bar,
    Count,
    Cursor,
    Duration,
    Known,
    KnownAt,
    Moment,
    Raw,
    Rows,
    Sessions,
    Symbols,
    Zone,
    bar_of,
    known_us_of,
    window_of,
)
from k2ctl.api.settings import MOST_ROWS, Limits
from k2ctl.clock import SystemClock
from k2ctl.domain.days import day_rule
from k2ctl.domain.rows import nanoseconds
from k2ctl.domain.trade import Window
from k2ctl.query.answer import Answer
from k2ctl.query.page import Page, Place
from k2ctl.query.session import Session

_NAMES_SHOWN: Final = 20


def add_trades(api: APIRouter, engine: WarmEngine, limits: Limits) -> None:
    """The endpoints whose answers are rows."""
    _add_recent(api, engine, limits)
    _add_bars(api, engine, limits)
    _add_symbols(api, engine)
    _add_gaps(api, engine, limits)


def _add_recent(api: APIRouter, engine: WarmEngine, limits: Limits) -> None:
    @api.get("/trades/recent", tags=["Trades"], summary="The newest trades", responses=ROWS, response_class=Response)
    def trades_recent(
        symbols: Symbols,
        window: Duration = None,
        since: Moment = None,
        until: Moment = None,
        limit: Rows = limits.default_rows,
        cursor: Cursor = None,
        raw: Raw = False,
        known_at: KnownAt = None,
        accept: Accept = "*/*",
        if_none_match: Known = "",
    ) -> Response:
        """The newest trades of one symbol or several, newest first, each exactly once: stored, and on their way.

        Corrected trades are given as corrected and cancelled ones left out; `raw=true` gives every print.

        `next` leads to older ones. All pages together are what the first one could see, while data flows on; keep
        `since` and `until` as they were, or ask by the first page's `since`.
        """
        media = representation(accept)
        now_us = SystemClock().now_us()
        page = None if cursor is None else Page.decode(cursor)
        asked = window_of(window, since, until, now_us, limits)
        asked = asked if page is None else _of_page(page, asked, limits)
        known_us = known_us_of(known_at)
        answer = engine.ask(
            lambda session: session.recent(symbols, asked, limit, page=page, raw=raw, known_at_us=known_us)
        )
        following = _next(answer, page, asked)
        if since is None:  # a moment later it is another window
            return rendered(answer, media, {}, following)
        found = answer.evidence
        of_question = (symbols, asked, limit, cursor, raw, known_us, media)
        tag = etag_of(*of_question, found.snapshot_id, sorted(found.ends.items()), found.missing)
        return tagged(answer, media, tag, if_none_match, following)


def _add_bars(api: APIRouter, engine: WarmEngine, limits: Limits) -> None:
    @api.get("/ohlcv", tags=["Trades"], summary="Bars", responses=ROWS, response_class=Response)
    def ohlcv(
        symbols: Symbols,
        bar: Bar = "1m",
        zone: Zone = None,
        session_of: Sessions = None,
        all_prints: AllPrints = False,
        window: Duration = None,
        since: Moment = None,
        until: Moment = None,
        raw: Raw = False,
        known_at: KnownAt = None,
        accept: Accept = "*/*",
    ) -> Response:
        """Bars, oldest first, over the same trades; the last one may still grow.

        Bars of a day and more follow the days of `zone`, or the trading days of `session`. The market's table of
        conditions says which prints count for what.
        """
        media = representation(accept)
        now_us, length, days = SystemClock().now_us(), bar_of(bar, limits), day_rule(zone, session_of)
        span = window_of(window, since, until, now_us, limits)
        length_us = (span.until_us or now_us) - (span.since_us or 0)
        if length_us // length.at_least_us * len(symbols) > MOST_ROWS:
            raise Refused("invalid-request", f"That would be more than {MOST_ROWS:,} bars.")
        known_us = known_us_of(known_at)
        answer = engine.ask(
            lambda session: session.bars(
                symbols, length, span, days=days, all_prints=all_prints, raw=raw, known_at_us=known_us
            )
        )
        return rendered(answer, media, {})


def _add_symbols(api: APIRouter, engine: WarmEngine) -> None:
    @api.get("/symbols", tags=["Trades"], summary="Symbols", responses=SYMBOLS, response_class=Response)
    def symbols_known(
        prefix: Annotated[str | None, Query(max_length=64, description="Only those that begin so.")] = None,
        limit: Annotated[Count | None, Query(ge=1, le=1_000, description="Of `prefix`, so many; default 20.")] = None,
        accept: Accept = "*/*",
        if_none_match: Known = "",
    ) -> Response:
        """All symbols that were ever seen, by name, as rows with their proof.

        With `prefix`, in upper or lower case, names to choose from while one types: at once, also those of reference
        data that have no trade yet; what is new in the table is among them after half a minute.
        """
        media = representation(accept)
        if prefix is not None:
            return JSONResponse(asdict(engine.symbols.beginning_with(prefix, limit or _NAMES_SHOWN)))
        if limit is not None:
            raise Refused("invalid-request", "`limit` is of the names that begin with `prefix`.")
        answer = engine.ask(Session.symbols)
        tag = etag_of(media, answer.table.column("symbol").to_pylist(), answer.evidence.missing)
        return tagged(answer, media, tag, if_none_match)


def _add_gaps(api: APIRouter, engine: WarmEngine, limits: Limits) -> None:
    @api.get("/gaps", tags=["Trades"], summary="Missing numbers", responses=ROWS, response_class=Response)
    def gaps(
        symbols: Symbols,
        window: Duration = None,
        since: Moment = None,
        until: Moment = None,
        limit: Annotated[Count, Query(ge=1, le=10_000)] = 1_000,
        accept: Accept = "*/*",
    ) -> Response:
        """Numbers of the venues' counters that are missing between the first and the last trade of the window."""
        media = representation(accept)
        span = window_of(window, since, until, SystemClock().now_us(), limits)
        answer = engine.ask(lambda session: session.gap_rows(symbols, span, limit))
        return rendered(answer, media, {})


def _of_page(page: Page, window: Window, limits: Limits) -> Window:
    """The first page's window, which has not moved on; a forged cursor gets no longer one."""
    if page.since_us is None:
        return window
    if (window.since_us or 0) - page.since_us > limits.window_s * 1e6:
        raise Refused("invalid-request", "This cursor is too old; start again without it.")
    return Window(page.since_us, window.until_us)


def _next(answer: Answer, page: Page | None, asked: Window) -> str | None:
    """The cursor behind the last row; None when there is no more."""
    if not answer.evidence.more or not len(answer.table):
        return None
    last = answer.table.slice(len(answer.table) - 1)
    timestamp = int(nanoseconds(last.column("timestamp"), last.column("timestamp_nanos"))[0])
    place = Place(timestamp, *(last.column(f"kafka_{n}")[0].as_py() for n in ("partition", "offset", "index", "topic")))
    evidence = answer.evidence
    first = page or Page(evidence.ends, since_us=asked.since_us)
    return Page(first.ends, place, first.since_us).encode()
