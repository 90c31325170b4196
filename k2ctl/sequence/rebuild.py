"""Sequence state, rebuilt from the rows of the table."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.domain.rows import ids_of
from k2ctl.domain.trade import NO_SEQUENCE, TRADE
from k2ctl.lake.catalog import Lake
from k2ctl.lake.readers import recent_rows
from k2ctl.sequence.tracker import SequenceTracker

TOGETHER_ROWS: Final = 1_000_000


def rebuild(
    lake: Lake,
    topic: str,
    partitions: Collection[int],
    since_us: int,
    tracker: SequenceTracker,
    epoch: str = "",
    covered: Mapping[int, int] | None = None,
) -> None:
    """Sequence state as if the consumer had just read the rows that the table holds.

    since_us: rows from before it are not remembered. covered: per partition the offset of `epoch` up to which the
    tracker knows the rows already, from the state store.
    """
    for columns in _in_time_order(recent_rows(lake.table(), since_us, topic, partitions)):
        note_stored(tracker, _trades_of(columns), columns, epoch, covered or {})
    tracker.start_counting()


def _in_time_order(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows of several files in the order of time, some `TOGETHER_ROWS` at once.

    A commit has parts of partitions, so no order of the files gives every symbol its trades in order: where
    later trades came first, the earlier ones would look like trades from before the symbol was followed.
    """
    held: list[pa.Table] = []
    for columns in tables:
        held.append(columns)
        if sum(map(len, held)) >= TOGETHER_ROWS:
            yield _sorted(held)
            held = []
    if held:
        yield _sorted(held)


def _sorted(tables: list[pa.Table]) -> pa.Table:
    rows = pa.concat_tables(tables).unify_dictionaries()
    return rows.sort_by([("timestamp", "ascending"), ("kafka_offset", "ascending")])


def note_stored(
    tracker: SequenceTracker, trades: np.ndarray, columns: pa.Table, epoch: str, covered: Mapping[int, int]
) -> None:
    """Let the tracker know the stored rows that the state store did not cover.

    columns: has `kafka_partition`, `kafka_epoch` and `kafka_offset`; trades: the same rows, in the same order.
    """
    partition = columns["kafka_partition"].to_numpy()
    if covered and len(partition):
        up_to = np.full(int(partition.max()) + 1, -1, np.int64)
        for number, offset in covered.items():
            if number < len(up_to):
                up_to[number] = offset
        # Of a covered partition only what this epoch has added since: older epochs came before.
        of_epoch = pc.equal(columns["kafka_epoch"].cast(pa.string()), epoch).to_numpy()
        unknown = (up_to[partition] < 0) | (of_epoch & (columns["kafka_offset"].to_numpy() >= up_to[partition]))
        trades, partition = trades[unknown], partition[unknown]
    tracker.step(trades, partition)


def _trades_of(columns: pa.Table) -> np.ndarray:
    """The remembered fields of stored rows, in their order."""
    trades = TRADE.empty(len(columns))
    trades["message_id"] = ids_of(columns["message_id"])
    for name in ("symbol", "exchange"):
        column = columns[name].combine_chunks()
        names = np.array(column.dictionary.to_pylist(), trades[name].dtype)
        trades[name] = names[column.indices.to_numpy()] if len(names) else b""
    trades["timestamp"] = columns["timestamp"].cast(pa.int64()).to_numpy()
    trades["ingestion_timestamp"] = columns["ingestion_timestamp"].cast(pa.int64()).to_numpy()
    trades["source_sequence"] = _sequences(columns["source_sequence"])
    return trades


def _sequences(column: pa.ChunkedArray) -> np.ndarray:
    missing = column.is_null().to_numpy()
    numbers: np.ndarray = column.fill_null(0).to_numpy().astype(np.uint64)
    numbers[missing] = NO_SEQUENCE
    return numbers
