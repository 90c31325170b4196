"""Which trades of a Kafka range the table holds: the anti-join by which nothing is given back twice."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.table import Table

from k2ctl.lake.heads import Lane

_COLUMNS = ["kafka_topic", "kafka_epoch", "kafka_partition", "kafka_offset", "kafka_index"]


def stored_identities(table: Table, lane: Lane, start: int, end: int) -> np.ndarray:
    """int64[n]: `identity_numbers` of the rows from offsets [start, end) of a lane that the table holds, sorted."""
    if table.metadata.current_snapshot() is None or start >= end:
        return np.zeros(0, np.int64)
    wanted = f"kafka_partition == {lane.partition} and kafka_offset >= {start} and kafka_offset < {end}"
    found = [np.zeros(0, np.int64)]
    for task in table.scan(row_filter=wanted).plan_files():
        with table.io.new_input(task.file.file_path).open() as stream:
            rows = pq.read_table(
                pa.PythonFile(stream, mode="r"),
                columns=_COLUMNS,
                filters=(pc.field("kafka_partition") == lane.partition)
                & (pc.field("kafka_offset") >= start)
                & (pc.field("kafka_offset") < end),
            )
        ours = rows.filter(
            pc.and_(pc.equal(rows["kafka_topic"], lane.topic), pc.equal(rows["kafka_epoch"], lane.epoch))
        )
        found.append(identity_numbers(ours["kafka_offset"].to_numpy(), ours["kafka_index"].to_numpy()))
    return np.unique(np.concatenate(found))


def identity_numbers(offset: np.ndarray, index: np.ndarray) -> np.ndarray:
    """One number for each (offset, index) of a lane; an index is below 2^16."""
    return np.asarray((offset.astype(np.int64) << 16) | index.astype(np.int64))
