"""Connections without a request in hand: how long they may last, and which one goes when there are too many.

A connection waits from its beginning until its request is whole, and again from the end of an answer on. A flood of
them keeps nobody out: the newest is always taken, and the one that has waited longest goes for it, of the address that
has the most.
"""

import asyncio
import ipaddress
import json
import resource
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from k2ctl.api.problems import MEDIA_TYPE, TITLES
from k2ctl.api.settings import Limits

HEAD_BYTES: Final = 65_536
"""What is read of a request that is not whole; the guard has closer limits for its parts."""
_DESCRIPTORS: Final = 4_096
_NETWORK_OF_ONE: Final = 64
"""Leading bits of an IPv6 address that one client has; the rest it chooses."""


def address_of(client: tuple[str, int] | None) -> str:
    """Whose a connection is, as limits count: the IPv4 address, or the network of an IPv6 one."""
    try:
        address = ipaddress.ip_address(client[0].partition("%")[0] if client else "")
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _NETWORK_OF_ONE), strict=False))


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
