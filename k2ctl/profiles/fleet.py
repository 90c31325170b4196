"""The consumers that a profile's scale needs: how many, how large, on how many nodes; and what the busiest does."""

import math
from dataclasses import dataclass
from typing import Final

from k2ctl.profiles.model import ConsumerSettings, MarketSettings, Profile
from k2ctl.profiles.nodes import NodeRoom, room_of
from k2ctl.profiles.scale import Scale

CONSUMER_CORES: Final = 1.0
"""What a consumer asks for. One process; alone on two cores it takes 1.6 (k2ctl/checks/README.md)."""

LINGER_SHARE: Final = 0.25
LINGER_MOST_S: Final = 0.5
"""How long a commit of several consumers waits for more of them."""
SWAP_S: Final = 1 / 1.2
"""One table head takes 1.2 commits a second of 32 files each, measured on SQLite; 1.4 on a REST catalog."""
SWAP_ALONE_S: Final = 1 / 5.8
"""The same with the files of one consumer, which nobody waits for."""
WRITTEN_ROWS_PER_S: Final = 2_300_000
"""Into Parquet, in commits of a million rows, measured."""


@dataclass(frozen=True)
class Fleet:
    """The lake writers: consumers of one process each, which share the topic's partitions."""

    count: int
    # Of each, as it asks Kubernetes for them; memory of 10^6 bytes.
    cores: float
    memory_mb: int
    # Of one node, less the system; how many consumers fit there; how many nodes that is.
    room: NodeRoom
    per_node: int
    nodes: int
    # Of all trades, those in the partition of the most traded symbol.
    hottest_share: float
    # Trades a second that there must be cores for: of the topic, of the consumer that reads that partition; and what a
    # consumer's cores are good for.
    peak_rate: float
    busiest_rate: float
    capacity_rate: float
    # Between two commits of a consumer, which has at most `commit_rows` together; and how long a commit takes.
    interval_s: float
    commit_s: float

    @property
    def commits_per_s(self) -> float:
        """Of the one table head: one an interval and consumer, or several together, as soon as it takes them."""
        return min(self.count / self.interval_s, 1 / self.swap_s)

    @property
    def files_per_s(self) -> float:
        """One of each consumer in each interval: all of one hour, but for the turn of the hour."""
        return self.count / self.interval_s

    @property
    def swap_s(self) -> float:
        """From one commit of the table to the next, at the soonest."""
        return swap_s(self.count, self.interval_s)


def swap_s(consumers: int, interval_s: float) -> float:
    """How long a commit takes whose files are written: alone, or gathered from several consumers."""
    if consumers == 1:
        return SWAP_ALONE_S
    return min(LINGER_MOST_S, LINGER_SHARE * interval_s) + SWAP_S


def least_interval_s(consumers: int) -> float:
    """The shortest interval that is no shorter than its own commits take: with several, a part of it is waited."""
    return SWAP_ALONE_S if consumers == 1 else SWAP_S / (1 - LINGER_SHARE)


def top_share(market: MarketSettings) -> float:
    """Of all trades, those of the most traded symbol: all of them are in one partition."""
    return 1 / math.fsum(rank**-market.zipf_exponent for rank in range(1, market.symbols + 1))


def fleet_of(profile: Profile, scale: Scale) -> Fleet:
    """As many consumers as it takes for none to be more than busy at the peak, or as many as the profile names.

    The busiest reads the partition of the most traded symbol, and its part of all others.
    """
    workload, clients, consumer = scale.workload, scale.clients, profile.consumer
    peak_rate = workload.average_rate * max(1 / clients.cpu_target, workload.peak_factor) * (1 + workload.shed_share)
    capacity = CONSUMER_CORES / clients.cpu_s_per_million.lake_writer * 1e6
    top = top_share(profile.market)
    partitions = profile.topic.partitions
    count = clients.consumers or _consumers_needed(peak_rate, capacity, top, partitions)
    busiest = peak_rate * (top + (1 - top) / count)
    interval_s = min(consumer.commit_interval_s, consumer.commit_rows / busiest)
    room = room_of(clients.node)
    per_node = room.holds(CONSUMER_CORES, consumer.memory_limit_mb)
    return Fleet(
        count=count,
        cores=CONSUMER_CORES,
        memory_mb=consumer.memory_limit_mb,
        room=room,
        per_node=per_node,
        nodes=math.ceil(count / max(1, per_node)),
        hottest_share=top + (1 - top) / partitions,
        peak_rate=peak_rate,
        busiest_rate=busiest,
        capacity_rate=capacity,
        interval_s=interval_s,
        commit_s=busiest * interval_s / WRITTEN_ROWS_PER_S + swap_s(count, interval_s),
    )


def _consumers_needed(peak_rate: float, capacity: float, top: float, partitions: int) -> int:
    """More than there are partitions where no number is enough."""
    spare = capacity / peak_rate - top
    if spare >= 1 - top:
        return 1
    return math.ceil((1 - top) / spare - 1e-9) if spare * partitions > 1 - top else partitions + 1


BASE_MB: Final = 400
PREFETCH_MB: Final = 134
"""A consumer with nothing in hand, one row group in the making; and what librdkafka reads ahead
(queued.max.messages.kbytes)."""
ROW_BYTES: Final = 220
COMMITTING_ROW_BYTES: Final = 460
"""A row that waits, and one of the commit under way, which is put together and sorted: resident memory, measured with
half a million and two million rows."""


def memory_mb_with(consumer: ConsumerSettings, pending_rows: float, committing_rows: float) -> float:
    """What a consumer takes with so many rows, the whole memory of deduplication included."""
    rows_mb = (pending_rows * ROW_BYTES + committing_rows * COMMITTING_ROW_BYTES) / 1e6
    return BASE_MB + PREFETCH_MB + consumer.dedup.budget_mb + rows_mb
