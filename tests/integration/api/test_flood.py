"""Clients that connect and send nothing, or almost nothing, or too much: nobody else is kept out."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse

import httpx
import pytest

from k2ctl.api.settings import Keys, Limits, Settings
from k2ctl.endpoints import Endpoints
from tests.support.api import SPAN, Service, platform, serving
from tests.support.polling import until

KEY = {"Authorization": "Bearer " + "k" * 20}
REST = f"HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {KEY['Authorization']}\r\n\r\n"
SLOW = b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "


@pytest.fixture
def serve(embedded_stack: Endpoints, home: Path, exchange: str) -> Iterator[Callable[[Limits], Service]]:
    endpoints, topic = platform(embedded_stack, home, exchange)
    with ExitStack() as stack:
        yield lambda limits: stack.enter_context(
            serving(endpoints, topic, Settings(port=0, keys=Keys((b"k" * 20,)), limits=limits))
        )


@contextmanager
def connections(service: Service, count: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    at = urlparse(service.url)
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection((at.hostname, at.port), 5)) for _ in range(count)]
        for one in opened:
            if first:
                with suppress(OSError):
                    one.sendall(first)
        yield opened


@contextmanager
def trickle(opened: list[socket.socket], every_s: float = 0.2) -> Iterator[None]:
    """A byte of a header now and then, on each connection that still takes one."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(every_s):
            for one in opened:
                with suppress(OSError):
                    one.sendall(b"x")

    thread = threading.Thread(target=run)
    thread.start()
    yield
    stop.set()
    thread.join()


def answer_of(connection: socket.socket) -> bytes:
    """All that a connection gives until it is closed."""
    connection.settimeout(10)
    found = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            found += part
    return found


def ask(service: Service, path: str) -> tuple[int, float]:
    """The status of a request on a new connection, and how long it took."""
    started_s = time.monotonic()
    answer = httpx.get(service.url + path, headers=KEY, timeout=10)
    return answer.status_code, time.monotonic() - started_s


def test_500_idle_and_200_slow_connections_keep_nobody_out(serve: Callable[[Limits], Service]) -> None:
    service = serve(Limits(request_s=60.0, waiting=300))  # so that it is not time that makes them go
    with connections(service, 500), connections(service, 200, SLOW) as slow, trickle(slow):
        for path in ("/healthz", "/readyz", "/v1/status", "/metrics", "/healthz"):
            status, took_s = ask(service, path)
            assert status == 200, (path, took_s)
            assert took_s < 5.0, (path, took_s)


def test_a_flood_that_never_ends_keeps_nobody_out(serve: Callable[[Limits], Service]) -> None:
    service = serve(Limits(request_s=60.0))
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            with suppress(OSError), connections(service, 20, SLOW):
                pass

    threads = [threading.Thread(target=flood) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert [ask(service, "/healthz")[0] for _ in range(5)] == [200] * 5
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_connection_without_a_request_ends_in_time(serve: Callable[[Limits], Service]) -> None:
    service = serve(Limits(request_s=0.5))
    with connections(service, 3) as idle, connections(service, 3, SLOW) as slow, trickle(slow, 0.1):
        started_s = time.monotonic()
        assert [answer_of(one) for one in idle] == [b""] * 3
        assert all(answer_of(one).startswith(b"HTTP/1.1 408 ") for one in slow)
        assert time.monotonic() - started_s < 8


@pytest.mark.parametrize("end", ["Content-Length: 4000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"])
def test_a_body_that_never_ends_holds_no_connection(serve: Callable[[Limits], Service], end: str) -> None:
    service = serve(Limits(request_s=0.5))
    request = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n{end}".encode()
    with connections(service, 2, request) as slow, trickle(slow, 0.1):
        assert all(b"200 " in answer_of(one)[:20] for one in slow)


def test_each_next_request_has_the_same_time(serve: Callable[[Limits], Service]) -> None:
    service = serve(Limits(request_s=0.5))
    whole = f"GET /v1/status {REST}".encode()
    with connections(service, 1, whole) as [one], trickle([one], 0.1):
        found = answer_of(one)
        assert found.startswith(b"HTTP/1.1 200 ")
        assert b"HTTP/1.1 408 " in found


def test_requests_of_one_address_are_limited_and_health_is_not(serve: Callable[[Limits], Service]) -> None:
    service = serve(Limits(per_address=3, queries=1, waiting_s=30.0, seconds=30.0))
    held, release = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        held.set()
        release.wait(20)

    query = f"symbol=S03&since={SPAN['since']}&until={SPAN['until']}"
    request = (
        f"GET /v1/trades/recent?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {KEY['Authorization']}\r\n\r\n"
    )
    holder = threading.Thread(target=service.engine.ask, args=(hold,))
    holder.start()
    assert held.wait(5)
    try:
        with connections(service, 3, request.encode()):
            until(lambda: ask(service, "/v1/status")[0] != 200, 5, lambda: "the three are never counted")
            answer = httpx.get(f"{service.url}/v1/status", headers=KEY)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
            assert "of this address" in answer.json()["detail"]
            assert [ask(service, path)[0] for path in ("/healthz", "/readyz")] == [200, 200]
    finally:
        release.set()
        holder.join()


def test_readiness_is_answered_while_every_thread_waits_for_a_query(serve: Callable[[Limits], Service]) -> None:
    service = serve(Limits(per_address=200, queries=1, waiting_s=30.0, seconds=30.0))
    held, release = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        held.set()
        release.wait(20)

    request = f"GET /v1/symbols {REST}".encode()
    holder = threading.Thread(target=service.engine.ask, args=(hold,))
    holder.start()
    assert held.wait(5)
    try:
        with connections(service, 60, request):
            for path in ("/healthz", "/readyz"):
                status, took_s = ask(service, path)
                assert status == 200, (path, took_s)
                assert took_s < 5.0, (path, took_s)
    finally:
        release.set()
        holder.join()


def test_never_more_streams_than_the_limit_follow_however_they_race(serve: Callable[[Limits], Service]) -> None:
    service = serve(replace(Limits(), streams=20, per_address=200))
    request = f"GET /v1/events {REST}".encode()
    with connections(service, 60, request) as opened:
        found = sorted(one.recv(12) for one in opened)
    assert found == [b"HTTP/1.1 200"] * 20 + [b"HTTP/1.1 503"] * 40
    asked = f"{service.url}/metrics"
    until(lambda: "k2_api_streams_open 0.0" in httpx.get(asked, headers=KEY).text, 10, lambda: "the places stay taken")


@pytest.mark.parametrize(
    ("url", "header", "status"),
    [
        ("/healthz?" + "x" * 100_000, "", b"414"),
        ("/" + "x" * 100_000, "", b"414"),
        ("/healthz?" + "x" * 20_000, "", b"414"),
        ("/healthz?" + "x" * 16_000, "", b"200"),
        ("/healthz", "X: " + "x" * 100_000, b"431"),
        ("/healthz", "X: " + "x" * 40_000, b"431"),
        ("/healthz", "\r\n".join(f"X{number}: y" for number in range(8_000)), b"431"),
        ("/healthz", "X: " + "x" * 16_000, b"200"),
        ("/healthz", "\r\n".join(["a: b"] * 6_000), b"431"),
        ("/healthz", "Transfer-Encoding: " + "x" * 40_000, b"431"),
        ("/healthz", "Content-Length: " + "1" * 40_000, b"431"),
        ("/healthz", "Content-Length: x", b"400"),
    ],
)
@pytest.mark.parametrize("piece", [1 << 20, 1_000], ids=["at once", "in pieces"])
def test_a_url_and_headers_have_a_longest(service: Service, url: str, header: str, status: bytes, piece: int) -> None:
    request = f"GET {url} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{header}\r\n\r\n".replace(
        "\r\n\r\n\r\n", "\r\n\r\n"
    )
    with connections(service, 1) as [one]:
        with suppress(OSError):  # it may be refused before it is sent
            for at in range(0, len(request), piece):
                one.sendall(request[at : at + piece].encode())
        found = answer_of(one)
    assert found[9:12] == status or (found == b"" and piece == 1_000 and status != b"200")


def test_what_is_no_http_is_refused(service: Service) -> None:
    with connections(service, 1, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n") as [one]:
        assert answer_of(one).startswith(b"HTTP/1.1 400 ")
