"""What Kafka holds of a topic, stretch by stretch: trades with their places, and records that gave none."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from k2ctl.domain.rows import Rows, identity_numbers
from k2ctl.domain.trade import Decoded
from k2ctl.endpoints import Endpoints
from k2ctl.feeds.records import Decoder
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.dead_letters import WHOLE_RECORD
from k2ctl.kafka.reader import Fetched, Hole, read_between
from k2ctl.kafka.watermarks import open_transaction

Ranges = dict[int, tuple[int, int]]
"""Partition → offsets [start, end)."""

STRETCH_TRADES: Final = 250_000
"""With what they are compared with, some 500 bytes each are in memory."""

READ_RECORDS: Final = 100_000
READ_BYTES: Final = 64_000_000
READ_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True)
class Stretch:
    """Some offset ranges, read whole."""

    ranges: Ranges
    records: int
    # The trades, by partition and place.
    rows: Rows
    # int64[n, 3]: partition, offset and index of what could not be read; index `WHOLE_RECORD`: nothing of the record.
    unread: np.ndarray
    # int64[n, 2]: partition and offset of each trade that the feed's `where` leaves out.
    filtered: np.ndarray
    # Offsets that Kafka deleted while it was read.
    holes: tuple[Hole, ...]

    def slots_of(self, partition: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """int64[n] and bool[n]: the positions in `rows` of places (`identity_numbers`) of a partition; if there."""
        first, last = np.searchsorted(self.rows.partition, [partition, partition + 1])
        mine = identity_numbers(self.rows.offset[first:last], self.rows.index[first:last])
        if not len(mine):
            return np.zeros(len(places), np.int64), np.zeros(len(places), np.bool_)
        at = np.minimum(np.searchsorted(mine, places), len(mine) - 1)
        return first + at, mine[at] == places


def read_stretches(
    endpoints: Endpoints, topic: str, epoch: str, ranges: Mapping[int, tuple[int, int]], decoder: Decoder
) -> Iterator[tuple[Stretch, Ranges]]:
    """Stretches, each with what is left after it; ends early where Kafka gives no more."""
    left = {partition: span for partition, span in ranges.items() if span[0] < span[1]}
    while left:
        stretch = _read_stretch(endpoints, topic, epoch, left, decoder)
        starts = {partition: stretch.ranges.get(partition, (at, at))[1] for partition, (at, _) in left.items()}
        left = {partition: (starts[partition], end) for partition, (_, end) in left.items() if starts[partition] < end}
        yield stretch, left
        if not stretch.ranges:
            return


def _read_stretch(endpoints: Endpoints, topic: str, epoch: str, ranges: Ranges, decoder: Decoder) -> Stretch:
    """The beginning of some ranges; none where Kafka gives nothing."""
    parts, left = _Parts(topic, epoch), ranges
    moved = True
    while left and moved and parts.trades < STRETCH_TRADES:
        fetched, reached, holes = read_between(
            endpoints, topic, left, READ_TIMEOUT_S, READ_RECORDS, decoder.beside, READ_BYTES
        )
        parts.add(fetched, decoder.decode(fetched), holes)
        del fetched
        moved = any(reached[partition] > at for partition, (at, _) in left.items())
        left = {p: (reached[p], end) for p, (_, end) in left.items() if reached[p] < end}
    ends = {p: left[p][0] if p in left else end for p, (_, end) in ranges.items()}
    return parts.stretch({p: (at, ends[p]) for p, (at, _) in ranges.items() if at < ends[p]})


class _Parts:
    """A stretch in the making."""

    def __init__(self, topic: str, epoch: str) -> None:
        self._topic, self._epoch = topic, epoch
        self._rows: list[Rows] = []
        self._unread: list[tuple[int, int, int]] = []
        self._holes: list[Hole] = []
        self._filtered: list[np.ndarray] = []
        self._records = self.trades = 0

    def add(self, fetched: Fetched, decoded: Decoded, holes: list[Hole]) -> None:
        """Some records, behind those of their partitions that were added before."""
        at = decoded.record
        self._rows.append(
            Rows.of(self._topic, self._epoch, decoded.trades, fetched.partition[at], fetched.offset[at], decoded.index)
        )
        places = [(record, WHOLE_RECORD) for record, _ in decoded.broken]
        places += [(one.record, one.index) for one in decoded.refused]
        self._unread += [(int(fetched.partition[r]), int(fetched.offset[r]), index) for r, index in places]
        self._filtered.append(_places(fetched.partition[decoded.filtered], fetched.offset[decoded.filtered]))
        self._holes += holes
        self._records += len(fetched)
        self.trades += len(decoded.trades)

    def stretch(self, ranges: Ranges) -> Stretch:
        """All that was added."""
        rows = Rows.concatenate(self._rows)
        self._rows.clear()
        rows = rows.take(np.argsort(rows.partition, kind="stable"))
        unread = np.array(self._unread, np.int64).reshape(-1, 3)
        filtered = np.concatenate(self._filtered)
        return Stretch(ranges, self._records, rows, unread, filtered, tuple(self._holes))


def _places(*columns: np.ndarray) -> np.ndarray:
    return np.column_stack([column.astype(np.int64) for column in columns])


def why_unread(endpoints: Endpoints, topic: str, left: Ranges) -> str:
    """Why Kafka gives no more of a topic. left: partition → where it stands, and its end."""
    with BrokerAdmin(endpoints) as admin:
        stable = admin.stable_ends(topic, left)
    held = {p: (stable[p], end) for p, (at, end) in left.items() if stable[p] <= at}
    return open_transaction(held) if held else "Kafka did not give all of what it holds in time"
