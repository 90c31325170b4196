"""The state store: opened by its address, and shown to people, compared with the table's checkpoints."""

from dataclasses import dataclass

from k2ctl.domain.checkpoint import TopicPartition
from k2ctl.endpoints import Endpoints
from k2ctl.errors import UsageError
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.profiles import Profile
from k2ctl.sequence.state_store import MemoryStateStore, StateStore, namespace_of


def open_store(url: str, platform: str, topic: str) -> StateStore:
    """`memory` (or `memory://`), or `redis://HOST:PORT/DB`. It does not connect yet.

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


@dataclass(frozen=True)
class PartitionView:
    """A partition in the store."""

    partition: int
    symbols: int
    bytes: int
    expires_s: float | None
    # The offset up to which its state is valid.
    offset: int
    published_at_us: int
    # Records that the table has beyond it.
    behind: int


@dataclass(frozen=True)
class StoreView:
    """A topic in the store."""

    store: str
    namespace: str
    topic: str
    symbols: int
    # Memory that its keys take there.
    bytes: int
    bytes_per_symbol: float
    partitions: tuple[PartitionView, ...]
    # Redis' own figures.
    server: dict[str, object]
    # Keys that another program has written, each with what is wrong; consumers take them for empty.
    damaged: tuple[str, ...] = ()


def view_store(endpoints: Endpoints, profile: Profile, url: str = "", topic: str = "") -> StoreView:
    """The store of a topic, by default the profile's; url: another store than the stack's.

    Raises:
        StateError: it does not answer. LakeError: there is no table, whose uuid the keys begin with.
    """
    topic = topic or profile.trades_topic
    with Lake.at(endpoints) as lake:
        table = lake.table()
        platform, by_partition = str(table.metadata.table_uuid), checkpoints_of(table).by_partition
    store = open_store(url or endpoints.state_url, platform, topic)
    try:
        found = store.statistics()
    finally:
        store.close()
    partitions = []
    for part in found.partitions:
        if part.fence is not None:
            checkpoint = by_partition.get(TopicPartition(topic, part.fence.epoch, part.partition))
            behind = max(0, checkpoint.next_offset - part.fence.offset) if checkpoint else 0
            where = (part.fence.offset, part.fence.at_us, behind)
            partitions.append(PartitionView(part.partition, part.symbols, part.bytes, part.expires_s, *where))
    each = found.bytes / found.symbols if found.symbols else 0.0
    sizes = (found.symbols, found.bytes, round(each, 1))
    return StoreView(found.kind, found.namespace, topic, *sizes, tuple(partitions), dict(found.server), found.damaged)
