"""Lake rows and tail rows as one table: every trade once, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from k2ctl.domain.copies import key_numbers, print_numbers
from k2ctl.domain.rows import Rows, as_declared, nanoseconds


@dataclass(frozen=True)
class United:
    """Rows of both sides of the seam, of each trade one."""

    # As `arrow_schema()` says, newest first.
    rows: pa.Table
    # bool[n]: which of them came from the stream.
    from_tail: np.ndarray
    # Copies that were dropped.
    duplicates: int
    # Whether trades are among the rows with more than one print: reprints, which correct them.
    reprints: bool = False
    # The first time from which on nothing was left out for a limit; None if nothing was at all.
    whole_from_us: int | None = None

    @property
    def whole(self) -> bool:
        """True if nothing was left out for a limit."""
        return self.whole_from_us is None

    @property
    def sure(self) -> int:
        """How many of the first rows are the newest, whatever was left out: a copy has the time of its trade."""
        if self.whole_from_us is None:
            return len(self.rows)
        return int((_nanoseconds(self.rows) // 1000 >= self.whole_from_us).sum())


def unite(lake: pa.Table, tails: Sequence[Rows], count: int | None = None) -> United:
    """Concatenate and keep one row of each print: the lake's if it has one, else the lowest in Kafka's order.

    lake: its newest `count` rows (None: all), in order. Of the tails, too, only the newest `count` can be of use. Of a
    symbol that trades a lot the tail is much longer than an answer, and turning rows into Arrow takes most of its
    time; so it is cut before that.
    """
    from_us = _whole_from_us(lake, tails, count)
    if from_us is not None:
        tails = [rows.take(rows.trades["event_ns"] // 1000 >= from_us) for rows in tails]
    newest = pa.concat_tables([lake, *(as_declared(rows.to_arrow()) for rows in tails if len(rows))]).combine_chunks()
    return _one_of_each(newest, len(lake), from_us)


def _whole_from_us(lake: pa.Table, tails: Sequence[Rows], count: int | None) -> int | None:
    """From when on both sides give all that they have, if they are cut to their newest `count` rows."""
    if count is None:
        return None
    from_us: int | None = None
    if len(lake) == count:
        from_us = int(_nanoseconds(lake.slice(count - 1))[0]) // 1000 + 1  # of the last row's time there may be more
    times = np.concatenate([np.zeros(0, np.int64), *(rows.trades["event_ns"] // 1000 for rows in tails)])
    if len(times) > count:
        latest_us = int(np.partition(times, len(times) - count)[len(times) - count])
        from_us = latest_us if from_us is None else max(from_us, latest_us)
    return from_us


def _one_of_each(whole: pa.Table, lake_rows: int, whole_from_us: int | None) -> United:
    """Newest first, one row of each print. The first `lake_rows` are the lake's."""
    count = len(whole)
    from_tail = np.arange(count) >= lake_rows
    partition, offset, index = (_numbers(whole, name) for name in ("kafka_partition", "kafka_offset", "kafka_index"))
    numbers, reprints = key_numbers(whole), False
    order, first = _first_of_each(numbers[:2], (index, offset, partition, from_tail))
    if not first.all():  # ids are alike, so it is worth while to compare the rest of what makes a copy
        trades = int(_first_of_each(numbers, (index,))[1].sum())
        order, first = _first_of_each([*numbers, *print_numbers(whole)], (index, offset, partition, from_tail))
        reprints = int(first.sum()) > trades
    kept = order[first]
    last = (_topics(whole)[kept], -index[kept], -offset[kept], partition[kept])
    newest_first = np.lexsort((*last, -_nanoseconds(whole)[kept]))
    chosen = kept[newest_first]
    if not np.array_equal(chosen, np.arange(count)):  # of a past window the lake alone has rows, and these in order
        whole = whole.take(pa.array(chosen))
    return United(whole, from_tail[chosen], count - len(chosen), reprints, whole_from_us)


def _first_of_each(numbers: Sequence[np.ndarray], precedence: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """An order of rows by columns of numbers, and bool[n], which in that order are the first of their numbers."""
    order = np.lexsort((*precedence, *numbers))
    first = np.ones(len(order), np.bool_)
    first[1:] = np.logical_or.reduce([column[order[1:]] != column[order[:-1]] for column in numbers])
    return order, first


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    numbers: np.ndarray = table.column(name).to_numpy().astype(np.int64)
    return numbers


def _topics(table: pa.Table) -> np.ndarray:
    """int64[n]: the place of each row's topic among their names in order."""
    encoded = table.column("kafka_topic").combine_chunks().dictionary_encode()
    places = np.argsort(np.argsort(np.array(encoded.dictionary.to_pylist(), object)))
    found: np.ndarray = places[encoded.indices.to_numpy()] if len(places) else np.zeros(0, np.int64)
    return found


def _nanoseconds(table: pa.Table) -> np.ndarray:
    return nanoseconds(table["timestamp"], table["timestamp_nanos"])
