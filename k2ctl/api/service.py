"""The application: routes, problems, health, the live page and its events, behind one guard."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from k2ctl import __version__
from k2ctl.api.engine import WarmEngine
from k2ctl.api.guard import Guard, Meters
from k2ctl.api.pages import pages_router
from k2ctl.api.problems import PROBLEMS, Refused, add_problems, problem, request_id
from k2ctl.api.routes import Symbol, router
from k2ctl.api.settings import Limits, Settings
from k2ctl.clock import SystemClock
from k2ctl.domain.trade import Window
from k2ctl.errors import K2Error
from k2ctl.query.formats import text_column
from k2ctl.query.names import UnknownSymbol
from k2ctl.query.session import Session
from k2ctl.query.texts import with_nanoseconds


def application(engine: WarmEngine, settings: Settings, on_stop: Callable[[], None] | None = None) -> ASGIApp:
    """The service over an engine; `on_stop` is called when the server ends."""
    meters = Meters()

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        if on_stop is not None:
            on_stop()

    app = FastAPI(
        title="K2",
        version=__version__,
        description="Trades, from years ago to this second, as one table: each answer says whether it is complete.",
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        lifespan=life,
    )
    app.include_router(router(engine, settings))
    app.include_router(pages_router())
    app.include_router(events_router(engine, settings.limits, meters))
    _add_health(app, engine, meters)
    add_problems(app)
    return Guard(app, settings, meters)


def _add_health(app: FastAPI, engine: WarmEngine, meters: Meters) -> None:
    @app.get("/healthz", response_model=None)
    async def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    threads = CapacityLimiter(2)  # of its own: the others may all wait for a query to end

    @app.get("/readyz", response_class=PlainTextResponse, responses={503: PROBLEMS[503]})
    async def readyz(request: Request) -> Response:
        """Queries can be answered from memory: the catalog answers and the stream is followed."""
        found = await to_thread.run_sync(engine.problems, limiter=threads)
        if found:
            return problem("stream-unavailable", "; ".join(found), request_id(request), {"Retry-After": "1"})
        return PlainTextResponse("ready\n")

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> Response:
        """The service's own figures, for Prometheus."""
        meters.set("k2_api_queries_running", engine.running)
        meters.set("k2_api_tail_trades", engine.tail.held_trades)
        meters.set("k2_api_ready", float(not engine.problems()))
        for name, value in engine.table_figures().items():
            meters.set(f"k2_lake_{name}", value)
        return Response(meters.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


EVERY_S: Final = 1.0
_SHOWN: Final = 12
_WINDOW_US: Final = 900_000_000
_COLUMNS: Final = ("timestamp", "symbol", "price", "quantity", "side")


def events_router(engine: WarmEngine, limits: Limits, meters: Meters) -> APIRouter:
    """`GET /v1/events`."""
    api = APIRouter()
    streams = _Streams(limits.streams, meters)

    @api.get("/v1/events", include_in_schema=False)
    async def events(request: Request, symbol: Symbol | None = None) -> Response:
        """Server-sent events: the platform each second, and a symbol's newest trades."""
        return _Followed(streams, _ticks(request, symbol), request_id(request))

    async def _ticks(request: Request, symbol: str | None) -> AsyncIterator[bytes]:
        ends_s = time.monotonic() + limits.stream_s  # the browser comes again by itself
        while time.monotonic() < ends_s and not await request.is_disconnected():
            document = await run_in_threadpool(_tick, engine, symbol)
            yield b"data: " + orjson.dumps(document) + b"\n\n"
            await asyncio.sleep(EVERY_S)

    return api


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
    document: dict[str, Any] = {"at_us": SystemClock().now_us(), "platform": engine.overview()}
    document["tail_trades"], document["tail_problem"] = engine.tail.held_trades, engine.tail.problem
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
