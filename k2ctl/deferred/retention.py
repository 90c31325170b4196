"""How long Kafka will still hold what is outstanding, so that deferring a trade never becomes losing it."""

import logging
import math
from typing import Final

from k2ctl.clock import Clock
from k2ctl.domain.ledger import Ledger
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, first_line
from k2ctl.kafka.admin import BrokerAdmin, Watermarks
from k2ctl.timing import Every

LOG: Final = logging.getLogger("k2ctl.deferred")

NEEDED_HOURS: Final = 1.0
"""A topic that keeps its records for less is no place to leave trades in: they are spilled instead."""

CHECK_EVERY_S: Final = 10.0
PRESSES_BELOW: Final = 0.2
"""Outstanding ranges in the oldest fifth of a log that retention deletes from are backfilled at any level."""


class RetentionWatch:
    """Watches the log starts of one topic, while Kafka holds something that is outstanding."""

    def __init__(self, endpoints: Endpoints, topic: str, retention_s: float, clock: Clock) -> None:
        """retention_s: the retention by time of this topic."""
        self._endpoints = endpoints
        self._topic = topic
        self._retention_s = retention_s
        self._every = Every(CHECK_EVERY_S, clock)
        self._marks: dict[int, Watermarks] = {}

    @property
    def holds_long_enough(self) -> bool:
        """Whether trades may be left in Kafka for later. The embedded engine keeps 5 MiB per partition."""
        return self._endpoints.engine != "embedded" and self._retention_s >= NEEDED_HOURS * 3600

    def presses(self, ledger: Ledger) -> bool:
        """Whether a range that Kafka holds will soon be deleted."""
        ranges = [entry for entry in ledger.entries if not entry.spill]
        if not ranges:
            return False
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
        if oldest_age_s is None or self._endpoints.engine == "embedded" or math.isinf(self._retention_s):
            return None
        return max(0.0, self._retention_s - oldest_age_s)
