"""The typed endpoints. Whatever a client sends becomes a bound parameter or a refusal, never a piece of SQL."""

from typing import Annotated, Any

import pyarrow as pa
from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import Response

from k2ctl.api.asked import Bar, Cursor, Duration, Moment, Rows, Symbols, bar_of, only_known, span_of
from k2ctl.api.engine import WarmEngine
from k2ctl.api.problems import Refused
from k2ctl.api.render import etag_of, rendered, representation
from k2ctl.api.settings import Limits
from k2ctl.clock import SystemClock
from k2ctl.domain.trade import Window
from k2ctl.query.answer import Answer
from k2ctl.query.page import Page, Place
from k2ctl.query.session import Session

Accept = Annotated[str, Header(max_length=500)]
Known = Annotated[str, Header(alias="If-None-Match", max_length=500)]
_BARS_MOST = 50_000

PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"description": text, "content": {"application/problem+json": {"schema": {"type": "object"}}}}
    for code, text in {
        401: "No key",
        404: "No such symbol",
        406: "No such representation",
        413: "Request too large",
        414: "URL too long",
        421: "Unknown host",
        422: "A parameter is not right",
        431: "Headers too long",
        500: "It failed",
        503: "Kafka or the lake does not answer, or too many at once",
        504: "It took too long",
    }.items()
}
ROWS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Rows, with what shows that they are all there are",
        "content": {
            "application/json": {"schema": {"type": "object", "required": ["rows", "next", "evidence"]}},
            "text/csv": {"schema": {"type": "string"}},
            "application/vnd.apache.arrow.stream": {"schema": {"type": "string", "format": "binary"}},
            "application/vnd.apache.arrow.file": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    304: {"description": "As the client has it"},
    **PROBLEMS,
}


def router(engine: WarmEngine, limits: Limits) -> APIRouter:
    """The endpoints over one engine."""
    api = APIRouter(prefix="/v1", responses=PROBLEMS, dependencies=[Depends(only_known)])
    _add_trades(api, engine, limits)
    _add_bars(api, engine, limits)
    _add_symbols(api, engine)
    _add_gaps(api, engine, limits)
    _add_status(api, engine)
    return api


def _add_trades(api: APIRouter, engine: WarmEngine, limits: Limits) -> None:
    @api.get("/trades/recent", responses=ROWS, response_class=Response)
    def trades_recent(
        symbols: Symbols,
        window: Duration = None,
        since: Moment = None,
        until: Moment = None,
        limit: Rows = limits.default_rows,
        cursor: Cursor = None,
        accept: Accept = "*/*",
        if_none_match: Known = "",
    ) -> Response:
        """The newest trades of one symbol or several, newest first, each exactly once: stored, and on their way.

        `next` leads to older ones. All pages together are what the first one could see, while data flows on; keep
        `since` and `until` as they were, or ask by the first page's `since`.
        """
        media = representation(accept)
        now_us = SystemClock().now_us()
        page = None if cursor is None else Page.decode(cursor)
        span = span_of(window, since, until, now_us, limits)
        asked = span.window if page is None else _of_page(page, span.window, limits)
        answer = engine.ask(lambda session: session.recent(symbols, asked, limit, page=page))
        headers = {}
        if not (span.moving and since is None):
            evidence = answer.evidence
            tag = etag_of(
                symbols, asked, limit, cursor, media, evidence.snapshot_id, evidence.watermarks, evidence.missing
            )
            if tag in if_none_match:
                return Response(status_code=304, headers={"ETag": tag, "Vary": "Accept"})
            headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
        return rendered(answer, media, headers, _next(answer, page, asked))


def _add_bars(api: APIRouter, engine: WarmEngine, limits: Limits) -> None:
    @api.get("/ohlcv", responses=ROWS, response_class=Response)
    def ohlcv(
        symbols: Symbols,
        bar: Bar = "1m",
        window: Duration = None,
        since: Moment = None,
        until: Moment = None,
        accept: Accept = "*/*",
    ) -> Response:
        """Bars, oldest first, over the same trades; the last one may still grow."""
        media = representation(accept)
        now_us, bar_us = SystemClock().now_us(), bar_of(bar, limits)
        span = span_of(window, since, until, now_us, limits).window
        length_us = (span.until_us or now_us) - (span.since_us or 0)
        if length_us // bar_us * len(symbols) > _BARS_MOST:
            raise Refused("invalid-request", f"That would be more than {_BARS_MOST:,} bars.")
        return rendered(engine.ask(lambda session: session.bars(symbols, bar_us, span)), media, {})


def _add_symbols(api: APIRouter, engine: WarmEngine) -> None:
    @api.get("/symbols", responses=ROWS, response_class=Response)
    def symbols_known(accept: Accept = "*/*", if_none_match: Known = "") -> Response:
        """All symbols that were ever seen, by name."""
        media = representation(accept)
        answer = engine.ask(Session.symbols)
        tag = etag_of(media, answer.table.column("symbol").to_pylist(), answer.evidence.missing)
        if tag in if_none_match:
            return Response(status_code=304, headers={"ETag": tag, "Vary": "Accept"})
        return rendered(answer, media, {"ETag": tag, "Cache-Control": "private, no-cache"})


def _add_gaps(api: APIRouter, engine: WarmEngine, limits: Limits) -> None:
    @api.get("/gaps", responses=ROWS, response_class=Response)
    def gaps(
        symbols: Symbols,
        window: Duration = None,
        since: Moment = None,
        until: Moment = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
        accept: Accept = "*/*",
    ) -> Response:
        """Numbers of the venues' counters that are missing between the first and the last trade of the window."""
        media = representation(accept)
        span = span_of(window, since, until, SystemClock().now_us(), limits).window
        answer = engine.ask(lambda session: session.gap_rows(symbols, span, limit))
        return rendered(answer, media, {})


def _add_status(api: APIRouter, engine: WarmEngine) -> None:
    @api.get("/status", response_model=None)
    def status() -> dict[str, Any]:
        """The service, and the platform as `k2ctl watch --json` shows it."""
        return engine.status()


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
    timestamp = last.column("timestamp").cast(pa.int64())[0].as_py()
    place = Place(timestamp, *(last.column(f"kafka_{n}")[0].as_py() for n in ("partition", "offset", "index")))
    evidence = answer.evidence
    first = page or Page(evidence.topic, evidence.epoch, evidence.watermarks, since_us=asked.since_us)
    return Page(first.topic, first.epoch, first.ends, place, first.since_us).encode()


def request_id(request: Request) -> str:
    """The correlation id of a request."""
    return str(request.scope.get("state", {}).get("correlation", ""))
