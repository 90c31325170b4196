"""uvicorn around the application: a socket of our own, bounded connections, and an end that does not wait long.

A connection without a request in hand waits from its beginning until its request is whole, and again from the end of an
answer on. A flood of them keeps nobody out: the newest is always taken, and the one that has waited longest goes for
it, of the address that has the most.
"""

import asyncio
import contextlib
import json
import math
import resource
import socket as sockets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from k2ctl.api.engine import WarmEngine
from k2ctl.api.problems import MEDIA_TYPE, TITLES
from k2ctl.api.service import application
from k2ctl.api.settings import Limits, Settings, address_of
from k2ctl.errors import UsageError
from k2ctl.garbage import spare_what_is_there

ACCEPTED_AT_ONCE: Final = 128
"""asyncio takes so many connections before it reads from one; far fewer than may wait, so that each is read once."""
TURN_S: Final = 0.0005
"""How long a thread keeps the interpreter from one that waits.

Of Python's own 5 ms, each return from DuckDB, Kafka or a socket while the tail is decoded could cost a query that much.
"""


@contextmanager
def listen(settings: Settings) -> Iterator[sockets.socket]:
    """The listening socket; port 0 takes a free one.

    Raises:
        UsageError: the port is taken, or the address is not one of this machine.
    """
    host = "127.0.0.1" if settings.host == "localhost" else settings.host
    family = sockets.AF_INET6 if ":" in host else sockets.AF_INET
    # asyncio sends at once (TCP_NODELAY) only on sockets that name their protocol; else the end of an answer waits for
    # the acknowledgement of its beginning, which a client delays by 40 ms.
    with sockets.socket(family, sockets.SOCK_STREAM, sockets.IPPROTO_TCP) as socket:
        socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        if hasattr(sockets, "TCP_USER_TIMEOUT"):
            # Connections inherit it. A close waits for what was sent to be taken; from a client that never does,
            # only the kernel takes the connection back.
            silent_ms = round(settings.limits.seconds * 1000)
            socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_USER_TIMEOUT, silent_ms)
        try:
            socket.bind((host, settings.port))
            socket.listen(ACCEPTED_AT_ONCE)
        except OSError as error:
            raise UsageError(
                f"{settings.host}:{settings.port} cannot be listened on: {error.strerror}.",
                f"Choose another: --port {settings.port % 65535 + 1}, or --host 127.0.0.1",
            ) from error
        yield socket


def server(engine: WarmEngine, settings: Settings) -> uvicorn.Server:
    """A server, not started; its access log is off, for a URL may be long and the metrics count."""
    limits = settings.limits
    http: Any = partial(Connection, waiting=Waiting(limits.waiting), limits=limits)
    return uvicorn.Server(
        uvicorn.Config(
            application(engine, settings),
            http=http,
            log_level="error",  # of what clients send, nothing is logged: they could fill the disk
            access_log=False,
            backlog=ACCEPTED_AT_ONCE,
            timeout_keep_alive=math.ceil(limits.request_s),
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=HEAD_BYTES,
            server_header=False,
            proxy_headers=False,
        )
    )


def serve(engine: WarmEngine, settings: Settings, socket: sockets.socket) -> None:
    """Serve until SIGINT or SIGTERM; for a process that does nothing else."""
    sys.setswitchinterval(TURN_S)
    spare_what_is_there()
    with contextlib.suppress(KeyboardInterrupt):
        server(engine, settings).run([socket])


HEAD_BYTES: Final = 65_536
"""What is read of a request that is not whole; the guard has closer limits for its parts."""
_DESCRIPTORS: Final = 4_096


def descriptors() -> int:
    """How many files and connections this process may have open; raised as far as it may be, up to what is of use."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _DESCRIPTORS
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


class Waiting:
    """The connections of one server that wait, by address, each in the order of its coming. Of one thread.

    limit: of all; half as many may be of one address.
    """

    def __init__(self, limit: int) -> None:
        self._limit = min(limit, descriptors() // 2)
        self._by_address: dict[str, dict[Connection, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def enter(self, connection: "Connection") -> None:
        """One more; too many of its address or in all make the longest one go."""
        own = self._by_address.setdefault(connection.address, {})
        own[connection] = None
        self._count += 1
        if len(own) > self._limit // 2:
            self._end_first(own)
        elif self._count > self._limit:
            self._end_first(max(self._by_address.values(), key=len))

    def leave(self, connection: "Connection") -> None:
        """It has its request, or is gone; does nothing when it does not wait."""
        own = self._by_address.get(connection.address, {})
        if connection in own:
            del own[connection]
            self._count -= 1
            if not own:
                del self._by_address[connection.address]

    def _end_first(self, own: "dict[Connection, None]") -> None:
        first = next(iter(own))
        self.leave(first)
        first.transport.abort()


class Connection(H11Protocol):
    """uvicorn's connection, which must bring each request in time, however slowly its bytes come."""

    def __init__(self, *, waiting: Waiting, limits: Limits, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self.address = ""
        self._waiting = waiting
        self._limits = limits
        self._taken_bytes = 0  # since it began to wait
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.address = address_of(self.client)
        self._look()

    def data_received(self, data: bytes) -> None:
        self._taken_bytes += len(data)
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What came is no request, or one whose head has no end."""
        if self._timer is None:
            self.transport.abort()  # an answer is on its way, into which nothing else can be written
            return
        received, _ = self.conn.trailing_data
        if not received and self._taken_bytes > self._limits.header_bytes:  # it has an end, and is not looked at
            self._end_with("headers-too-long", "The headers are too long.")
        elif len(received) <= HEAD_BYTES:
            self._end_with("not-http", msg)
        elif b"\n" in received:
            self._end_with("headers-too-long", "The headers are too long.")
        else:
            self._end_with("uri-too-long", "The URL is too long.")

    def _look(self) -> None:
        """Whether it waits now."""
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy:
            self._end_waiting()
        elif self._timer is None:
            self._timer, self._taken_bytes = self.loop.call_later(self._limits.request_s, self._too_slow), 0
            self._waiting.enter(self)

    def _end_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._waiting.leave(self)

    def _too_slow(self) -> None:
        if self.transport.is_closing():
            return
        if self.conn.trailing_data[0]:
            self._end_with("too-slow", f"The request was not whole within {self._limits.request_s:g} seconds.")
        else:
            self.transport.close()

    def _end_with(self, kind: str, detail: str) -> None:
        """Answer without the application, which has no request to look at, and close."""
        status, title = TITLES[kind]
        body = json.dumps({"type": f"urn:k2:problem:{kind}", "title": title, "status": status, "detail": detail})
        head = f"HTTP/1.1 {status} {title}\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n"
        self.transport.write(f"{head}Connection: close\r\n\r\n{body}".encode())
        self.transport.close()
