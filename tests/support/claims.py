"""Claims that tests make: ids that are numbers, each of a time of its own."""

import numpy as np

from k2ctl.dedup.shared.claims import ClaimBatch, Claimed, ClaimedPartition, ClaimStore
from k2ctl.domain.checkpoint import TopicPartition

FIRST, SECOND = TopicPartition("t", "e", 0), TopicPartition("t", "e", 1)
NOON_US = 1_700_000_000_000_000


def batch(*bases: str, consumer: str = "a") -> ClaimBatch:
    """A batch of the first partitions, each on a base."""
    return ClaimBatch(
        consumer, tuple(ClaimedPartition(TopicPartition("t", "e", at), base) for at, base in enumerate(bases))
    )


def ids(*numbers: int) -> np.ndarray:
    return np.array([number.to_bytes(16, "big") for number in numbers], "V16")


def claim(store: ClaimStore, of: ClaimBatch, *numbers: int, places: list[int] | None = None) -> Claimed:
    return store.claim(of, *rows(*numbers, places=places))


def rows(*numbers: int, places: list[int] | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, times and places; 0 for all if no places are given."""
    return ids(*numbers), NOON_US + np.array(numbers, np.int64), np.array(places or [0] * len(numbers), np.uint16)


def random_ids(number: int, seed: int = 1) -> np.ndarray:
    return np.frombuffer(np.random.default_rng(seed).bytes(16 * number), "V16")
