"""A table for tests with Spark: two closed hours in many files, and appenders of this moment."""

import time

import numpy as np

from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.lake.catalog import Lake
from k2ctl.lake.writer import TableWriter
from tests.made_trades import BASE_US, make_rows, make_varied

PARTITION = TopicPartition("t", "e", 0)
HOUR_NS = 3_600 * 10**9
STEP = 400


def fill(lake: Lake, commits: int) -> int:
    """Add commits of 400 trades each, of two closed hours in turn; returns how many trades."""
    writer = writer_of(lake)
    for number in range(commits):
        trades = make_varied(STEP, number * STEP)
        trades["event_ns"] += number % 2 * HOUR_NS
        append(writer, trades, number)
    return commits * STEP


def writer_of(lake: Lake) -> TableWriter:
    """What commits to it."""
    return TableWriter(lake, SystemClock())


def append(writer: TableWriter, trades: np.ndarray, number: int) -> None:
    """One commit, the next of partition 0."""
    delta = OffsetDelta(number * STEP, (number + 1) * STEP, Counts(seen=STEP, stored=STEP))
    writer.commit([make_rows(trades, number * STEP)], {PARTITION: delta})


def append_now(writer: TableWriter, number: int) -> None:
    """One commit of trades of this moment."""
    trades = make_varied(STEP, number * STEP)
    trades["event_ns"] += time.time_ns() - (BASE_US + number * STEP * 1000) * 1000
    append(writer, trades, number)


class Later(SystemClock):
    """A clock that is an hour ahead: what was just written is quiet then. ahead_s: of the monotonic time."""

    ahead_s = 0.0

    def now_us(self) -> int:
        return super().now_us() + 3_600_000_000

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s
