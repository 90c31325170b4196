"""Lake rows and tail rows as one table: every trade once, newest first."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from k2ctl.schema.rows import arrow_schema


@dataclass(frozen=True)
class United:
    """rows: newest first. from_tail: bool[n]. duplicates: copies that were dropped."""

    rows: pa.Table
    from_tail: np.ndarray
    duplicates: int


def unite(lake: pa.Table, tail: pa.Table) -> United:
    """Concatenate and keep one row per message_id: the lake's if it has one, else the lowest in Kafka's order."""
    whole = pa.concat_tables([lake, tail.cast(arrow_schema())]).combine_chunks()
    count = len(whole)
    from_tail = np.arange(count) >= len(lake)
    words = _id_words(whole)
    partition, offset, index = (_numbers(whole, name) for name in ("kafka_partition", "kafka_offset", "kafka_index"))
    order = np.lexsort((index, offset, partition, from_tail, words[:, 1], words[:, 0]))
    ordered = words[order]
    first = np.ones(count, np.bool_)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    kept = order[first]
    newest_first = np.lexsort((-index[kept], -offset[kept], partition[kept], -_timestamps(whole)[kept]))
    chosen = kept[newest_first]
    return United(whole.take(pa.array(chosen)), from_tail[chosen], count - len(chosen))


def _id_words(table: pa.Table) -> np.ndarray:
    """uint64[n, 2]: the message ids. Any fixed order of the 128 bits groups equal ids, so byte order is no matter."""
    if not len(table):
        return np.zeros((0, 2), np.uint64)
    storage = table.column("message_id").combine_chunks()
    storage = storage.storage if isinstance(storage, pa.ExtensionArray) else storage.chunk(0).storage
    start = storage.offset * 16
    return np.frombuffer(storage.buffers()[1], np.uint64, len(table) * 2, start).reshape(-1, 2)


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    numbers: np.ndarray = table.column(name).to_numpy().astype(np.int64)
    return numbers


def _timestamps(table: pa.Table) -> np.ndarray:
    timestamps: np.ndarray = table.column("timestamp").cast(pa.int64()).to_numpy()
    return timestamps
