"""What a consumer remembers, rebuilt from what the table holds."""

from collections.abc import Collection

import numpy as np
import pyarrow as pa

from k2ctl.clock import Clock
from k2ctl.lake.catalog import Lake
from k2ctl.lake.recent import recent_rows
from k2ctl.pipeline.dedup_restore import Restored, ids_of, restore
from k2ctl.pipeline.sequence import SequenceTracker
from k2ctl.schema.trade import NO_SEQUENCE, TRADE
from k2ctl.state.chunks import ChunkPlan


def rebuild(
    lake: Lake, topic: str, partitions: Collection[int], plan: ChunkPlan, clock: Clock
) -> tuple[Restored, SequenceTracker]:
    """Dedup and sequence state as if the consumer had just read the rows that the table holds of the window."""
    tracker = SequenceTracker()
    for columns in recent_rows(lake.table(), clock.now_us() - plan.window_us, topic, partitions):
        tracker.step(_trades_of(columns))
    tracker.start_counting()
    return restore(lake, topic, partitions, plan, clock), tracker


def _trades_of(columns: pa.Table) -> np.ndarray:
    """The remembered fields of stored rows, in their order."""
    trades = TRADE.empty(len(columns))
    trades["message_id"] = ids_of(columns["message_id"])
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
