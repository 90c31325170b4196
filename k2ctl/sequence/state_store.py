"""The state store: the state of each symbol that consumers share, fenced by the commit that it was published with.

A store belongs to one platform (a table) and one topic. It holds for every partition a fence and, per symbol, a value
that only `k2ctl.sequence.symbol_state` reads. Values and fence move together or not at all.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from k2ctl.errors import StateError


class Fence(NamedTuple):
    """The commit up to which values are valid: rows of `epoch` before `offset`, as of the commit with that id."""

    epoch: str
    offset: int
    commit_id: str
    # When the values were published, µs UTC.
    at_us: int = 0

    def dumps(self) -> bytes:
        """As text, for stores that keep bytes."""
        return f"{self.epoch}\t{self.offset}\t{self.commit_id}\t{self.at_us}".encode()

    @staticmethod
    def loads(text: bytes) -> "Fence | None":
        """Read a fence; None for an empty text.

        Raises:
            StateError: it is damaged.
        """
        if not text:
            return None
        try:
            epoch, offset, commit_id, at_us = text.decode().split("\t")
            return Fence(epoch, int(offset), commit_id, int(at_us))
        except ValueError as error:
            raise StateError("its fence cannot be read; another program has written it") from error

    def same_commit(self, other: "Fence") -> bool:
        """True if both are at the same offset by the same commit, whenever they were published."""
        return self[:3] == other[:3]


@dataclass(frozen=True)
class PartitionState:
    """The store's state of a partition: value per `exchange/symbol`, valid at the fence."""

    fence: Fence
    values: Mapping[bytes, bytes]


@dataclass(frozen=True)
class Update:
    """A change of one partition, applied only where the store is at `base`."""

    partition: int
    # None: the store has nothing of the partition.
    base: Fence | None
    fence: Fence
    values: Mapping[bytes, bytes]
    # True: the values are complete, and replace all that the store has of the partition.
    whole: bool = False


@dataclass(frozen=True)
class PartitionStatistics:
    """One partition in the store."""

    partition: int
    symbols: int
    # Memory that it takes there.
    bytes: int
    # Until the store deletes it; None for never.
    expires_s: float | None
    fence: Fence | None


@dataclass(frozen=True)
class StoreStatistics:
    """What a store has of one topic of one platform."""

    kind: str
    namespace: str
    partitions: tuple[PartitionStatistics, ...] = ()
    server: Mapping[str, object] = field(default_factory=dict)
    # Keys that cannot be read, each with what is wrong.
    damaged: tuple[str, ...] = ()

    @property
    def symbols(self) -> int:
        return sum(partition.symbols for partition in self.partitions)

    @property
    def bytes(self) -> int:
        return sum(partition.bytes for partition in self.partitions)


class StateStore(Protocol):
    """State of one topic of one platform. Every call is one round trip, whatever the number of symbols in it.

    Every call may raise StateError, within a bounded time: the store does not answer, or refuses to write. A
    publication that raised may have been applied; the next one finds out by its base.
    """

    @property
    def kind(self) -> str:
        """`memory` or `redis`."""

    @property
    def damaged(self) -> tuple[str, ...]:
        """The last keys that another program has written, each with what is wrong. They count as empty."""

    def load(self, partitions: Collection[int]) -> dict[int, PartitionState]:
        """Everything of some partitions; those of which the store has nothing are left out."""

    def publish(self, updates: Sequence[Update]) -> dict[int, Fence | None]:
        """Apply updates in their order; returns, per refused partition, the fence that the store has instead."""

    def statistics(self) -> StoreStatistics:
        """How much it holds, partition by partition."""

    def close(self) -> None:
        """Close the connections."""


class MemoryStateStore:
    """A store that lives and dies with its process."""

    def __init__(self, namespace: str = "memory") -> None:
        self._namespace = namespace
        self._partitions: dict[int, tuple[Fence, dict[bytes, bytes]]] = {}

    @property
    def kind(self) -> str:
        return "memory"

    @property
    def damaged(self) -> tuple[str, ...]:
        return ()

    def load(self, partitions: Collection[int]) -> dict[int, PartitionState]:
        found = ((partition, self._partitions.get(partition)) for partition in partitions)
        return {partition: PartitionState(held[0], dict(held[1])) for partition, held in found if held is not None}

    def publish(self, updates: Sequence[Update]) -> dict[int, Fence | None]:
        refused: dict[int, Fence | None] = {}
        for update in updates:
            held = self._partitions.get(update.partition)
            stands = held[0] if held else None
            if stands != update.base:
                refused[update.partition] = stands
                continue
            before = {} if held is None or update.whole else held[1]
            before.update(update.values)
            self._partitions[update.partition] = (update.fence, before)
        return refused

    def statistics(self) -> StoreStatistics:
        """Bytes are those of names and values."""
        return StoreStatistics(
            self.kind,
            self._namespace,
            tuple(
                PartitionStatistics(
                    number, len(values), sum(len(name) + len(value) for name, value in values.items()), None, fence
                )
                for number, (fence, values) in sorted(self._partitions.items())
            ),
        )

    def close(self) -> None:
        """Nothing to close."""


def namespace_of(platform: str, topic: str) -> str:
    """What all keys of a topic of a platform begin with; the braces keep them on one node of a Redis cluster."""
    return f"k2:{{{platform}:{topic}}}"
