"""How many records a topic has, partition by partition, and what they are: all of them are read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from k2ctl.domain.trade import Decoded
from k2ctl.endpoints import Endpoints
from k2ctl.feeds.check.topic_parts import READ_WITHIN_S, are_own, known_topic
from k2ctl.feeds.records import SBE, Decoder
from k2ctl.kafka.reader import Fetched, read_between
from k2ctl.kafka.topic_admin import TopicAdmin

READ_TOGETHER: Final = 100_000
"""Records in memory."""


@dataclass
class PartitionCount:
    """What was counted of one partition."""

    partition: int
    records: int = 0
    # Of their values, uncompressed.
    bytes: int = 0
    # None where nothing says what the records are.
    trades: int | None = None
    # That cannot be read, whole or in part; and that the feed leaves out.
    unreadable: int = 0
    filtered: int = 0


@dataclass(frozen=True)
class TopicCount:
    """What was counted of a topic."""

    topic: str
    partitions: tuple[PartitionCount, ...]
    # Partition → the offset behind which an open transaction holds the rest back.
    held_at: dict[int, int]


def count(
    endpoints: Endpoints,
    topic: str,
    decoder: Decoder | None,
    since_us: int | None = None,
    counted: Callable[[int, int], None] = lambda _, __: None,
) -> TopicCount:
    """Count the records that are in a topic now, from a time on.

    decoder: None: only records, and trades of K2's own format. counted: called with how many by now, and of how many.

    Raises:
        UsageError: there is no such topic. BrokerError: Kafka does not answer.
    """
    with TopicAdmin(endpoints) as admin:
        marks = known_topic(admin, topic)
        ends = {number: (mark.low, mark.high) for number, mark in marks.items()}
        if since_us is not None:
            starts = admin.offsets_at(topic, -(-since_us // 1000), ends)
            ends = {number: (starts[number], end) for number, (_, end) in ends.items()}
    found = {number: PartitionCount(number) for number in sorted(ends)}
    total = sum(end - start for start, end in ends.values())
    left = ends
    while left := {number: span for number, span in left.items() if span[0] < span[1]}:
        beside = () if decoder is None else decoder.beside
        fetched, reached, _ = read_between(endpoints, topic, left, READ_WITHIN_S, READ_TOGETHER, beside)
        if not len(fetched) and all(reached[number] <= start for number, (start, _) in left.items()):
            break
        _add(found, fetched, decoder)
        left = {number: (reached[number], end) for number, (_, end) in left.items()}
        counted(total - sum(end - start for start, end in left.values()), total)
    return TopicCount(topic, tuple(found.values()), {number: start for number, (start, _) in left.items()})


def _add(found: dict[int, PartitionCount], fetched: Fetched, decoder: Decoder | None) -> None:
    if not len(fetched):
        return
    if decoder is None and are_own(fetched.values):
        decoder = SBE
    decoded = None if decoder is None else decoder.decode(fetched)
    unread = _unread(decoded)
    sizes = np.fromiter(map(len, fetched.values), np.int64, len(fetched))
    for number in np.unique(fetched.partition).tolist():
        one, mine = found[number], fetched.partition == number
        one.records += int(mine.sum())
        one.bytes += int(sizes[mine].sum())
        if decoded is not None:
            one.trades = (one.trades or 0) + int(mine[decoded.record].sum())
            one.unreadable += int(mine[unread].sum())
            one.filtered += int(mine[decoded.filtered].sum())


def _unread(decoded: Decoded | None) -> np.ndarray:
    """int64[k]: the records of which not every trade could be read."""
    if decoded is None:
        return np.zeros(0, np.int64)
    records = {*(record for record, _ in decoded.broken), *(one.record for one in decoded.refused)}
    return np.array(sorted(records), np.int64)
