"""Claims and what belongs to them, as Redis keeps them: packed records, sorted by their keys, and texts."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from k2ctl.dedup.shared.claims import PLACE_BITS, ClaimBatch, ClaimedPartition, Coverage, Covered
from k2ctl.domain.checkpoint import TopicPartition

MINUTE_US: Final = 60_000_000
BUCKETS: Final = 256
PART_IDS: Final = 10_000
"""Claims of one script, which holds up Redis for some 20 ms."""

_RECORD: Final = np.dtype([("id", "V16"), ("place", "<u2"), ("expected", "V6")])
_OTHER: Final = np.dtype([("at", "<u4"), ("place", "<u2"), ("ticket", "<u4")])
_FACTORS: Final = np.array([0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93], np.uint64)


@dataclass(frozen=True)
class ClaimRecords:
    """n claims in the order of their keys, as a script takes them."""

    # int64[n]: where each was.
    order: np.ndarray
    # `_RECORD`[n]
    records: np.ndarray
    # int64[n]: minute and bucket.
    keys: np.ndarray

    @classmethod
    def of(
        cls, ids: np.ndarray, times_us: np.ndarray, places: np.ndarray, expected: np.ndarray | None = None
    ) -> "ClaimRecords":
        records = np.zeros(len(ids), _RECORD)
        records["id"], records["place"] = ids, places
        if expected is not None:
            records["expected"] = expected.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :6].copy().view("V6").ravel()
        words = np.ascontiguousarray(ids).view(np.uint64).reshape(-1, 2)
        buckets = ((words * _FACTORS).sum(axis=1, dtype=np.uint64) * _FACTORS[1]) >> np.uint64(56)
        keys = (times_us // MINUTE_US) * BUCKETS + buckets.astype(np.int64)
        order = np.argsort(keys, kind="stable")
        return cls(order, records[order], keys[order])

    def parts(self) -> Iterator[tuple[list[int], list[bytes]]]:
        """Per script the keys, and the records of each; one without any where there are no claims."""
        for first in range(0, max(1, len(self.keys)), PART_IDS):
            keys = self.keys[first : first + PART_IDS]
            text = self.records[first : first + PART_IDS].tobytes()
            begins = np.flatnonzero(np.diff(keys, prepend=-1))
            cuts = [*begins.tolist(), len(keys)]
            size = _RECORD.itemsize
            yield keys[begins].tolist(), [text[size * one : size * other] for one, other in pairwise(cuts)]

    def holders(self, found: list[bytes]) -> np.ndarray:
        """int64[n]: the holders that the scripts have met, where the claims were; 0 for our own."""
        sorted_holders = np.zeros(len(self.keys), np.int64)
        for number, text in enumerate(found):
            others = np.frombuffer(text, _OTHER)
            holders = others["ticket"].astype(np.int64) << PLACE_BITS | others["place"]
            sorted_holders[number * PART_IDS + others["at"]] = holders
        holders = np.zeros_like(sorted_holders)
        holders[self.order] = sorted_holders
        return holders


def record_of(batch: ClaimBatch) -> bytes:
    parts = ["1" if batch.confirmed else "0", batch.consumer.replace("\t", " ")]
    for partition, base in batch.partitions:
        parts += [field_of(partition), base]
    return "\t".join(parts).encode()


def batch_of(record: bytes) -> ClaimBatch | None:
    """None for a record that another program has written; `confirm` takes it for none, too."""
    try:
        confirmed, consumer, *parts = record.decode().split("\t")
        partitions = [
            ClaimedPartition(TopicPartition(topic, epoch, int(partition)), base)
            for topic, epoch, partition, base in zip(*(parts[at::4] for at in range(4)), strict=True)
        ]
    except ValueError:
        return None
    return ClaimBatch(consumer, tuple(partitions), confirmed == "1")


def field_of(partition: TopicPartition) -> str:
    return "\t".join(map(str, partition))


def covered_of(generation: str, answer: list[bytes]) -> Covered:
    """What cannot be read is not covered."""
    by_partition = {}
    for field, value in zip(answer[::2], answer[1::2], strict=True):
        with suppress(ValueError):
            topic, epoch, partition = field.decode().split("\t")
            since, commit_id, number, on = value.decode().split("\t")
            by_partition[TopicPartition(topic, epoch, int(partition))] = Coverage(since, commit_id, int(number), on)
    return Covered(generation, by_partition)
