"""Commits of made trades, as a consumer of one partition makes them."""

from collections.abc import Callable
from typing import Any

from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.lake.catalog import Lake
from k2ctl.lake.writer import TableWriter
from tests.made_trades import make_rows, make_trades

Opener = Callable[[], Lake]
"""Opens the same catalog again and again, as other processes would."""


def commit(
    writer: TableWriter, start: int, count: int = 50, partition: int = 0, partition_start: int | None = None
) -> Any:
    """Made trades from `start` on, as rows of a partition that begins where they do."""
    rows = make_rows(make_trades(count, start + partition * 1_000_000), start)
    rows.partition[:] = partition
    begin = start if partition_start is None else partition_start
    advance = OffsetDelta(begin, start + count, Counts(seen=count, stored=count))
    return writer.commit([rows], {TopicPartition("t", "e", partition): advance})
