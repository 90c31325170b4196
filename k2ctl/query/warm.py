"""The tail in memory: a thread follows the topic from the table's offsets, so that a query does not read Kafka."""

import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import numpy as np

from k2ctl.domain.checkpoint import TopicPartition
from k2ctl.errors import K2Error
from k2ctl.kafka.reader import AT_ENDS, HELD_S, Hole, Reader
from k2ctl.kafka.watermarks import LogEnds
from k2ctl.lake.snapshots import Pinned
from k2ctl.query.seam import Pinner
from k2ctl.query.stream import KafkaStream, KafkaStreams, Ranges, TailRecords, symbols_of, tail_records_of
from k2ctl.timing import Every, SlidingWindow

_LOG: Final = logging.getLogger("k2ctl.query")
FETCH_RECORDS: Final = 20_000
GRACE_S: Final = 5.0
"""How long trades stay in memory after they were committed: for queries that pinned before that."""
_TRIM_EVERY_S: Final = 0.5
_WAIT_S: Final = 5.0
_PARTS: Final = 64
_LARGE: Final = 50_000
"""Past so many parts the small ones become one: a query looks through each."""
_RETRY_S: Final = 1.0
LIMIT_TRADES: Final = 2_000_000
"""In memory."""


class WarmStream:
    """A `Stream` that answers from memory, and from Kafka where memory is not enough. Thread-safe."""

    def __init__(
        self,
        stream: KafkaStream,
        pinner: Pinner,
        limit_trades: int = LIMIT_TRADES,
        beside: Callable[[], int] = lambda: 0,
    ) -> None:
        """limit_trades: of this topic and `beside`, those of others."""
        self.topic = stream.topic
        self.decoder = stream.decoder
        self.stream = self._stream = stream
        self._beside = beside
        self._pin = pinner
        self._limit = limit_trades
        self._ends = LogEnds(stream.endpoints)
        self._changed = threading.Condition()
        self._epoch = ""
        self._received: list[TailRecords] = []
        self._low: dict[int, int] = {}  # per partition where the log began when it was last looked at
        self._first: dict[int, int] = {}  # the offset from which on memory has everything
        self._next: dict[int, int] = {}  # and up to which
        self._problem = "it has not begun"
        # True while Kafka has no such topic.
        self.is_absent = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="k2-tail", daemon=True)

    def start(self) -> "WarmStream":
        """Begin to follow."""
        self._thread.start()
        return self

    def close(self) -> None:
        """End the following."""
        self._stop.set()
        self._thread.join(5.0)

    @property
    def problem(self) -> str:
        """Why the tail is not being followed; empty while it is."""
        return self._problem if self._thread.is_alive() else "the thread that follows it has ended"

    @property
    def held_trades(self) -> int:
        """Trades in memory."""
        return sum(len(part.trades) for part in self._received)

    @property
    def positions(self) -> Mapping[int, int]:
        """Partition → the offset up to which the topic was followed."""
        return dict(self._next)

    def epoch(self) -> str:
        return self._stream.epoch()

    def watermarks(self) -> dict[int, tuple[int, int]]:
        """The ends are Kafka's as of now, and so is the number of partitions.

        What retention has deleted and memory still has can be read. The start of the log was read a moment ago: what
        was deleted since shows as a hole when it is read.
        """
        with self._changed:
            epoch = self._epoch
            lows = {p: min(low, self._first.get(p, low)) for p, low in self._low.items()}
        count, highs = self._ends.of(self.topic, lows)
        # Of a topic that was made again, the old start would leave out what is before it without a word.
        if count != len(lows) or (any(lows.values()) and self._stream.epoch() != epoch):
            return self._stream.watermarks()
        return {partition: (lows[partition], high) for partition, high in highs.items()}

    def partitions_with(self, symbols: Sequence[str], partitions: int) -> Collection[int] | None:
        return self._stream.partitions_with(symbols, partitions)

    def read(
        self, epoch: str, ranges: Ranges, timeout_s: float, limit_records: int, /
    ) -> tuple[Sequence[TailRecords], dict[int, int], list[Hole]]:
        """From memory, once it has come as far as the ranges; else from Kafka.

        Following takes some ten milliseconds, so a query right behind an acknowledgement waits that long.
        """
        with self._changed:
            may_come = epoch == self._epoch and not self.problem and self._covers(ranges)
            wait_s = min(timeout_s, _WAIT_S) if may_come else 0.0
            if self._changed.wait_for(lambda: self._reached(epoch, ranges), min(wait_s, HELD_S)):
                return list(self._received), {p: end for p, (_, end) in ranges.items()}, []
            late = {p: end for p, (_, end) in ranges.items() if self._next.get(p, 0) < end}
        if may_come:
            stable = self._stream.stable_ends(late)
            with self._changed:
                if self._changed.wait_for(lambda: self._reached(epoch, _within(ranges, stable)), wait_s):
                    reached = {p: min(end, stable.get(p, end)) for p, (_, end) in ranges.items()}
                    return list(self._received), reached, []
        return self._stream.read(epoch, ranges, timeout_s, limit_records)

    def stable_ends(self, partitions: Collection[int], /) -> dict[int, int]:
        return self._stream.stable_ends(partitions)

    def _covers(self, ranges: Ranges) -> bool:
        """True if memory reaches back far enough; it never will later."""
        return all(start >= end or self._first.get(p, end) <= start for p, (start, end) in ranges.items())

    def _reached(self, epoch: str, ranges: Ranges) -> bool:
        """True if memory has the ranges."""
        ends = (start >= end or self._next.get(p, 0) >= end for p, (start, end) in ranges.items())
        return epoch == self._epoch and self._covers(ranges) and all(ends)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except K2Error as error:
                if str(error) != self._problem:
                    _LOG.warning("the tail is not followed: %s", error)
                self._problem = str(error)
            self._stop.wait(_RETRY_S)

    def _follow(self) -> None:
        """One incarnation of the topic, until it ends, is another one, or has more partitions."""
        marks = self._stream.watermarks()
        if not marks:
            self._problem, self.is_absent = f"there is no topic {self.topic} yet", True
            return
        self.is_absent = False
        epoch, pinned = self._stream.epoch(), self._pin()
        by_partition = pinned.checkpoints.by_partition if pinned else {}
        starts = {}
        for partition, (low, high) in marks.items():
            checkpoint = by_partition.get(TopicPartition(self.topic, epoch, partition))
            starts[partition] = min(max(low, checkpoint.next_offset if checkpoint else low), high)
        with self._changed:
            self._epoch, self._received, self._first, self._next = epoch, [], dict(starts), dict(starts)
            self._low = {partition: low for partition, (low, _) in marks.items()}
        settings = {"queued.min.messages": 50_000, **AT_ENDS}
        with Reader(self._stream.endpoints, self.topic, "k2ctl-api", self.decoder.beside, **settings) as reader:
            reader.assign(starts)
            self._problem = ""
            trim = _Trim(self._pin, self.topic, epoch)
            every = Every(_TRIM_EVERY_S)
            while not self._stop.is_set():
                self._take(reader)
                if every.due():
                    self._forget(trim.committed())
                    now = self._stream.watermarks()
                    if self._stream.epoch() != epoch or len(now) != len(marks):
                        return
                    self._low = {partition: low for partition, (low, _) in now.items()}

    def _take(self, reader: Reader) -> None:
        if self.held_trades + self._beside() >= self._limit:
            self._problem = f"{self._limit:,} trades wait for their commit; more are not kept in memory"
            self._stop.wait(0.05)
            return
        self._problem = ""
        # consume() waits the whole timeout unless as many came as were asked for, so it is kept short.
        fetched = reader.fetch(FETCH_RECORDS, 0.005)
        holes = reader.holes()
        if not len(fetched) and not holes and reader.positions == self._next:
            return
        received = tail_records_of(fetched, self.decoder)
        with self._changed:
            for hole in holes:  # what came before is not complete any more
                self._first[hole.partition] = hole.first
            self._received.append(received)
            self._next = reader.positions
            if len(self._received) > _PARTS:
                large = [part for part in self._received if len(part.trades) >= _LARGE]
                self._received = [*large, *merged([part for part in self._received if len(part.trades) < _LARGE])]
            self._changed.notify_all()

    def _forget(self, committed: Mapping[int, int]) -> None:
        """Drop what was committed a while ago."""
        with self._changed:
            kept = []
            for part in self._received:
                limit = _of(committed, part.partition)
                mask = part.offset >= limit
                broken = part.broken[:, 1] >= _of(committed, part.broken[:, 0])
                if len(mask) and mask.all():
                    kept.append(part)
                elif mask.any() or broken.any():
                    kept.append(_where(part, mask, broken))
            self._received = kept
            self._first = {p: max(first, committed.get(p, first)) for p, first in self._first.items()}


class WarmStreams:
    """`Streams` that answer from memory: each topic is followed from when a table first has it. Thread-safe."""

    def __init__(self, streams: KafkaStreams, pinner: Pinner, limit_trades: int = LIMIT_TRADES) -> None:
        self._streams = streams
        self._pin = pinner
        self._limit = limit_trades
        self._lock = threading.Lock()
        self._warm: dict[str, WarmStream] = {}

    def __call__(self, pinned: Pinned | None) -> Sequence[WarmStream]:
        with self._lock:
            wanted = {stream.topic: stream for stream in self._streams(pinned)}
            for topic, warm in tuple(self._warm.items()):
                if wanted.get(topic) is not warm.stream:  # its feed has changed, or the table is another one
                    self._warm.pop(topic).close()
            for topic, stream in wanted.items():
                if topic not in self._warm:
                    self._warm[topic] = self._begun(stream)
            return [self._warm[topic] for topic in wanted]

    def _begun(self, stream: KafkaStream) -> WarmStream:
        def beside() -> int:
            return sum(warm.held_trades for topic, warm in tuple(self._warm.items()) if topic != stream.topic)

        return WarmStream(stream, self._pin, self._limit, beside).start()

    @property
    def problem(self) -> str:
        """Why a topic is not being followed; empty while all are that Kafka has, of those of the table."""
        every = tuple(self._warm.values())
        there = [warm for warm in every if not warm.is_absent] or every
        return "; ".join(problem for warm in there if (problem := warm.problem))

    @property
    def held_trades(self) -> int:
        """Trades in memory."""
        return sum(warm.held_trades for warm in tuple(self._warm.values()))

    @property
    def symbols(self) -> set[str]:
        """Those of the trades in memory."""
        parts = (part for warm in tuple(self._warm.values()) for part in tuple(warm._received))
        return {symbol for part in parts for symbol in part.symbols}

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that are followed."""
        return tuple(self._warm)

    def close(self) -> None:
        """End the following."""
        with self._lock:
            for warm in self._warm.values():
                warm.close()


def _within(ranges: Ranges, ends: Mapping[int, int]) -> Ranges:
    """Ranges that go no further than the ends, where those are known."""
    return {p: (start, min(end, ends.get(p, end))) for p, (start, end) in ranges.items()}


class _Trim:
    """What was committed `GRACE_S` ago, per partition."""

    def __init__(self, pinner: Pinner, topic: str, epoch: str) -> None:
        self._pin = pinner
        self._topic = topic
        self._epoch = epoch
        self._past = SlidingWindow[dict[int, int]](GRACE_S)

    def committed(self) -> dict[int, int]:
        """Partition → the offset before which nothing is needed any more."""
        pinned = self._pin()
        by_partition = pinned.checkpoints.by_partition.items() if pinned else ()
        offsets = {
            partition.partition: checkpoint.next_offset
            for partition, checkpoint in by_partition
            if (partition.topic, partition.epoch) == (self._topic, self._epoch)
        }
        self._past.add(offsets)
        return self._past.expired or {}


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
    trades = np.concatenate([part.trades for part in parts])
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
