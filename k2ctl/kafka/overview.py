"""The platform as it stands, from Kafka alone: the statuses that workers publish, held against its watermarks."""

import time
from typing import Final

from k2ctl.domain.overview import Overview
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, first_line
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.clients import LOG
from k2ctl.kafka.telemetry import TelemetryReader
from k2ctl.timing import Every

OFFSETS_EVERY_S: Final = 1.0


class OverviewReader:
    """Follows telemetry and watermarks of the running stack."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._admin = BrokerAdmin(endpoints)
        self._telemetry = TelemetryReader(endpoints)
        self._highs: dict[str, dict[int, int]] = {}
        self._offsets_every = Every(OFFSETS_EVERY_S)

    def poll(self, timeout_s: float = 0.1) -> Overview:
        """The platform as it stands."""
        reported = self._telemetry.poll(timeout_s)
        consumers, loaders = list(reported.consumers.values()), list(reported.loaders.values())
        self._refresh_watermarks({status.topic for status in consumers})
        return Overview.of(consumers, loaders, self._highs, time.time_ns() // 1000)

    def _refresh_watermarks(self, topics: set[str]) -> None:
        if not self._offsets_every.due():
            return
        for topic in topics:
            try:
                self._highs[topic] = {p: mark.high for p, mark in self._admin.watermarks(topic).items()}
            except BrokerError as error:  # the lag is unknown, and shown as such
                if self._highs.pop(topic, None) is not None:
                    LOG.warning("the watermarks of %s cannot be read: %s", topic, first_line(error))

    def close(self) -> None:
        """Leave the broker."""
        self._telemetry.close()
