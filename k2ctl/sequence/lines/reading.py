"""A line's topic, read from Kafka and decoded by its feed, and from when to when it can be compared with others."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from k2ctl.domain.rows import Rows
from k2ctl.domain.trade import Window
from k2ctl.domain.validity import FUTURE_TOLERANCE_US
from k2ctl.endpoints import Endpoints
from k2ctl.feeds.records import Decoder
from k2ctl.feeds.stretches import Ranges, Stretch, read_stretches, why_unread
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.watermarks import LogEnds

ALWAYS_NS: Final = int(np.iinfo(np.int64).min)
NEVER_NS: Final = int(np.iinfo(np.int64).max)

Say = Callable[[str], None]


@dataclass
class LineRead:
    """What was read of a line, in records, and in trades where it says so."""

    name: str
    topic: str
    # Whether the receive time is the timestamp of the Kafka record, in whole milliseconds; else the record says it.
    by_kafka_time: bool
    records: int = 0
    # Trades that the consumer dead-letters, and records that hold none.
    refused: int = 0
    undecodable: int = 0
    # Records before the first that Kafka still holds.
    gone: int = 0
    # Why Kafka did not give all that it holds; else empty.
    unread: str = ""
    # Of all trades of the window, whether they are compared or not.
    first_received_ns: int | None = None
    last_received_ns: int | None = None
    # Partition → when the first trade that Kafka still holds was received, where it holds no longer all.
    begins_ns: dict[int, int] = field(default_factory=dict)
    # Partition → when the last trade was received that could be read, where not all could.
    ends_ns: dict[int, int] = field(default_factory=dict)

    @property
    def from_ns(self) -> int:
        """Whatever was received from then on is still there; NEVER_NS where nobody can know."""
        return max(self.begins_ns.values(), default=ALWAYS_NS)

    @property
    def until_ns(self) -> int:
        """Whatever was received by then could be read."""
        return min(self.ends_ns.values(), default=NEVER_NS)

    def note(self, rows: Rows) -> None:
        """Some trades of the window."""
        received = rows.trades["received_ns"]
        if len(received):
            first, last = int(received.min()), int(received.max())
            self.first_received_ns = first if self.first_received_ns is None else min(first, self.first_received_ns)
            self.last_received_ns = last if self.last_received_ns is None else max(last, self.last_received_ns)


class LineReader:
    """Reads one topic from where the window may begin to where it ends now."""

    def __init__(self, endpoints: Endpoints, name: str, topic: str, decoder: Decoder, window: Window) -> None:
        """Takes the watermarks: what was acknowledged before is before them.

        Raises:
            BrokerError: there is no such topic, or Kafka does not answer.
        """
        declared = decoder.declared
        by_kafka_time = declared is not None and declared.feed.trade.ingestion_timestamp is None
        self.read = LineRead(name, topic, by_kafka_time)
        self._endpoints, self._decoder, self._window = endpoints, decoder, window
        with BrokerAdmin(endpoints) as admin:
            self._epoch = admin.epoch(topic)
            marks = admin.watermarks(topic)
        starts = {partition: mark.low for partition, mark in marks.items()}
        if window.since_us is not None and endpoints.engine != "embedded":
            # No trade is further ahead of the clock, and so none is in an earlier record.
            found = LogEnds(endpoints).since(topic, marks, (window.since_us - FUTURE_TOLERANCE_US) // 1000)
            starts = {p: marks[p].high if at is None else max(marks[p].low, at) for p, at in found.items()}
        self._ranges: Ranges = {partition: (starts[partition], mark.high) for partition, mark in marks.items()}
        self.read.gone = sum(mark.low for mark in marks.values())
        for partition, mark in marks.items():
            if mark.low and self._ranges[partition][0] == mark.low:
                self.read.begins_ns[partition] = NEVER_NS

    def trades(self, now_us: int, say: Say) -> Iterator[Rows]:
        """The good trades of the window, some hundred thousand records at a time."""
        total = sum(end - at for at, end in self._ranges.values())
        left = {p: span for p, span in self._ranges.items() if span[0] < span[1]}
        last: dict[int, int] = {}
        stretches = read_stretches(self._endpoints, self.read.topic, self._epoch, self._ranges, self._decoder)
        for stretch, rest in stretches:
            left = rest
            self._note(stretch, last)
            yield self._good(stretch.rows, now_us)
            say(f"{self.read.topic}: {1 - sum(end - at for at, end in left.values()) / max(1, total):.0%}")
        if left:
            self.read.unread = why_unread(self._endpoints, self.read.topic, left)
            self.read.ends_ns = {partition: last.get(partition, ALWAYS_NS) for partition in left}

    def _note(self, stretch: Stretch, last: dict[int, int]) -> None:
        read, rows = self.read, stretch.rows
        read.records += stretch.records
        read.undecodable += int((stretch.unread[:, 2] < 0).sum())
        read.refused += int((stretch.unread[:, 2] >= 0).sum())
        present, first = np.unique(rows.partition, return_index=True)
        ends = np.append(first[1:], len(rows))
        for partition, at, end in zip(present.tolist(), first.tolist(), ends.tolist(), strict=True):
            received = rows.trades["received_ns"][at:end]
            last[partition] = max(last.get(partition, ALWAYS_NS), int(received.max()))
            if read.begins_ns.get(partition) == NEVER_NS:
                read.begins_ns[partition] = int(received[0])
        for hole in stretch.holes:
            later = rows.trades["received_ns"][rows.partition == hole.partition]
            read.gone += hole.first - hole.asked
            read.begins_ns[hole.partition] = int(later[0]) if len(later) else NEVER_NS

    def _good(self, rows: Rows, now_us: int) -> Rows:
        bad = self._decoder.invalid(rows.trades, now_us)
        self.read.refused += len(bad)
        good = rows.take(np.delete(np.arange(len(rows)), list(bad))) if bad else rows
        inside = good.take(self._window.holds(good.trades["event_ns"] // 1000))
        self.read.note(inside)
        return inside
