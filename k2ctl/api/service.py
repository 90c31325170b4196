"""The application: routes, problems, health, the live page and its events, behind one guard."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from k2ctl import __version__
from k2ctl.api.engine import WarmEngine
from k2ctl.api.guard import Guard, Meters
from k2ctl.api.pages import pages_router
from k2ctl.api.problems import PROBLEMS, add_problems, problem, request_id
from k2ctl.api.routes.events import add_events
from k2ctl.api.routes.parameters import only_known
from k2ctl.api.routes.platform import add_platform
from k2ctl.api.routes.trades import add_trades
from k2ctl.api.settings import Settings


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
    app.include_router(_router(engine, settings, meters))
    app.include_router(pages_router())
    _add_health(app, engine, meters)
    add_problems(app)
    return Guard(app, settings, meters)


def _router(engine: WarmEngine, settings: Settings, meters: Meters) -> APIRouter:
    """The endpoints over one engine."""
    api = APIRouter(prefix="/v1", responses=PROBLEMS, dependencies=[Depends(only_known)])
    add_trades(api, engine, settings.limits)
    add_platform(api, engine, settings)
    add_events(api, engine, settings.limits, meters)
    return api


def _add_health(app: FastAPI, engine: WarmEngine, meters: Meters) -> None:
    @app.get("/healthz", tags=["Service"], summary="Whether the process answers", response_model=None)
    async def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    threads = CapacityLimiter(2)  # of its own: the others may all wait for a query to end

    @app.get(
        "/readyz",
        tags=["Service"],
        summary="Whether queries can be answered",
        response_class=PlainTextResponse,
        responses={503: PROBLEMS[503]},
    )
    async def readyz(request: Request) -> Response:
        """Queries can be answered from memory: the catalog answers and the stream is followed."""
        found = await to_thread.run_sync(engine.problems, limiter=threads)
        if found:
            return problem("stream-unavailable", "; ".join(found), request_id(request), {"Retry-After": "1"})
        return PlainTextResponse("ready\n")

    @app.get("/metrics", tags=["Service"], summary="Figures for Prometheus", response_class=PlainTextResponse)
    def metrics() -> Response:
        """The service's own figures, for Prometheus."""
        meters.set("k2_api_queries_running", engine.running)
        meters.set("k2_api_tail_trades", engine.tail.held_trades)
        meters.set("k2_api_ready", float(not engine.problems()))
        for name, value in engine.table_figures().items():
            meters.set(f"k2_lake_{name}", value)
        return Response(meters.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
