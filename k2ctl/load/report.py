"""What a load generator says of itself on `k2.telemetry`, twice a second."""

import os
import time
from dataclasses import dataclass, replace

from k2ctl.domain.status import LoadStatus
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.telemetry import PUBLISH_EVERY_S, TelemetryWriter
from k2ctl.timing import Every


@dataclass(frozen=True)
class LoadSnapshot:
    """A load under way. Counts are trades; rates trades per second."""

    elapsed_s: float
    duration_s: float
    target_rate: float
    rate: float
    sent: int
    total: int
    in_flight_records: int
    paused_s: float
    paused_why: str


class LoadReporter:
    """Publishes a load's status; its last word is that it has stopped."""

    def __init__(self, endpoints: Endpoints, topic: str) -> None:
        self._writer = TelemetryWriter(endpoints)
        self._status = LoadStatus(f"load-{os.getpid()}", 0, topic, 0.0, 0.0, 0, 0.0, "")
        self._every = Every(PUBLISH_EVERY_S)

    def report(self, snapshot: LoadSnapshot) -> None:
        """Publish what the load does now; cheap to call often."""
        if not self._every.due():
            return
        self._status = replace(
            self._status,
            at_us=time.time_ns() // 1000,
            rate=snapshot.rate,
            target_rate=snapshot.target_rate,
            sent=snapshot.sent,
            paused_s=snapshot.paused_s,
            paused_why=snapshot.paused_why,
        )
        self._writer.publish(self._status)

    def close(self) -> None:
        """Say that the load has ended."""
        self._writer.publish(replace(self._status, at_us=time.time_ns() // 1000, rate=0.0, stopped=True))
        self._writer.close()
