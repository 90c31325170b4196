"""The tail in memory: a thread follows the topic from the table's offsets, so that a query does not read Kafka."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from k2ctl.domain.checkpoint import TopicPartition
from k2ctl.errors import K2Error
from k2ctl.kafka.clients import prompt_config
from k2ctl.kafka.reader import AT_ENDS, HELD_S, Hole, Reader
from k2ctl.kafka.watermarks import LogEnds
from k2ctl.query.held import HeldTail
from k2ctl.query.seam import Pinner
from k2ctl.query.stream import KafkaStream, Ranges, TailRecords, tail_records_of
from k2ctl.timing import Every, SlidingWindow

_LOG: Final = logging.getLogger("k2ctl.query")
FETCH_RECORDS: Final = 20_000
GRACE_S: Final = 5.0
"""How long trades stay in memory after they were committed: for queries that pinned before that."""
_TAKE_EVERY_S: Final = 0.02
"""What has come is decoded so often, in one piece; a query that needs it before takes it itself."""
_TRIM_EVERY_S: Final = 0.5
_WAIT_S: Final = 5.0
_RETRY_S: Final = 1.0
LIMIT_TRADES: Final = 2_000_000
"""In memory."""


class WarmStream:
    """A `Stream` that answers from memory, and from Kafka where memory is not enough. Thread-safe."""

    is_followed = True

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
        self.held = HeldTail()
        self._beside = beside
        self._pin = pinner
        self._limit = limit_trades
        self._ends = LogEnds(stream.endpoints)
        self._taking = threading.Lock()
        self._reader: Reader | None = None  # of whoever has `_taking`
        self._failed: K2Error | None = None  # what a query met when it took; the follower begins again
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
        return self.held.trades

    @property
    def positions(self) -> Mapping[int, int]:
        """Partition → the offset up to which the topic was followed."""
        return self.held.positions

    def epoch(self) -> str:
        return self._stream.epoch()

    def watermarks(self) -> dict[int, tuple[int, int]]:
        """The ends are Kafka's as of now, and so is the number of partitions.

        What retention has deleted and memory still has can be read. The start of the log was read a moment ago: what
        was deleted since shows as a hole when it is read.
        """
        epoch, lows = self.held.lows()
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

        A query right behind an acknowledgement waits until the fetch that is under way has brought it.
        """
        may_come = not self.problem and self.held.covers(epoch, ranges)
        wait_s = min(timeout_s, _WAIT_S) if may_come else 0.0
        wanted = ranges
        found = self._awaited(epoch, wanted, min(wait_s, HELD_S))
        if found is None and may_come:
            wanted = _within(ranges, self._stream.stable_ends(self.held.late(ranges)))
            found = self._awaited(epoch, wanted, wait_s)
        if found is None:
            return self._stream.read(epoch, ranges, timeout_s, limit_records)
        return found, {p: end for p, (_, end) in wanted.items()}, []

    def stable_ends(self, partitions: Collection[int], /) -> dict[int, int]:
        return self._stream.stable_ends(partitions)

    def _awaited(self, epoch: str, ranges: Ranges, within_s: float) -> list[TailRecords] | None:
        """What memory has once it has the ranges; None if it does not come to have them."""
        until_s = time.monotonic() + within_s
        while (found := self.held.found(epoch, ranges)) is None:
            left_s = until_s - time.monotonic()
            if left_s <= 0 or self.problem or self._failed:
                return None
            self._take(min(left_s, _TAKE_EVERY_S))
        return found

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
        endpoints = self._stream.endpoints
        settings = {"queued.min.messages": 50_000, **AT_ENDS, **prompt_config(endpoints)}
        with Reader(endpoints, self.topic, "k2ctl-api", self.decoder.beside, **settings) as reader:
            reader.assign(starts)
            with self._taking:
                self.held.begin(epoch, {partition: low for partition, (low, _) in marks.items()}, starts)
                self._reader, self._failed, self._problem = reader, None, ""
            try:
                self._keep_up(epoch, len(marks))
            finally:
                with self._taking:
                    self._reader = None

    def _keep_up(self, epoch: str, partitions: int) -> None:
        trim, every = _Trim(self._pin, self.topic, epoch), Every(_TRIM_EVERY_S)
        while not self._stop.is_set():
            if self._take(0.0) < FETCH_RECORDS:
                self._stop.wait(_TAKE_EVERY_S)
            if self._failed is not None:
                raise self._failed
            if every.due():
                self.held.forget(trim.committed())
                now = self._stream.watermarks()
                if self._stream.epoch() != epoch or len(now) != partitions:
                    return
                self.held.note_lows({partition: low for partition, (low, _) in now.items()})

    def _take(self, wait_s: float) -> int:
        """Take what has come, or what comes first within the time, on the thread that needs it; how many records."""
        with self._taking:
            if self._reader is None:
                self._stop.wait(wait_s)
                return 0
            if self.held_trades + self._beside() >= self._limit:
                self._problem = f"{self._limit:,} trades wait for their commit; more are not kept in memory"
                return 0
            self._problem = ""
            try:
                return self._taken(self._reader, wait_s)
            except K2Error as error:
                self._failed = error
                return 0

    def _taken(self, reader: Reader, wait_s: float) -> int:
        if not reader.wait(wait_s):
            return 0
        # All that is there: consume() waits its whole timeout unless as many came as were asked for.
        fetched, holes = reader.fetch(FETCH_RECORDS, 0.0), reader.holes()
        if len(fetched) or holes or reader.positions != self.held.positions:
            self.held.add(tail_records_of(fetched, self.decoder), holes, reader.positions)
        return len(fetched)


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
