"""How long Kafka will hold what is deferred: whether trades may be left there, and when they have to leave.

A real Kafka keeps records for a time that is known. The embedded engine keeps `RETENTION_BYTES` of a partition, and
drops what is older in silence whenever somebody writes: trades are left there only while they are a small part of that.
"""

import logging
import math
from collections.abc import Iterable, Mapping
from typing import Final

from k2ctl.clock import Clock
from k2ctl.domain.ledger import Ledger
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, first_line
from k2ctl.kafka.admin import BrokerAdmin, Watermarks
from k2ctl.kafka.embedded import RETENTION_BYTES
from k2ctl.kafka.reader import Fetched
from k2ctl.timing import Every

LOG: Final = logging.getLogger("k2ctl.deferred")

NEEDED_HOURS: Final = 1.0
"""A topic that keeps its records for less is no place to leave trades in: they are spilled instead."""

CHECK_EVERY_S: Final = 10.0
PRESSES_BELOW: Final = 0.2
"""Outstanding ranges in the oldest fifth of a log that retention deletes from are backfilled at any level."""

ROOM_PRESSES_AT: Final = 0.45
"""The same on the embedded engine, by what the log holds since a range began, as a fraction of what it keeps. Below the
half at which a load that was held up goes on, so that a range never holds one up."""

RECORD_OVERHEAD_BYTES: Final = 70
"""What a record may take beside its value: 61 for the head of a set that holds it alone, and its own lengths."""


class RetentionWatch:
    """Watches the log of one topic, while Kafka holds something that is outstanding."""

    def __init__(
        self, endpoints: Endpoints, topic: str, retention_s: float, clock: Clock, *, shed_fraction: float = 0.0
    ) -> None:
        """retention_s: the retention by time of this topic. shed_fraction: as `LogRoom`."""
        self._endpoints = endpoints
        self._topic = topic
        self._retention_s = retention_s
        self._every = Every(CHECK_EVERY_S, clock)
        self._marks: dict[int, Watermarks] = {}
        self.room = LogRoom(shed_fraction) if endpoints.engine == "embedded" else None

    @property
    def holds_long_enough(self) -> bool:
        """Whether whatever is left in Kafka is there later; the embedded engine does not promise that."""
        return self.room is None and self._retention_s >= NEEDED_HOURS * 3600

    @property
    def may_hold(self) -> bool:
        """Whether trades may be left in Kafka at all, for as long as `fits`."""
        return self.holds_long_enough if self.room is None else self.room.shed_fraction > 0

    def fits(self, partitions: Iterable[int]) -> bool:
        """Whether more trades of some partitions may be left in Kafka now."""
        return self.may_hold and (self.room is None or self.room.fits(partitions))

    def presses(self, ledger: Ledger) -> bool:
        """Whether a range that Kafka holds will soon be deleted."""
        ranges = [entry for entry in ledger.entries if not entry.spill]
        if not ranges:
            return False
        if self.room is not None:
            return any(self.room.presses(entry.partition, entry.start) for entry in ranges)
        self._refresh()
        return any(self._near_the_start(entry.partition, entry.start) for entry in ranges)

    def _near_the_start(self, partition: int, offset: int) -> bool:
        mark = self._marks.get(partition)
        return mark is not None and mark.low > 0 and offset < mark.low + PRESSES_BELOW * (mark.high - mark.low)

    def _refresh(self) -> None:
        if not self._every.due():
            return
        try:
            with BrokerAdmin(self._endpoints) as admin:
                self._marks = admin.watermarks(self._topic)
        except BrokerError as error:
            # The last watermarks serve on; an unreachable Kafka shows as an unknown lag as well.
            LOG.warning("the log starts of %s are not known: %s", self._topic, first_line(error))

    def left_s(self, oldest_age_s: float | None) -> float | None:
        """Seconds until retention by time deletes the oldest record that is still needed; None if unknown."""
        if oldest_age_s is None or self.room is not None or math.isinf(self._retention_s):
            return None
        return max(0.0, self._retention_s - oldest_age_s)


class LogRoom:
    """What the partitions of the embedded engine can still take before they drop what is needed.

    Bytes are reckoned from records, uncompressed and each at its largest, so that the log holds less than is reckoned.
    """

    def __init__(self, shed_fraction: float) -> None:
        """shed_fraction: of what a partition keeps, how much the log may hold since the first trade that is needed, for
        more to be left there."""
        self.shed_fraction = shed_fraction
        self._record_bytes = 0.0
        self._highs: Mapping[int, int | None] = {}
        self._needed_from: Mapping[int, int] = {}

    def note_read(self, fetched: Fetched) -> None:
        """Learn how large records are."""
        if len(fetched):
            mean = sum(map(len, fetched.values)) / len(fetched)
            self._record_bytes = max(self._record_bytes, mean + RECORD_OVERHEAD_BYTES)

    def follow(self, highs: Mapping[int, int | None], needed_from: Mapping[int, int]) -> None:
        """Where the logs end, None where that is not known, and the first offset of each that is needed."""
        self._highs, self._needed_from = highs, needed_from

    def fits(self, partitions: Iterable[int]) -> bool:
        """Whether all of some partitions have room; not while an end or the size of records is unknown."""
        held = [self._held(partition, self._needed_from.get(partition)) for partition in partitions]
        return all(one is not None and one <= self.shed_fraction for one in held)

    def presses(self, partition: int, start: int) -> bool:
        """Whether a range that starts there must leave the log now."""
        held = self._held(partition, start)
        return held is not None and held >= ROOM_PRESSES_AT

    def _held(self, partition: int, start: int | None) -> float | None:
        """What a log holds since an offset, as a fraction of what it keeps; None if that is unknown."""
        high = self._highs.get(partition)
        if high is None or start is None or not self._record_bytes:
            return None
        return (high - start) * self._record_bytes / RETENTION_BYTES
