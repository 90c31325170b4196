"""What a consumer remembers, rebuilt from what the table holds."""

from collections.abc import Collection

import numpy as np
import pyarrow as pa

from k2ctl.lake.catalog import Lake
from k2ctl.lake.recent import recent_rows
from k2ctl.pipeline.dedup import Deduplicator
from k2ctl.pipeline.sequence import SequenceTracker
from k2ctl.schema.trade import NO_SEQUENCE, TRADE


def rebuild(
    lake: Lake, topic: str, partitions: Collection[int], since_us: int
) -> tuple[Deduplicator, SequenceTracker, int]:
    """Dedup and sequence state as if the consumer had just read the rows that the table holds.

    since_us: rows ingested before it are not remembered (the dedup window). Returns the row count too.
    """
    deduplicator, tracker = Deduplicator(), SequenceTracker()
    count = 0
    for columns in recent_rows(lake.table(), since_us, topic, partitions):
        trades = _trades_of(columns)
        deduplicator.remember(trades["message_id"])
        tracker.step(trades)
        count += len(trades)
    tracker.start_counting()
    return deduplicator, tracker, count


def _trades_of(columns: pa.Table) -> np.ndarray:
    """The remembered fields of stored rows, in their order."""
    trades = TRADE.empty(len(columns))
    ids = columns["message_id"].combine_chunks()
    storage = ids.storage if isinstance(ids, pa.ExtensionArray) else ids
    if len(storage):
        trades["message_id"] = np.frombuffer(storage.buffers()[1], "V16", len(storage), storage.offset * 16)
    for name in ("symbol", "exchange"):
        column = columns[name].combine_chunks()
        names = np.array(column.dictionary.to_pylist(), trades[name].dtype)
        trades[name] = names[column.indices.to_numpy()] if len(names) else b""
    trades["timestamp"] = columns["timestamp"].cast(pa.int64()).to_numpy()
    trades["source_sequence"] = _sequences(columns["source_sequence"])
    return trades


def _sequences(column: pa.ChunkedArray) -> np.ndarray:
    missing = column.is_null().to_numpy()
    numbers: np.ndarray = column.fill_null(0).to_numpy().astype(np.uint64)
    numbers[missing] = NO_SEQUENCE
    return numbers
