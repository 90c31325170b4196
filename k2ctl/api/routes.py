"""The typed endpoints. Whatever a client sends becomes a bound parameter or a refusal, never a piece of SQL."""

import re
from contextlib import suppress
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import AfterValidator, BeforeValidator
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from k2ctl.api.engine import WarmEngine
from k2ctl.api.problems import PROBLEMS, Refused
from k2ctl.api.render import ARROW, ARROW_FILE, CSV, JSON, etag_of, rendered, representation
from k2ctl.api.settings import MOST_ROWS, Limits, Settings
from k2ctl.clock import SystemClock
from k2ctl.domain.days import BarLength, day_rule
from k2ctl.domain.rows import nanoseconds
from k2ctl.domain.trade import Window, micros_of
from k2ctl.domain.validity import symbol_reason
from k2ctl.errors import UsageError
from k2ctl.query.answer import Answer
from k2ctl.query.page import Page, Place
from k2ctl.query.session import Session

_DURATION: Final = r"^[0-9]{1,9}(ms|s|m|h|d)?$"
_UNIT_US: Final = {"ms": 1_000, "s": 1_000_000, "": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


def _digits(text: object) -> object:
    """Digits alone: pydantic reads `1_000`, ` 5 ` and `5.0` too."""
    if isinstance(text, str) and not re.fullmatch("[0-9]{1,9}", text):
        raise PydanticCustomError("digits", "not a whole number of up to nine digits")
    return text


Count = Annotated[int, BeforeValidator(_digits)]


def _stored_name(symbol: str) -> str:
    reason = symbol_reason(symbol)
    if reason:
        raise PydanticCustomError("symbol", "{reason}", {"reason": reason})
    return symbol


Symbol = Annotated[str, AfterValidator(_stored_name)]
"""Whatever a trade may have."""

Symbols = Annotated[
    list[Symbol],
    Query(alias="symbol", min_length=1, max_length=20, description="One symbol, or the parameter several times."),
]
Duration = Annotated[
    str | None, Query(pattern=_DURATION, description="How far back from now: 15m, 300 (seconds), 2h. Default 15m.")
]
Moment = Annotated[
    str | None,
    Query(
        max_length=64,
        description="ISO 8601, to the microsecond; UTC unless it says otherwise.",
        json_schema_extra={"format": "date-time"},
    ),
]
Bar = Annotated[
    str, Query(pattern=r"^[0-9]{1,9}(ms|s|m|h|d|w|mo)?$", description="Length of a bar: 1s, 1m, 1h, 1d, 1w, 1mo.")
]
Zone = Annotated[
    str | None,
    Query(max_length=64, description="Days of a time zone: Australia/Sydney. Default: the market's, or UTC."),
]
Sessions = Annotated[
    str | None, Query(alias="session", max_length=32, description="Trading days of a venue, by its MIC: XASX, XNYS.")
]
AllPrints = Annotated[bool, Query(description="Count every print, whatever its conditions say.")]
Rows = Annotated[Count, Query(ge=1, le=MOST_ROWS, description="Rows of one page.")]
Raw = Annotated[bool, Query(description="What was printed: corrections and cancellations are not applied.")]
KnownAt = Annotated[
    str | None, Query(max_length=64, description="ISO 8601: only what was committed by then; the stream is left out.")
]
Cursor = Annotated[str | None, Query(max_length=8192, description="From `next` of the page before.")]


def only_known(request: Request) -> None:
    """Every parameter of a request is one of its endpoint's, and each is given once, but for symbols.

    A parameter that is passed over would have another question answered than the one that was asked.

    Raises:
        Refused: one is unknown, or given twice.
    """
    known = [field.alias for field in request.scope["route"].dependant.query_params]
    for name, _ in request.query_params.multi_items():
        if name not in known:
            takes = ", ".join(known) or "no parameter"
            raise Refused("invalid-request", f"There is no parameter {ascii(name)[:80]} here; known: {takes}.")
        if name != "symbol" and len(request.query_params.getlist(name)) > 1:
            raise Refused("invalid-request", f"`{name}` is given twice.")


def window_of(window: str | None, since: str | None, until: str | None, now_us: int, limits: Limits) -> Window:
    """The window, within the limit; without `until` it ends now.

    Raises:
        Refused: it is longer than that, empty, or given twice.
    """
    if window is not None and (since is not None or until is not None):
        raise Refused("invalid-request", "`window` and `since`/`until` exclude each other.")
    if since is None and until is not None:
        raise Refused("invalid-request", "`until` needs a `since`.")
    try:
        first_us = now_us - us_of(window or "15m") if since is None else micros_of(since)
        last_us = None if until is None else micros_of(until)
    except ValueError as error:
        raise Refused("invalid-request", f"A time is {error}.") from error
    if last_us is not None and last_us <= first_us:
        raise Refused("invalid-request", "`since` is not before `until`.")
    if (now_us if last_us is None else last_us) - first_us > limits.window_s * 1e6:
        raise Refused("invalid-request", f"The window is longer than {limits.window_s / 86_400:g} days.")
    return Window(first_us, last_us)


def known_us_of(known_at: str | None) -> int | None:
    """`known_at` in microseconds.

    Raises:
        Refused: it is not a time of the table.
    """
    try:
        return None if known_at is None else micros_of(known_at)
    except ValueError as error:
        raise Refused("invalid-request", f"`known_at` is {error}.") from error


def bar_of(bar: str, limits: Limits) -> BarLength:
    """The length of a bar.

    Raises:
        Refused: shorter than a millisecond, or longer than a window may be.
    """
    with suppress(UsageError):
        length = BarLength.parse(bar)
        if length.at_least_us <= limits.window_s * 1e6:
            return length
    raise Refused("invalid-request", f"`bar` is between 1ms and {limits.window_s / 86_400:g}d.")


def us_of(duration: str) -> int:
    """`15m` in microseconds."""
    number, unit = re.fullmatch(r"([0-9]+)([a-z]*)", duration).groups()  # type: ignore[union-attr]
    return int(number) * _UNIT_US[unit]


Accept = Annotated[str, Header(max_length=500)]
Known = Annotated[str, Header(alias="If-None-Match", max_length=500)]
_BARS_MOST = MOST_ROWS

_MEDIA: dict[str, dict[str, Any]] = {
    JSON: {"type": "object", "required": ["rows", "next", "evidence"]},
    CSV: {"type": "string"},
    ARROW: {"type": "string", "format": "binary"},
    ARROW_FILE: {"type": "string", "format": "binary"},
}
ROWS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Rows, with what shows that they are all there are",
        "content": {media: {"schema": schema} for media, schema in _MEDIA.items()},
    },
    304: {"description": "As the client has it"},
    **PROBLEMS,
}


def router(engine: WarmEngine, settings: Settings) -> APIRouter:
    """The endpoints over one engine."""
    limits = settings.limits
    api = APIRouter(prefix="/v1", responses=PROBLEMS, dependencies=[Depends(only_known)])
    _add_trades(api, engine, limits)
    _add_bars(api, engine, limits)
    _add_symbols(api, engine)
    _add_gaps(api, engine, limits)
    _add_status(api, engine, settings)
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
        return _tagged(answer, media, tag, if_none_match, following)


def _add_bars(api: APIRouter, engine: WarmEngine, limits: Limits) -> None:
    @api.get("/ohlcv", responses=ROWS, response_class=Response)
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
        if length_us // length.at_least_us * len(symbols) > _BARS_MOST:
            raise Refused("invalid-request", f"That would be more than {_BARS_MOST:,} bars.")
        known_us = known_us_of(known_at)
        answer = engine.ask(
            lambda session: session.bars(
                symbols, length, span, days=days, all_prints=all_prints, raw=raw, known_at_us=known_us
            )
        )
        return rendered(answer, media, {})


def _add_symbols(api: APIRouter, engine: WarmEngine) -> None:
    @api.get("/symbols", responses=ROWS, response_class=Response)
    def symbols_known(accept: Accept = "*/*", if_none_match: Known = "") -> Response:
        """All symbols that were ever seen, by name."""
        media = representation(accept)
        answer = engine.ask(Session.symbols)
        tag = etag_of(media, answer.table.column("symbol").to_pylist(), answer.evidence.missing)
        return _tagged(answer, media, tag, if_none_match)


def _add_gaps(api: APIRouter, engine: WarmEngine, limits: Limits) -> None:
    @api.get("/gaps", responses=ROWS, response_class=Response)
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


def _add_status(api: APIRouter, engine: WarmEngine, settings: Settings) -> None:
    @api.get("/status", response_model=None)
    def status() -> dict[str, Any]:
        """The service, and the platform as `k2ctl watch --json` shows it."""
        return {**engine.status(), "flight_port": settings.flight_port}


def _tagged(answer: Answer, media: str, tag: str, known: str, cursor: str | None = None) -> Response:
    """The answer with its tag, or without a body where the client has it."""
    if tag in known:
        return Response(status_code=304, headers={"ETag": tag, "Vary": "Accept"})
    return rendered(answer, media, {"ETag": tag, "Cache-Control": "private, no-cache"}, cursor)


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
