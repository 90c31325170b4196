"""The store of claims, opened by the state store's address."""

from typing import Final, Literal
from weakref import WeakValueDictionary

from k2ctl.clock import Clock
from k2ctl.dedup.shared.claims import ClaimStore
from k2ctl.dedup.shared.memory_claims import MemoryClaims
from k2ctl.errors import UsageError
from k2ctl.sequence.state_store import namespace_of

ALL_TOPICS: Final = "@feeds"
"""Stands for a topic where the scope is all of them; no topic has such a name."""

_IN_MEMORY: Final = WeakValueDictionary[tuple[str, float], MemoryClaims]()
"""What the consumers of this process share, for as long as one of them has it."""


def open_claims(
    url: str, platform: str, topic: str, scope: Literal["topic", "feeds"], window_s: float, clock: Clock
) -> ClaimStore:
    """`memory` (or `memory://`), shared within this process, or `redis://HOST:PORT/DB`. It does not connect yet.

    platform: the uuid of the table; claims of one table mean nothing to another.

    Raises:
        UsageError: the address is neither.
    """
    namespace = namespace_of(platform, topic if scope == "topic" else ALL_TOPICS)
    if in_memory(url):
        return _IN_MEMORY.setdefault((namespace, window_s), MemoryClaims(namespace, window_s, clock))
    if url.partition("://")[0] in ("redis", "rediss", "unix"):
        from k2ctl.dedup.shared.redis_claims import RedisClaims  # the client takes 0.3 s to import

        return RedisClaims(url, namespace, window_s, clock=clock)
    raise UsageError(f"'{url}' is no state store.", "Write memory, or redis://HOST:PORT/0")


def in_memory(url: str) -> bool:
    """True if only consumers of one process can share the claims."""
    return url in ("memory", "memory://")
