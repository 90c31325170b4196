"""Lake rows and tail rows as one table: every trade once, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from k2ctl.schema.rows import Rows, arrow_schema


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


@dataclass(frozen=True)
class Newest:
    """The tail's part of an answer that has a limit, and from when on both sides have given all that they hold.

    tail: as `arrow_schema()` says. whole_from_us: the first time of which nothing was left out; None if nothing was.
    """

    tail: pa.Table
    whole_from_us: int | None

    @property
    def whole(self) -> bool:
        """Whether nothing was left out."""
        return self.whole_from_us is None

    def sure(self, united: United) -> int:
        """How many of the first rows are the newest, whatever was left out: a copy has the time of its trade."""
        if self.whole_from_us is None:
            return len(united.rows)
        return int((_timestamps(united.rows) >= self.whole_from_us).sum())


def newest_of(lake: pa.Table, tails: Sequence[Rows], count: int | None) -> Newest:
    """What of the tails can be among the newest `count` rows (None: all). lake: its newest `count` rows, in order.

    Of a symbol that trades a lot the tail is much longer than an answer, and most of its time goes into turning rows
    into Arrow; so it is cut before that.
    """
    from_us: int | None = None
    if count is not None and len(lake) == count:
        from_us = int(_timestamps(lake.slice(count - 1))[0]) + 1  # of the last row's time there may be more
    times = np.concatenate([rows.trades["timestamp"] for rows in tails])
    if count is not None and len(times) > count:
        latest_us = int(np.partition(times, len(times) - count)[len(times) - count])
        from_us = latest_us if from_us is None else max(from_us, latest_us)
    if from_us is not None:
        tails = [rows.take(rows.trades["timestamp"] >= from_us) for rows in tails]
    return Newest(pa.concat_tables([rows.to_arrow().cast(arrow_schema()) for rows in tails]), from_us)


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
