"""Where trades of a topic may be, pinned at one moment: the table, Kafka behind it, what is deferred, dead letters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from k2ctl.checks.verify.slots import DEAD, DEFERRED, IN_LAKE, IN_TAIL, NOWHERE
from k2ctl.consume.reference_feed import reference_entries
from k2ctl.deferred.spill_files import read_spilled
from k2ctl.domain.checkpoint import TopicPartition
from k2ctl.domain.rows import identity_numbers
from k2ctl.domain.topics import dead_letter_topic, reference_topic_of
from k2ctl.domain.trade import REFERENCE
from k2ctl.endpoints import Endpoints
from k2ctl.feeds.records import Decoder
from k2ctl.feeds.stretches import why_unread
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.reader import read_between
from k2ctl.lake.catalog import Lake
from k2ctl.lake.readers import Placed, rows_of_others, stored_trades
from k2ctl.lake.snapshots import Pinned, pin

Ranges = dict[int, tuple[int, int]]

READ_RECORDS: Final = 200_000
READ_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True)
class PlacedTrades:
    """n trades (dtype `TRADE.message`) and int64[n] each, their places in Kafka."""

    trades: np.ndarray
    partition: np.ndarray
    offset: np.ndarray
    index: np.ndarray

    def take(self, positions: np.ndarray) -> "PlacedTrades":
        """Those at some positions."""
        columns = (self.trades, self.partition, self.offset, self.index)
        return PlacedTrades(*(column.take(positions) for column in columns))


class TradeSources:
    """One topic's sides. epoch: the incarnation of Kafka that runs now."""

    def __init__(self, endpoints: Endpoints, lake: Lake, topic: str, epoch: str, decoder: Decoder) -> None:
        self._endpoints, self.topic, self.epoch, self._decoder = endpoints, topic, epoch, decoder
        self._pinned = pin(lake)
        self.marks = self._marks_of(topic)
        self._dead_letters = self._marks_of(dead_letter_topic(topic))
        self.unread = ""
        """Why Kafka did not give all that it holds of the topic; empty while it did."""

        self.damaged: dict[str, str] = {}
        """Data file → why it cannot be read."""

    def _marks_of(self, topic: str) -> Ranges:
        """(low, high) of each partition; none where the topic is not there."""
        with BrokerAdmin(self._endpoints) as admin:
            if topic not in admin.topics():
                return {}
            return {partition: (mark.low, mark.high) for partition, mark in admin.watermarks(topic).items()}

    def trades(self, symbols: list[str] | None) -> Iterator[tuple[int, Placed]]:
        """All trades with their source; of some symbols (None: all) where that spares reading."""
        if self._pinned is not None:
            stored = stored_trades(self._pinned, self.topic, symbols, self.damaged.setdefault)
            yield from ((IN_LAKE, placed) for placed in stored)
        yield from ((IN_TAIL, placed) for placed in self._from_kafka(self.topic, self._tail()))
        if self._pinned is not None:
            yield from ((DEFERRED, placed) for placed in self._deferred_rows(self._pinned))
        for placed in self._from_kafka(dead_letter_topic(self.topic), self._dead_letters):
            # The place of a dead letter is not the place of its trade.
            yield DEAD, Placed(placed.trades, np.full(len(placed.trades), NOWHERE))

    def _tail(self) -> Ranges:
        by_partition = self._pinned.checkpoints.by_partition if self._pinned else {}
        found = {}
        for partition, (low, high) in self.marks.items():
            checkpoint = by_partition.get(TopicPartition(self.topic, self.epoch, partition))
            found[partition] = (max(low, checkpoint.next_offset if checkpoint else low), high)
        return found

    def rows_of_others(self) -> Iterator[pa.RecordBatch]:
        """The rows of data files that another program committed, with all columns."""
        if self._pinned is not None:
            yield from rows_of_others(self._pinned, self.damaged.setdefault)

    def reference_entries(self) -> np.ndarray:
        """All reference data that Kafka holds for the topic (dtype `REFERENCE.message`)."""
        topic = reference_topic_of(self.topic)
        if topic is None:
            return REFERENCE.empty(0)
        marks = self._marks_of(topic)
        fetched, _, _ = read_between(self._endpoints, topic, marks, READ_TIMEOUT_S, READ_RECORDS)
        return np.concatenate([REFERENCE.empty(0), *map(reference_entries, fetched.values)])

    def _from_kafka(self, topic: str, ranges: Ranges) -> Iterator[Placed]:
        for read in self.records(topic, ranges):
            yield Placed(read.trades, identity_numbers(read.offset, read.index))

    def records(self, topic: str, ranges: Mapping[int, tuple[int, int]]) -> Iterator[PlacedTrades]:
        """The trades of offset ranges, some hundred thousand records at a time; stops where Kafka gives no more."""
        left = {partition: span for partition, span in ranges.items() if span[0] < span[1]}
        while left:
            beside = self._decoder.beside
            fetched, reached, _ = read_between(self._endpoints, topic, left, READ_TIMEOUT_S, READ_RECORDS, beside)
            decoded = self._decoder.decode(fetched)
            record = decoded.record
            yield PlacedTrades(decoded.trades, fetched.partition[record], fetched.offset[record], decoded.index)
            moved = any(reached[partition] > span[0] for partition, span in left.items())
            if not moved and topic == self.topic:
                self.unread = why_unread(
                    self._endpoints, self.topic, {p: (reached[p], end) for p, (_, end) in left.items()}
                )
            left = {p: (reached[p], end) for p, (_, end) in left.items() if moved and reached[p] < end}

    def _deferred_rows(self, pinned: Pinned) -> Iterator[Placed]:
        """What is outstanding: from spill files, and from Kafka what was shed or is in a damaged file."""
        entries, damaged = pinned.checkpoints.ledger.of(self.topic).entries, {""}
        for file, epoch in dict.fromkeys((entry.spill, entry.epoch) for entry in entries if entry.spill):
            rows, intact = read_spilled(pinned, file, self.topic, epoch)
            if not intact:
                damaged.add(file)
            yield Placed(rows.trades, identity_numbers(rows.offset, rows.index))
        for entry in entries:
            low, high = self.marks.get(entry.partition, (0, 0))
            if entry.spill in damaged and entry.epoch == self.epoch:
                yield from self._from_kafka(
                    self.topic, {entry.partition: (max(low, entry.start), min(high, entry.end))}
                )
