"""Ids of the rows that were stored lately, in bounded batches, of all topics or of one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.types import TimestamptzType

from k2ctl.domain.rows import ids_of
from k2ctl.lake.checkpoints import ancestors
from k2ctl.lake.scan import TableScan

CLOCKS_APART_US: Final = 60_000_000
"""By how much the clocks of those who commit may differ, and how long an offer may wait to be taken."""

_COLUMNS: Final = ("message_id", "timestamp", "committed_at", "kafka_topic")


@dataclass(frozen=True)
class StoredIds:
    """n rows: their ids, V16[n], and their own times, int64[n] in µs."""

    ids: np.ndarray
    times_us: np.ndarray


class RecentIds:
    """The rows that the newest snapshot of a table has of commits after a time, and after a commit.

    Rows are known by when they were committed, which a compaction keeps. Too many are read, never too few.
    """

    def __init__(self, table: Table, since_us: int, after: int, topic: str | None) -> None:
        """after: a sequence number; -1 for all. topic: None for all."""
        self._scan = TableScan.newest(table, deletes_ignored=True)
        self._since_us = since_us - CLOCKS_APART_US
        self._topic = topic
        committed = table.metadata.schema().find_field("committed_at").field_id
        entries = self._scan.all_entries(after=max(after, self._last_before()))
        self.files = tuple(entry.data_file for entry in entries if self._may_be_recent(entry.data_file, committed))

    @property
    def rows(self) -> int:
        """At most so many rows are to be read."""
        return sum(file.record_count for file in self.files)

    def batches(self, rows: int) -> Iterator[StoredIds]:
        """At most so many rows in each.

        Raises:
            LakeError: a file cannot be read.
        """
        since = pa.scalar(self._since_us, pa.timestamp("us", "UTC"))
        for file in self.files:
            for batch in self._scan.batches(file, _COLUMNS, ("kafka_topic",), rows):
                recent = pc.fill_null(pc.greater_equal(batch["committed_at"], since), True)
                wanted = recent if self._topic is None else pc.and_(recent, pc.equal(batch["kafka_topic"], self._topic))
                found = batch.filter(wanted)
                yield StoredIds(ids_of(found["message_id"]), found["timestamp"].cast(pa.int64()).to_numpy())

    def _last_before(self) -> int:
        """The newest commit before the time, by its sequence number, as far as snapshots are kept."""
        until_ms = self._since_us // 1000
        older = (one for one in ancestors(self._scan.table.metadata) if one.timestamp_ms < until_ms)
        return max((one.sequence_number or 0 for one in older), default=-1)

    def _may_be_recent(self, file: DataFile, field_id: int) -> bool:
        if (file.null_value_counts or {}).get(field_id, 1):
            return True
        bound = (file.upper_bounds or {}).get(field_id)
        return bound is None or int(from_bytes(TimestamptzType(), bound)) >= self._since_us
