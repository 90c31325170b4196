"""The stream's side of the seam: a topic with its incarnation, its watermarks and a bounded read."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from k2ctl.domain.recorded_feeds import RecordedFeed
from k2ctl.domain.rows import Rows
from k2ctl.domain.texts import codes_of
from k2ctl.domain.topics import is_pattern, topics_named
from k2ctl.domain.trade import NEW
from k2ctl.endpoints import Endpoints
from k2ctl.feeds.records import SBE, Decoder
from k2ctl.feeds.topics import TopicFeeds
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.reader import Fetched, Hole, read_between
from k2ctl.lake.checkpoints import feeds_in
from k2ctl.lake.snapshots import Pinned
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import Placement

Ranges = Mapping[int, tuple[int, int]]
"""partition → offsets [start, end)"""


@dataclass(frozen=True)
class TailRecords:
    """n trades of a topic, as decoded."""

    # Dtype `TRADE.message`.
    trades: np.ndarray
    # int32, int64, int32 [n]: where in Kafka each trade is.
    partition: np.ndarray
    offset: np.ndarray
    index: np.ndarray
    # How many records they came in.
    records: int
    # int64[k, 2]: partition and offset of each record of which not every trade could be read.
    broken: np.ndarray
    # int32[n]: the place of each trade's symbol in `symbols`. A symbol is found among numbers in a tenth of the time.
    codes: np.ndarray
    symbols: tuple[str, ...]
    # The latest record timestamp, by which trades are judged where this clock is behind.
    newest_us: int = 0
    # Whether corrections or cancellations may be among the trades.
    events: bool = False

    def rows(self, topic: str, epoch: str, positions: np.ndarray) -> Rows:
        """The trades at some positions (integers), as rows."""
        trades, partition, offset, index = (
            column.take(positions) for column in (self.trades, self.partition, self.offset, self.index)
        )
        return Rows.of(topic, epoch, trades, partition, offset, index)

    def of(self, symbols: Sequence[str] | None) -> np.ndarray:
        """int64[k]: the positions of the trades of `symbols`; None is every symbol."""
        if symbols is None:
            return np.arange(len(self.trades))
        places = [self.symbols.index(symbol) for symbol in symbols if symbol in self.symbols]
        mask = self.codes == places[0] if places else np.zeros(len(self.codes), np.bool_)
        for place in places[1:]:
            mask |= self.codes == place
        return np.flatnonzero(mask)


def tail_records_of(fetched: Fetched, decoder: Decoder) -> TailRecords:
    """Decode what was fetched."""
    decoded = decoder.decode(fetched)
    trades = decoded.trades
    unread = {*(number for number, _ in decoded.broken), *(one.record for one in decoded.refused)}
    broken = np.array(sorted(unread), np.int64)
    codes, names = symbols_of(trades)
    return TailRecords(
        trades,
        fetched.partition[decoded.record],
        fetched.offset[decoded.record],
        decoded.index,
        len(fetched),
        np.stack([fetched.partition[broken].astype(np.int64), fetched.offset[broken]], axis=1),
        codes,
        names,
        (fetched.newest_ms or 0) * 1000,
        bool((trades["action"] != NEW).any()),
    )


def symbols_of(trades: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """`codes` and `symbols` of `TailRecords`."""
    codes, names = codes_of(trades["symbol"])
    return codes, tuple(name.decode("utf-8", "replace") for name in names.tolist())


class Stream(Protocol):
    """A topic to read the tail of."""

    topic: str
    decoder: Decoder
    # True if it comes into memory by itself, whatever is asked.
    is_followed: bool

    def epoch(self) -> str:
        """The incarnation of the topic."""
        ...

    def watermarks(self) -> dict[int, tuple[int, int]]:
        """Partition → (first offset, end) of what can be read now; empty when the topic does not exist yet."""
        ...

    def stable_ends(self, partitions: Collection[int], /) -> dict[int, int]:
        """Partition → the offset up to which it can be read: nothing behind an open transaction can."""
        ...

    def partitions_with(self, symbols: Sequence[str], partitions: int, /) -> Collection[int] | None:
        """Which of so many partitions may have trades of the symbols; None: any of them."""
        ...

    def read(
        self, epoch: str, ranges: Ranges, timeout_s: float, limit_records: int, /
    ) -> tuple[Sequence[TailRecords], dict[int, int], list[Hole]]:
        """The trades of the records in `ranges`, the offset each partition was read to, and the holes on the way.

        Records outside of the ranges may be among them; the caller leaves them out.
        """
        ...


Streams = Callable[[Pinned | None], Sequence[Stream]]
"""The topics that a pinned table is filled from, each once."""


class KafkaStream:
    """A topic of the running stack."""

    is_followed = False

    def __init__(
        self,
        endpoints: Endpoints,
        topic: str,
        decoder: Decoder = SBE,
        admin: BrokerAdmin | None = None,
        placement: Placement | None = None,
    ) -> None:
        """admin: a connection to share. placement: where symbols are; None where they may be anywhere."""
        self.topic = topic
        self.decoder = decoder
        self.endpoints = endpoints
        self._admin = admin or BrokerAdmin(endpoints)
        self._placement = placement

    def epoch(self) -> str:
        return self._admin.epoch(self.topic)

    def watermarks(self) -> dict[int, tuple[int, int]]:
        if self.topic not in self._admin.topics():
            return {}
        return {partition: (mark.low, mark.high) for partition, mark in self._admin.watermarks(self.topic).items()}

    def stable_ends(self, partitions: Collection[int]) -> dict[int, int]:
        return self._admin.stable_ends(self.topic, partitions)

    def partitions_with(self, symbols: Sequence[str], partitions: int) -> Collection[int] | None:
        placement = self._placement
        # A topic of another number of partitions was not filled as the profile says.
        return None if placement is None or placement.partitions != partitions else placement.partitions_with(symbols)

    def read(
        self, _: str, ranges: Ranges, timeout_s: float, limit_records: int
    ) -> tuple[Sequence[TailRecords], dict[int, int], list[Hole]]:
        fetched, reached, holes = read_between(
            self.endpoints, self.topic, ranges, timeout_s, limit_records, self.decoder.beside
        )
        return [tail_records_of(fetched, self.decoder)] if len(fetched) else [], reached, holes


class KafkaStreams:
    """`Streams` of the running stack: those that the table was filled from, and the profile's where they are there.

    Not thread-safe.
    """

    def __init__(self, endpoints: Endpoints, profile: Profile) -> None:
        self._endpoints = endpoints
        self._profile = profile
        self._admin = BrokerAdmin(endpoints)
        self._known: dict[tuple[str, RecordedFeed | None], KafkaStream] = {}

    def __call__(self, pinned: Pinned | None) -> Sequence[KafkaStream]:
        stored = sorted(pinned.checkpoints.topics) if pinned else []
        feeds = TopicFeeds(self._profile, feeds_in(pinned.table) if pinned else {})
        return [self._stream(topic, feeds) for topic in (*self._own(stored), *stored)]

    def _own(self, stored: Sequence[str]) -> list[str]:
        """The profile's topics that the table does not know yet; a table may be filled from others only."""
        own = self._profile.trades_topic
        if own in stored:
            return []
        if not stored and not is_pattern(own):
            return [own]
        return [topic for topic in topics_named(own, self._admin.topics()) if topic not in stored]

    def _stream(self, topic: str, feeds: TopicFeeds) -> KafkaStream:
        key = (topic, feeds.recorded.get(topic))
        if key not in self._known:
            own = topic == self._profile.trades_topic
            placement = Placement.of(self._profile.topic) if own else None
            self._known[key] = KafkaStream(self._endpoints, topic, feeds.decoder(topic), self._admin, placement)
        return self._known[key]
