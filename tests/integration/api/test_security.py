"""Who may ask what: keys, names, methods, sizes; and clients that are slow or go away."""

import contextlib
import socket
import threading
import time
from pathlib import Path
from urllib.parse import urlparse

import httpx
import pytest

from k2ctl.api.pages import OPEN_PAGES
from k2ctl.api.settings import Limits, Settings
from k2ctl.endpoints import Endpoints
from tests.made_trades import make_trades, produce_trades
from tests.support.api import SPAN, WHOLE, Service, platform, serving

KEY = {"Authorization": "Bearer " + "k" * 20}
PATHS = ["/", "/v1/trades/recent", "/v1/ohlcv", "/v1/symbols", "/v1/gaps", "/v1/status", "/v1/events", "/v1/history",
         "/metrics", "/openapi.json", "/nothing"]  # fmt: skip


def test_without_a_key_only_health_and_pages_without_data_are_given(fresh: Service) -> None:
    for path in PATHS[1:]:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic " + "k" * 20}):
            answer = fresh.client.get(path, headers=headers)
            assert answer.status_code == 401, path
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert fresh.client.get(path, params={"key": "k" * 20}).status_code == 401
    assert fresh.client.get("/healthz").status_code == 200
    for path in OPEN_PAGES:
        assert fresh.client.get(path).status_code == 200
    assert fresh.client.get("/v1/status", headers=KEY).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "MKCOL"])
def test_nothing_can_be_changed(service: Service, method: str) -> None:
    for path in [*PATHS, "/healthz", "/readyz"]:
        assert service.client.request(method, path).status_code == 405


@pytest.mark.parametrize(
    "host", ["evil.com", "127.evil.com", "127.0.0.1.evil.com", "localhost.evil.com", "10.0.0.1", "[::2]", "", "0x7f.1"]
)
def test_another_name_is_refused(service: Service, host: str) -> None:
    assert service.client.get("/healthz", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:80", "127.0.0.1:9", "127.0.0.2", "[::1]:8700"])
def test_names_of_this_machine_are_known(service: Service, host: str) -> None:
    assert service.client.get("/healthz", headers={"Host": host}).status_code == 200


def test_bodies_and_headers_are_bounded(service: Service) -> None:
    assert service.client.request("GET", "/healthz", content=b"x" * 5000).status_code == 413
    assert service.client.get("/healthz", headers={"X-Long": "x" * 100_000}).status_code >= 400
    answer = service.client.get("/healthz", headers={"X-Correlation-ID": "a b\tc" + "x" * 100})
    assert answer.headers["X-Correlation-ID"].isalnum()
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_a_client_that_goes_away_or_does_not_read_holds_nobody_up(fresh: Service) -> None:
    at = urlparse(fresh.url)
    query = f"symbol=S01&symbol=S02&since={SPAN['since']}&until={SPAN['until']}&limit=50000"
    request = (
        f"GET /v1/trades/recent?{query} HTTP/1.1\r\nHost: {at.netloc}\r\nAuthorization: {KEY['Authorization']}\r\n\r\n"
    )
    silent = []
    for _ in range(10):
        connection = socket.create_connection((at.hostname, at.port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.sendall(request.encode())
        silent.append(connection)  # never reads
    half = socket.create_connection((at.hostname, at.port))
    half.sendall(b"GET /v1/status HTTP/1.1\r\nHost: ")  # never ends
    for _ in range(5):
        gone = socket.create_connection((at.hostname, at.port))
        gone.sendall(request.encode())
        gone.close()
    time.sleep(0.5)
    started_s = time.monotonic()
    assert fresh.client.get("/v1/trades/recent", params={**SPAN, "symbol": "S03"}, headers=KEY).status_code == 200
    assert time.monotonic() - started_s < 5
    for connection in [*silent, half]:
        connection.close()


def test_answers_that_nobody_takes_hold_no_query_and_are_broken_off(
    embedded_stack: Endpoints, home: Path, exchange: str
) -> None:
    endpoints, topic = platform(embedded_stack, home, exchange)
    many = make_trades(40_000, start=WHOLE)
    many["symbol"] = b"S01"
    produce_trades(endpoints, topic, many, 100)
    limits = Limits(queries=1, seconds=2.0, waiting_s=30.0)  # far above what a client that takes nothing may have
    with serving(endpoints, topic, Settings(port=0, limits=limits)) as running:
        at = urlparse(running.url)
        query = f"symbol=S01&since={SPAN['since']}&until={SPAN['until']}&limit=40000"
        silent = []
        for _ in range(5):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((at.hostname, at.port))
            connection.settimeout(20)
            connection.sendall(f"GET /v1/trades/recent?{query} HTTP/1.1\r\nHost: {at.netloc}\r\n\r\n".encode())
            assert connection.recv(12) == b"HTTP/1.1 200"
            silent.append(connection)  # and takes no more; a whole answer is larger than the buffers between them
        started_s = time.monotonic()
        assert running.client.get("/v1/trades/recent", params={**SPAN, "symbol": "S03"}).status_code == 200
        assert time.monotonic() - started_s < limits.seconds
        assert running.engine.running == 0
        time.sleep(limits.seconds + 3)
        for connection in silent:
            assert not _rest(connection).endswith(b"\r\n0\r\n\r\n")
            connection.close()


def _rest(connection: socket.socket) -> bytes:
    """The last bytes that a connection still gives."""
    last = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(1 << 20):
            last = (last + part)[-16:]
    return last


def test_queries_and_streams_at_once_are_limited(fresh: Service) -> None:
    with httpx.Client(base_url=fresh.url, headers=KEY, timeout=10) as client:
        with client.stream("GET", "/v1/events", params={"symbol": "S03"}) as events:
            lines = events.iter_lines()
            assert next(lines).startswith('data: {"at_us"')
            assert client.get("/v1/events").status_code == 503
        held, release = threading.Event(), threading.Event()

        def hold(_: object) -> None:
            held.set()
            release.wait(5)

        thread = threading.Thread(target=fresh.engine.ask, args=(hold,))
        thread.start()
        held.wait(5)
        busy = client.get("/v1/trades/recent", params={**SPAN, "symbol": "S03"})
        assert (busy.status_code, busy.headers["Retry-After"]) == (503, "1")
        release.set()
        thread.join()
        assert client.get("/v1/trades/recent", params={**SPAN, "symbol": "S03"}).status_code == 200
