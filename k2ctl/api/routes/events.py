"""Server-sent events: the platform each second, and a symbol's newest trades."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from k2ctl.api.engine import WarmEngine
from k2ctl.api.guard import Meters
from k2ctl.api.problems import Refused, problem, request_id
from k2ctl.api.routes.parameters import Symbol
from k2ctl.api.settings import Limits
from k2ctl.clock import SystemClock
from k2ctl.domain.trade import Window
from k2ctl.errors import K2Error
from k2ctl.query.formats import text_column
from k2ctl.query.names import UnknownSymbol
from k2ctl.query.session import Session
from k2ctl.query.texts import with_nanoseconds

EVERY_S: Final = 1.0
_SHOWN: Final = 12
_WINDOW_US: Final = 900_000_000
_COLUMNS: Final = ("timestamp", "symbol", "price", "quantity", "side")


def add_events(api: APIRouter, engine: WarmEngine, limits: Limits, meters: Meters) -> None:
    """`GET /v1/events`, for so many clients at once."""
    streams = _Streams(limits.streams, meters)

    @api.get("/events", include_in_schema=False)
    async def events(request: Request, symbol: Symbol | None = None) -> Response:
        """Server-sent events: the platform each second, and a symbol's newest trades."""
        return _Followed(streams, _ticks(request, symbol), request_id(request))

    async def _ticks(request: Request, symbol: str | None) -> AsyncIterator[bytes]:
        ends_s = time.monotonic() + limits.stream_s  # the browser comes again by itself
        while time.monotonic() < ends_s and not await request.is_disconnected():
            document = await run_in_threadpool(_tick, engine, symbol)
            yield b"data: " + orjson.dumps(document) + b"\n\n"
            await asyncio.sleep(EVERY_S)


class _Streams:
    """How many clients follow, and how many may."""

    def __init__(self, limit: int, meters: Meters) -> None:
        self.limit = limit
        self._open = 0
        self._meters = meters

    def take(self) -> bool:
        """One more, if there is a place for it: looked up and taken in one step."""
        free = self._open < self.limit
        self._change(int(free))
        return free

    def release(self) -> None:
        """One less."""
        self._change(-1)

    def _change(self, by: int) -> None:
        self._open += by
        self._meters.set("k2_api_streams_open", self._open)


class _Followed(StreamingResponse):
    """A stream that has its place for as long as it is sent, and is a problem where there is none."""

    def __init__(self, streams: _Streams, ticks: AsyncIterator[bytes], correlation: str) -> None:
        super().__init__(ticks, media_type="text/event-stream")
        self._streams = streams
        self._correlation = correlation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._streams.take():
            detail = f"{self._streams.limit} clients follow already."
            await problem("too-many", detail, self._correlation, {"Retry-After": "10"})(scope, receive, send)
            return
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.release()


def _tick(engine: WarmEngine, symbol: str | None) -> dict[str, Any]:
    """What the page shows this second."""
    document: dict[str, Any] = {
        "at_us": SystemClock().now_us(),
        "platform": engine.platform.overview,
        "platform_problem": engine.platform.problem,
        "runbook": engine.platform.alerts.found,
        "tail_trades": engine.tail.held_trades,
        "tail_problem": engine.tail.problem,
        "queries_running": engine.running,
    }
    if symbol:
        document["symbol"] = symbol
        try:
            document |= engine.ask(lambda session: _newest(session, symbol))
        except UnknownSymbol as error:
            document["problem"] = f"{error} {error.hint}"
        except (K2Error, Refused) as error:
            document["problem"] = str(error)
    return document


def _newest(session: Session, symbol: str) -> dict[str, Any]:
    window = Window(SystemClock().now_us() - _WINDOW_US)
    started_s = time.perf_counter()
    answer = session.recent(symbol, window, _SHOWN)
    took_s = time.perf_counter() - started_s
    rows = with_nanoseconds(answer.table)
    columns = [text_column(rows.column(name)) for name in _COLUMNS]
    return {
        "trades": [dict(zip(_COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)],
        "complete": answer.evidence.complete,
        "missing": list(answer.evidence.missing),
        "lake_rows": answer.evidence.lake_rows,
        "stream_rows": answer.evidence.tail_rows,
        "ms": round(took_s * 1000, 1),
    }
