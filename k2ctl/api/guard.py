"""What every request passes first: its name, its key, its size, its time; what every answer carries; and figures."""

import asyncio
import re
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import prometheus_client as prometheus
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from k2ctl.api.pages import OPEN_PAGES
from k2ctl.api.problems import problem
from k2ctl.api.settings import Settings, address_of
from k2ctl.metrics import API_METRICS

CORRELATION: Final = "X-Correlation-ID"
HEALTH: Final = frozenset({"/healthz", "/readyz"})
"""Always has a place: it is answered at once, and its connection is closed then."""

OPEN_PATHS: Final = HEALTH | OPEN_PAGES
"""What needs no key: health, and pages, which have no data in them."""

EVENTS: Final = "/v1/events"
_PUNCTUATION: Final = len(": \r\n")
_CORRELATION_TEXT: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_FIXED: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self';"
    " img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Meters:
    """Counts requests and keeps gauges. Thread-safe."""

    def __init__(self) -> None:
        self._registry = prometheus.CollectorRegistry()
        info = API_METRICS["k2_api_requests_total"]
        self._requests = prometheus.Counter("k2_api_requests", info.meaning, info.labels, registry=self._registry)
        info = API_METRICS["k2_api_request_seconds"]
        self._seconds = prometheus.Histogram(
            "k2_api_request_seconds", info.meaning, info.labels, buckets=_BUCKETS, registry=self._registry
        )
        info = API_METRICS["k2_api_answers_total"]
        self._answers = prometheus.Counter("k2_api_answers", info.meaning, info.labels, registry=self._registry)
        self._gauges = {
            name: prometheus.Gauge(name, info.meaning, registry=self._registry)
            for name, info in API_METRICS.items()
            if info.kind == "gauge"
        }

    def count(self, route: str, status: int, seconds: float, complete: str = "") -> None:
        """One request; `status` 0 when the client went away before the answer began, `complete` as its header says."""
        if complete:
            self._answers.labels(route, complete).inc()
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def set(self, name: str, value: float) -> None:
        """The value of a gauge of `API_METRICS`."""
        self._gauges[name].set(value)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return prometheus.generate_latest(self._registry)


class Guard:
    """ASGI middleware around everything, so that no route can be forgotten."""

    def __init__(self, app: ASGIApp, settings: Settings, meters: Meters) -> None:
        self._app = app
        self._settings = settings
        self._meters = meters
        self._running: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        given = headers.get(CORRELATION, "")
        correlation = given if _CORRELATION_TEXT.fullmatch(given) else uuid.uuid4().hex
        scope["state"] = {**scope.get("state", {}), "correlation": correlation}
        answer = _Answer(send, correlation)
        started_s = time.perf_counter()
        try:
            refused = self._refuse(scope, headers, correlation)
            if refused is not None:
                answer.closes = True
                await refused(scope, receive, answer)
                return
            answer.closes = scope["path"] in HEALTH
            with self._counted(scope):
                await self._limited(scope, self._bounded(receive), answer, correlation)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            seconds = (answer.began_s or time.perf_counter()) - started_s
            self._meters.count(route, answer.status, seconds, answer.complete)

    def _refuse(self, scope: Scope, headers: Headers, correlation: str) -> ASGIApp | None:
        """The problem that a request is stopped with before anything looks at it."""
        if len(scope["raw_path"]) + len(scope["query_string"]) > self._settings.limits.url_bytes:
            return problem("uri-too-long", "The URL is too long.", correlation)
        if (
            sum(len(name) + len(value) + _PUNCTUATION for name, value in headers.raw)
            > self._settings.limits.header_bytes
        ):
            return problem("headers-too-long", "The headers are too long.", correlation)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._settings.knows_host(hosts[0]):
            return problem("unknown-host", "The Host header does not name this service.", correlation)
        if scope["method"] not in {"GET", "HEAD"}:
            return problem("method-not-allowed", "Only GET and HEAD.", correlation, {"Allow": "GET, HEAD"})
        length = headers.get("content-length", "0")
        if not re.fullmatch(r"[0-9]{1,9}", length) or int(length) > self._settings.limits.body_bytes:
            return problem("too-large", "A request needs no body.", correlation)
        if scope["path"] not in OPEN_PATHS and not self._settings.keys.allow(_key(headers)):
            return problem(
                "no-key", "Send it as: Authorization: Bearer KEY", correlation, {"WWW-Authenticate": "Bearer"}
            )
        limits, own = self._settings.limits, self._running[address_of(scope["client"])]
        if scope["path"] not in HEALTH and (own >= limits.per_address or self._running.total() >= limits.requests):
            which = "of this address " if own >= limits.per_address else ""
            detail = f"As many requests {which}run already as may run at once."
            return problem("too-many", detail, correlation, {"Retry-After": "1"})
        return None

    @contextmanager
    def _counted(self, scope: Scope) -> Iterator[None]:
        """One more request that runs, if it is not about health."""
        address = address_of(scope["client"])
        one = scope["path"] not in HEALTH
        self._running[address] += one
        try:
            yield
        finally:
            self._running[address] -= one
            if not self._running[address]:
                del self._running[address]

    async def _limited(self, scope: Scope, receive: Receive, answer: "_Answer", correlation: str) -> None:
        """Run within the time limit; an answer that has begun and cannot end is broken off, and seen to be."""
        limits = self._settings.limits
        limit_s = limits.stream_s + 5 if scope["path"] == EVENTS else limits.seconds + limits.waiting_s + 5
        try:
            async with asyncio.timeout(limit_s):
                await self._app(scope, receive, answer)
        except TimeoutError:
            if answer.status:
                raise
            detail = f"There was no answer within {limit_s:.0f} seconds."
            await problem("too-long", detail, correlation)(scope, receive, answer)

    def _bounded(self, receive: Receive) -> Receive:
        """A body that says nothing of its length ends the request when it is too long."""
        taken = 0

        async def take() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            return {"type": "http.disconnect"} if taken > self._settings.limits.body_bytes else message

        return take


class _Answer:
    """Adds the fixed headers, and remembers what was answered and when."""

    def __init__(self, send: Send, correlation: str) -> None:
        self._send = send
        self._correlation = correlation
        self.status = 0
        self.complete = ""
        self.closes = False
        self.began_s: float | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.began_s = message["status"], time.perf_counter()
            headers = MutableHeaders(scope=message)
            headers[CORRELATION] = self._correlation
            self.complete = headers.get("K2-Complete", "")
            for name, value in _FIXED.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
            if self.closes:
                headers["Connection"] = "close"
        await self._send(message)


def _key(headers: Headers) -> bytes:
    """The key that came along; never from the URL, which ends up in logs."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip().encode("utf-8", "replace") if scheme.lower() == "bearer" else b""
