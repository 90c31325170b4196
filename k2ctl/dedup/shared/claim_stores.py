"""The store of claims, by its address."""

import threading
from typing import Final

from k2ctl.clock import Clock
from k2ctl.dedup.shared.claims import ClaimStore
from k2ctl.dedup.shared.memory_claims import MemoryClaims
from k2ctl.errors import UsageError
from k2ctl.sequence.state_store import namespace_of

ALL_TOPICS: Final = "@feeds"
"""In place of a topic: no topic may have such a name."""

_IN_MEMORY: Final[dict[str, MemoryClaims]] = {}
_LOCK: Final = threading.Lock()


def open_claims(url: str, platform: str, topic: str | None, window_s: float, clock: Clock) -> ClaimStore:
    """`memory`, which all consumers of the process share, or the address of a Redis. It does not connect yet.

    platform: the table's uuid. topic: the scope; None for all topics.

    Raises:
        UsageError: the address is neither.
    """
    namespace = namespace_of(platform, topic or ALL_TOPICS)
    if url in ("memory", "memory://"):
        with _LOCK:
            return _IN_MEMORY.setdefault(namespace, MemoryClaims(namespace, window_s, clock))
    if url.partition("://")[0] in ("redis", "rediss", "unix"):
        # Some 0.3 s of import, which a consumer with claims in memory need not wait for.
        from k2ctl.dedup.shared.redis_claims import RedisClaims

        return RedisClaims(url, namespace, window_s, clock=clock)
    raise UsageError(f"'{url}' is no state store.", "Write memory, or redis://HOST:PORT/0")
