"""Sequence state, rebuilt from the rows of the table."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.domain.rows import trades_of
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
        for rows in columns.combine_chunks().to_batches():
            note_stored(tracker, rows, epoch, covered or {})
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


def note_stored(tracker: SequenceTracker, rows: pa.RecordBatch, epoch: str, covered: Mapping[int, int]) -> None:
    """Let the tracker know the stored rows, with `RECENT_COLUMNS`, that the state store did not cover."""
    trades, partition = trades_of(rows), rows["kafka_partition"].to_numpy()
    if covered and len(partition):
        up_to = np.full(int(partition.max()) + 1, -1, np.int64)
        for number, offset in covered.items():
            if number < len(up_to):
                up_to[number] = offset
        # Of a covered partition only what this epoch has added since: older epochs came before.
        of_epoch = pc.equal(rows["kafka_epoch"].cast(pa.string()), epoch).to_numpy(zero_copy_only=False)
        unknown = (up_to[partition] < 0) | (of_epoch & (rows["kafka_offset"].to_numpy() >= up_to[partition]))
        trades, partition = trades[unknown], partition[unknown]
    tracker.step(trades, partition)
