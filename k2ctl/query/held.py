"""What memory has of a topic that is followed: everything from some offsets on, but for what was committed long ago."""

import threading
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from k2ctl.domain.trade import joined_trades
from k2ctl.kafka.reader import Hole
from k2ctl.query.stream import Ranges, TailRecords, symbols_of

_PARTS: Final = 64
_LARGE: Final = 50_000
"""Past so many parts the small ones become one: a query looks through each."""


class HeldTail:
    """The records of one incarnation of a topic, up to where it was followed. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epoch = ""
        self._parts: list[TailRecords] = []
        self._low: dict[int, int] = {}  # per partition where the log began when it was last looked at
        self._first: dict[int, int] = {}  # the offset from which on memory has everything
        self._next: dict[int, int] = {}  # and up to which

    @property
    def parts(self) -> tuple[TailRecords, ...]:
        """The records, in the order they came."""
        return tuple(self._parts)

    @property
    def trades(self) -> int:
        """How many there are."""
        return sum(len(part.trades) for part in self._parts)

    @property
    def positions(self) -> Mapping[int, int]:
        """Partition → the offset up to which the topic was followed."""
        return dict(self._next)

    def begin(self, epoch: str, lows: Mapping[int, int], starts: Mapping[int, int]) -> None:
        """Forget everything; another incarnation is followed, or more partitions are."""
        with self._lock:
            self._epoch, self._parts, self._first, self._next = epoch, [], dict(starts), dict(starts)
            self._low = dict(lows)

    def note_lows(self, lows: Mapping[int, int]) -> None:
        """Where the log begins now."""
        with self._lock:
            self._low = dict(lows)

    def lows(self) -> tuple[str, dict[int, int]]:
        """The incarnation, and per partition the first offset that can be read, in Kafka or in memory."""
        with self._lock:
            return self._epoch, {p: min(low, self._first.get(p, low)) for p, low in self._low.items()}

    def add(self, received: TailRecords, holes: Sequence[Hole], positions: Mapping[int, int]) -> None:
        """What has come, and up to where."""
        with self._lock:
            for hole in holes:  # what came before is not complete any more
                self._first[hole.partition] = hole.first
            self._parts.append(received)
            self._next = dict(positions)
            if len(self._parts) > _PARTS:
                large = [part for part in self._parts if len(part.trades) >= _LARGE]
                self._parts = [*large, *merged([part for part in self._parts if len(part.trades) < _LARGE])]

    def forget(self, committed: Mapping[int, int]) -> None:
        """Drop what is before some offsets."""
        with self._lock:
            kept = []
            for part in self._parts:
                mask = part.offset >= _of(committed, part.partition)
                broken = part.broken[:, 1] >= _of(committed, part.broken[:, 0])
                if len(mask) and mask.all():
                    kept.append(part)
                elif mask.any() or broken.any():
                    kept.append(_where(part, mask, broken))
            self._parts = kept
            self._first = {p: max(first, committed.get(p, first)) for p, first in self._first.items()}

    def covers(self, epoch: str, ranges: Ranges) -> bool:
        """True if memory reaches back far enough; it never will later."""
        with self._lock:
            return self._covers(epoch, ranges)

    def found(self, epoch: str, ranges: Ranges) -> list[TailRecords] | None:
        """The records, if the ranges are among them; else None."""
        with self._lock:
            reached = all(start >= end or self._next.get(p, 0) >= end for p, (start, end) in ranges.items())
            return list(self._parts) if reached and self._covers(epoch, ranges) else None

    def late(self, ranges: Ranges) -> list[int]:
        """The partitions of which the ranges go on behind memory."""
        return [p for p, (_, end) in ranges.items() if self._next.get(p, 0) < end]

    def _covers(self, epoch: str, ranges: Ranges) -> bool:
        begins = (start >= end or self._first.get(p, end) <= start for p, (start, end) in ranges.items())
        return epoch == self._epoch and all(begins)


def _of(offsets: Mapping[int, int], partition: np.ndarray) -> np.ndarray:
    """int64[n]: the offset of each one's partition, 0 where there is none."""
    limits = np.zeros(int(max(partition.max(initial=0), max(offsets, default=0))) + 1, np.int64)
    for number, offset in offsets.items():
        limits[number] = offset
    found: np.ndarray = limits[partition]
    return found


def _where(part: TailRecords, mask: np.ndarray, broken: np.ndarray) -> TailRecords:
    return TailRecords(
        part.trades[mask],
        part.partition[mask],
        part.offset[mask],
        part.index[mask],
        part.records,
        part.broken[broken],
        part.codes[mask],
        part.symbols,
        part.newest_us,
        part.events,
    )


def merged(parts: Sequence[TailRecords]) -> list[TailRecords]:
    """Many small parts as one, so that a query looks through few."""
    if not parts:
        return []
    trades = joined_trades([part.trades for part in parts])
    return [
        TailRecords(
            trades,
            np.concatenate([part.partition for part in parts]),
            np.concatenate([part.offset for part in parts]),
            np.concatenate([part.index for part in parts]),
            sum(part.records for part in parts),
            np.concatenate([part.broken for part in parts]),
            *symbols_of(trades),
            max(part.newest_us for part in parts),
            any(part.events for part in parts),
        )
    ]
