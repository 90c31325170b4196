"""The application: routes, problems, page and events behind one guard."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from k2ctl import __version__
from k2ctl.api.engine import WarmEngine
from k2ctl.api.events import events_router
from k2ctl.api.guard import Guard
from k2ctl.api.meters import Meters
from k2ctl.api.problems import Refused, kind_of, problem
from k2ctl.api.routes import PROBLEMS, request_id, router
from k2ctl.api.settings import Settings
from k2ctl.errors import K2Error


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
    app.include_router(router(engine, settings.limits))
    app.include_router(events_router(engine, settings.limits, meters))
    _add_health(app, engine, meters)
    _add_problems(app)
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


def _add_problems(app: FastAPI) -> None:
    """Every error as a problem; what was not foreseen says nothing of the inside."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return problem(error.kind, str(error), request_id(request), error.headers)

    @app.exception_handler(K2Error)
    async def foreseen(request: Request, error: K2Error) -> Response:
        return problem(kind_of(error), str(error), request_id(request), hint=error.hint)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        found: list[dict[str, Any]] = [
            {"where": ".".join(map(str, item["loc"])), "what": item["msg"]} for item in error.errors()
        ]
        what = "; ".join(f"{item['where']}: {item['what']}" for item in found)
        return problem("invalid-request", what, request_id(request), errors=found)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        kind = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "failed")
        return problem(kind, str(error.detail), request_id(request), error.headers)

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, _: Exception) -> Response:
        return problem("failed", "An error that was not foreseen; its trace is in the log.", request_id(request))
