"""Opening the state store that an address names."""

from k2ctl.errors import UsageError
from k2ctl.sequence.state_store import MemoryStateStore, StateStore, namespace_of


def open_store(url: str, platform: str, topic: str) -> StateStore:
    """`memory` (or `memory://`), or `redis://HOST:PORT/DB`. Does not connect yet.

    platform: the uuid of the table; state of one table means nothing to another.

    Raises:
        UsageError: the address is neither.
    """
    if url in ("memory", "memory://"):
        return MemoryStateStore(namespace_of(platform, topic))
    if url.partition("://")[0] in ("redis", "rediss", "unix"):
        # Some 0.3 s of import, which a consumer with state in memory need not wait for.
        from k2ctl.sequence.redis_store import RedisStateStore

        return RedisStateStore(url, platform, topic)
    raise UsageError(f"'{url}' is no state store.", "Write memory, or redis://HOST:PORT/0")
