"""Trades for benchmarks, made before the clock starts and spread evenly over the partitions.

Evenly, because the embedded Kafka keeps 5 MiB per partition: with Zipf-distributed symbols the hottest partition
would overflow long before there is enough to measure.
"""

import time

import numpy as np

from k2ctl.domain.rows import NOT_IN_REFERENCE, Rows
from k2ctl.domain.trade import REFERENCE
from k2ctl.load.market import SyntheticMarket, new_run_id
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import Universe


def even_profile(profile: Profile, partitions: int) -> Profile:
    """The profile with symbols that all trade alike, and as many partitions as the benchmark needs."""
    market = profile.market.model_copy(update={"zipf_exponent": 0.0})
    topic = profile.topic.model_copy(update={"partitions": partitions, "critical_partitions": 0})
    return profile.model_copy(update={"market": market, "topic": topic})


def made_trades(profile: Profile, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` trades sorted by partition, and how many belong to each."""
    now_us = time.time_ns() // 1000
    batch = SyntheticMarket(Universe(profile), new_run_id()).take(count, now_us - 60_000_000, now_us)
    return batch.trades, batch.per_partition


def rows_of(trades: np.ndarray, topic: str) -> Rows:
    """Trades as rows, one offset after the other."""
    count = len(trades)
    zeros = np.zeros(count, np.int32)
    return Rows.of(topic, "e", trades, zeros, np.arange(count, dtype=np.int64), zeros)


def rows_as_read(trades: np.ndarray, per_partition: np.ndarray, topic: str, frame: int) -> Rows:
    """Trades, sorted by partition, as a consumer has them after its steps: `frame` to a record, partitions in turns."""
    within = np.concatenate([np.arange(count) for count in per_partition.tolist()])
    order = np.argsort(within // frame, kind="stable")
    partition = np.repeat(np.arange(len(per_partition), dtype=np.int32), per_partition)
    looked_up = np.full(len(trades), NOT_IN_REFERENCE, np.int32)
    rows = Rows(
        topic, "e", trades, partition, within // frame, (within % frame).astype(np.int32), looked_up, REFERENCE.empty(0)
    )
    return rows.take(order)
