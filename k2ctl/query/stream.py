"""The stream's side of the seam: a topic with its incarnation, its watermarks and a bounded read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from k2ctl.broker.admin import BrokerAdmin
from k2ctl.broker.reader import Fetched, Hole, read_between
from k2ctl.home import Endpoints
from k2ctl.schema.texts import codes_of
from k2ctl.schema.topics import WireFormat
from k2ctl.schema.wire import CODECS

Ranges = Mapping[int, tuple[int, int]]
"""partition → offsets [start, end)"""


@dataclass(frozen=True)
class Heard:
    """n trades of a topic, as decoded.

    trades: dtype `TRADE.message`. partition, offset, index: int32, int64, int32 [n]. records: how many they came in.
    broken: int64[k, 2], partition and offset of each record that is not a frame of trades. symbols: all that occur.
    """

    trades: np.ndarray
    partition: np.ndarray
    offset: np.ndarray
    index: np.ndarray
    records: int
    broken: np.ndarray
    symbols: frozenset[str]


def heard_of(fetched: Fetched, wire_format: WireFormat) -> Heard:
    """Decode what was fetched."""
    decoded = CODECS[wire_format].decode(fetched.values)
    broken = np.array([number for number, _ in decoded.broken], np.int64)
    return Heard(
        decoded.trades,
        fetched.partition[decoded.record],
        fetched.offset[decoded.record],
        decoded.index,
        len(fetched),
        np.stack([fetched.partition[broken].astype(np.int64), fetched.offset[broken]], axis=1),
        frozenset(text.decode("ascii", "replace") for text in codes_of(decoded.trades["symbol"])[1].tolist()),
    )


class Stream(Protocol):
    """A topic to read the tail of."""

    topic: str

    def epoch(self) -> str:
        """The incarnation of the topic."""
        ...

    def watermarks(self) -> dict[int, tuple[int, int]]:
        """Partition → (first offset, end) of what can be read now; empty when the topic does not exist yet."""
        ...

    def read(
        self, epoch: str, ranges: Ranges, timeout_s: float, limit_records: int, /
    ) -> tuple[Sequence[Heard], dict[int, int], list[Hole]]:
        """The trades of the records in `ranges`, the offset each partition was read to, and the holes on the way.

        What comes may hold records outside of the ranges; the caller leaves them out.
        """
        ...


class KafkaStream:
    """A topic of the running stack."""

    def __init__(self, endpoints: Endpoints, topic: str, wire_format: WireFormat = "sbe") -> None:
        self.topic = topic
        self.wire_format = wire_format
        self.endpoints = endpoints
        self._admin = BrokerAdmin(endpoints)

    def epoch(self) -> str:
        return self._admin.epoch(self.topic)

    def watermarks(self) -> dict[int, tuple[int, int]]:
        if self.topic not in self._admin.topics():
            return {}
        return {partition: (mark.low, mark.high) for partition, mark in self._admin.watermarks(self.topic).items()}

    def read(
        self, _: str, ranges: Ranges, timeout_s: float, limit_records: int
    ) -> tuple[Sequence[Heard], dict[int, int], list[Hole]]:
        fetched, reached, holes = read_between(self.endpoints, self.topic, ranges, timeout_s, limit_records)
        return [heard_of(fetched, self.wire_format)], reached, holes
