"""The stream's side of the seam: a topic with its incarnation, its watermarks and a bounded read."""

from collections.abc import Mapping
from typing import Protocol

from k2ctl.broker.admin import BrokerAdmin
from k2ctl.broker.reader import Fetched, Hole, read_between
from k2ctl.home import Endpoints
from k2ctl.schema.topics import WireFormat


class Stream(Protocol):
    """A topic to read the tail of."""

    topic: str
    wire_format: WireFormat

    def epoch(self) -> str:
        """The incarnation of the topic."""
        ...

    def watermarks(self) -> dict[int, tuple[int, int]]:
        """Partition → (first offset, end) of the log now; empty when the topic does not exist yet."""
        ...

    def read(
        self, ranges: Mapping[int, tuple[int, int]], timeout_s: float, limit_records: int
    ) -> tuple[Fetched, dict[int, int], list[Hole]]:
        """The records of [start, end) per partition, the offset each was read to, and the holes on the way."""
        ...


class KafkaStream:
    """A topic of the running stack."""

    def __init__(self, endpoints: Endpoints, topic: str, wire_format: WireFormat = "sbe") -> None:
        self.topic = topic
        self.wire_format = wire_format
        self._endpoints = endpoints
        self._admin = BrokerAdmin(endpoints)

    def epoch(self) -> str:
        return self._admin.epoch(self.topic)

    def watermarks(self) -> dict[int, tuple[int, int]]:
        if self.topic not in self._admin.topics():
            return {}
        return {partition: (mark.low, mark.high) for partition, mark in self._admin.watermarks(self.topic).items()}

    def read(
        self, ranges: Mapping[int, tuple[int, int]], timeout_s: float, limit_records: int
    ) -> tuple[Fetched, dict[int, int], list[Hole]]:
        return read_between(self._endpoints, self.topic, ranges, timeout_s, limit_records)
