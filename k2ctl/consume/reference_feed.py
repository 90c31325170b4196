"""Following the reference topic: the newest entry of each symbol, for enrichment and for a table of its own."""

from typing import Final

from k2ctl.clock import Clock
from k2ctl.consume.enrich import ReferenceTable
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError
from k2ctl.kafka.admin import BrokerAdmin, Watermarks
from k2ctl.kafka.reader import read_between
from k2ctl.lake.catalog import Lake
from k2ctl.lake.references import store_references
from k2ctl.timing import Every

EVERY_S: Final = 10.0
LIMIT_RECORDS: Final = 1_000_000


class ReferenceFeed:
    """Reads what is new on the reference topic every few seconds; it is small, and changes a few times a day."""

    def __init__(self, endpoints: Endpoints, topic: str, lake: Lake, clock: Clock) -> None:
        self._endpoints = endpoints
        self._topic = topic
        self._lake = lake
        self._clock = clock
        self._read_to: dict[int, int] = {}
        self._unstored = False
        self._every = Every(EVERY_S, clock)
        self.table = ReferenceTable()

    def refresh(self) -> None:
        """Take in what has come since the last time; cheap to call often."""
        if not self._every.due():
            return
        try:
            with BrokerAdmin(self._endpoints) as admin:
                marks = admin.watermarks(self._topic)
            unread = {partition: self._unread(partition, mark) for partition, mark in marks.items()}
            fetched, reached, _ = read_between(self._endpoints, self._topic, unread, 5.0, LIMIT_RECORDS)
        except BrokerError:
            return  # what is known serves on; a Kafka that stays away shows as an unknown lag
        self._read_to = reached
        if len(fetched):
            self.table.update(fetched)
            self._unstored = len(self.table.entries) > 0
        if self._unstored:
            self._unstored = not store_references(self._lake, self.table.entries, self._clock.now_us())

    def _unread(self, partition: int, mark: Watermarks) -> tuple[int, int]:
        """What a partition holds that was not read; past the end of a topic that was made anew, all of it."""
        read_to = self._read_to.get(partition, 0)
        return mark.low if read_to > mark.high else max(read_to, mark.low), mark.high
