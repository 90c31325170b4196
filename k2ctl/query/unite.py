"""Lake rows and tail rows as one table: every trade once, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from k2ctl.domain.copies import copy_numbers
from k2ctl.domain.rows import Rows, arrow_schema


@dataclass(frozen=True)
class United:
    """rows: newest first. from_tail: bool[n]. duplicates: copies that were dropped."""

    rows: pa.Table
    from_tail: np.ndarray
    duplicates: int


def unite(lake: pa.Table, tail: pa.Table) -> United:
    """Concatenate and keep one row of each trade: the lake's if it has one, else the lowest in Kafka's order."""
    whole = pa.concat_tables([lake, tail.cast(arrow_schema())]).combine_chunks()
    count = len(whole)
    from_tail = np.arange(count) >= len(lake)
    partition, offset, index = (_numbers(whole, name) for name in ("kafka_partition", "kafka_offset", "kafka_index"))
    numbers = copy_numbers(whole)
    order, first = _first_of_each(numbers[:2], (index, offset, partition, from_tail))
    if not first.all():  # ids are alike, so it is worth while to compare the rest of what tells a copy
        order, first = _first_of_each(numbers, (index, offset, partition, from_tail))
    kept = order[first]
    newest_first = np.lexsort((-index[kept], -offset[kept], partition[kept], -_timestamps(whole)[kept]))
    chosen = kept[newest_first]
    return United(whole.take(pa.array(chosen)), from_tail[chosen], count - len(chosen))


def _first_of_each(numbers: Sequence[np.ndarray], precedence: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """An order of rows by columns of numbers, and bool[n], which in that order are the first of their numbers."""
    order = np.lexsort((*precedence, *numbers))
    first = np.ones(len(order), np.bool_)
    first[1:] = np.logical_or.reduce([column[order[1:]] != column[order[:-1]] for column in numbers])
    return order, first


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


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    numbers: np.ndarray = table.column(name).to_numpy().astype(np.int64)
    return numbers


def _timestamps(table: pa.Table) -> np.ndarray:
    timestamps: np.ndarray = table.column("timestamp").cast(pa.int64()).to_numpy()
    return timestamps
