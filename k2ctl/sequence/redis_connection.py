"""The connection to a Redis: opened by its address, each call bounded, and what goes wrong on the way as a StateError.

The client is plain redis-py: hiredis was tried, and made no difference to calls whose answers are short.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from k2ctl.endpoints import without_password
from k2ctl.errors import StateError, first_line

TIMEOUT_S: Final = 0.5


class RedisConnection:
    """A client that never repeats a call by itself. Nothing is sent before the first call."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        try:
            self.client = redis.Redis.from_url(
                url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0), protocol=2
            )
        except ValueError as error:
            raise StateError(
                f"'{without_password(url)}' is no address of a Redis: {error}", "Write it as redis://HOST:PORT/0"
            ) from error
        # Calls that were begun.
        self.round_trips = 0
        self._shown = url.rpartition("@")[2].removeprefix("redis://")

    @contextmanager
    def talking(self) -> Iterator[None]:
        """One round trip; turns what may go wrong on the way into a StateError."""
        self.round_trips += 1
        try:
            yield
        except redis.TimeoutError as error:
            raise StateError(f"Redis at {self._shown} does not answer in time.", "See: k2ctl stack status") from error
        except (redis.RedisError, OSError) as error:
            reason = first_line(error)
            if isinstance(error, redis.OutOfMemoryError) or "OOM" in reason:
                # From within a script, Redis 6 raises it as a plain error.
                reason = "out of memory, it refuses to write; raise its maxmemory"
            raise StateError(f"Redis at {self._shown}: {reason}", "See: k2ctl stack status") from error

    def keys(self, prefix: str) -> list[bytes]:
        """The keys that begin with a text, sorted."""
        return sorted(self.client.scan_iter(match=f"{_literally(prefix)}*", count=1000))

    def server(self) -> dict[str, object]:
        """Redis' own figures: version, memory and policy."""
        info: Any = self.client.info()
        shown = ("redis_version", "used_memory", "maxmemory", "maxmemory_policy", "aof_enabled")
        return {name: info[name] for name in shown if name in info}

    def close(self) -> None:
        self.client.close()


def raise_other_than_damage(answer: Any) -> None:
    """A key of another type is damage, which whoever writes the key mends; the rest is trouble."""
    if isinstance(answer, redis.RedisError) and not is_other_type(answer):
        raise answer


def is_other_type(answer: Any) -> bool:
    """True for the refusal to read a key that another program has written."""
    return isinstance(answer, redis.ResponseError) and "WRONGTYPE" in str(answer)


def _literally(text: str) -> str:
    """A text as a pattern that matches nothing else."""
    return "".join(f"\\{sign}" if sign in "*?[]\\" else sign for sign in text)
