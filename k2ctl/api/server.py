"""uvicorn around the application: a socket of our own, bounded connections, and an end that does not wait long."""

import contextlib
import gc
import math
import socket as sockets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import uvicorn

from k2ctl.api.connections import HEAD_BYTES, Connection, Waiting
from k2ctl.api.engine import WarmEngine
from k2ctl.api.service import application
from k2ctl.api.settings import Settings
from k2ctl.errors import UsageError

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
    gc.collect()
    gc.freeze()  # what start-up made is looked through no more
    with contextlib.suppress(KeyboardInterrupt):
        server(engine, settings).run([socket])
