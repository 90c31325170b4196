"""When load must wait: the embedded engine keeps 5 MiB per partition and drops older data, read or not."""

import time
from typing import TYPE_CHECKING, Final

from k2ctl.broker.admin import BrokerAdmin
from k2ctl.broker.mock_cluster import RETENTION_BYTES
from k2ctl.errors import BrokerError
from k2ctl.home import Endpoints

if TYPE_CHECKING:
    from k2ctl.load.generator import Crew

CONSUMER_GROUP: Final = "k2ctl"
PAUSE_AT, RESUME_AT = 0.7, 0.5
"""Shares of what a partition keeps, unread, at which load pauses and goes on again."""

UNCOMPRESSED_RECORD_BYTES: Final = 133
"""What an uncompressed trade takes in the log: assumed until the client has counted what it really sends."""

CHECK_EVERY_S: Final = 0.2
STUCK_AFTER_S: Final = 30.0


class RetentionGuard:
    """Pauses the workers while a partition holds too much that nobody has committed. Does nothing on real Kafka."""

    def __init__(self, endpoints: Endpoints, topic: str) -> None:
        self._admin = BrokerAdmin(endpoints) if endpoints.engine == "embedded" else None
        self._topic = topic
        self._due_s = 0.0
        self._progress: tuple[float, dict[int, int | None]] | None = None
        self.reason = ""

    def watch(self, crew: "Crew") -> None:
        """Look at the partitions a few times a second, and pause or resume.

        Raises:
            BrokerError: paused for half a minute, and nobody reads.
        """
        if self._admin is None or time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + CHECK_EVERY_S
        committed = self._admin.committed(self._topic, CONSUMER_GROUP)
        fullest = self._fullest_share(committed, _bytes_per_record(crew))
        if fullest >= PAUSE_AT:
            crew.signals.pause.set()
            self.reason = f"a partition holds {fullest:.0%} of its 5 MiB unread; waiting for a consumer"
        elif fullest < RESUME_AT:
            crew.signals.pause.clear()
            self.reason = ""
        self._notice_progress(committed)

    def _fullest_share(self, committed: dict[int, int | None], record_bytes: float) -> float:
        assert self._admin is not None  # noqa: S101
        marks = self._admin.watermarks(self._topic)
        unread = [mark.high - max(committed.get(p) or 0, mark.low) for p, mark in marks.items()]
        return max(unread, default=0) * record_bytes / RETENTION_BYTES

    def _notice_progress(self, committed: dict[int, int | None]) -> None:
        now_s = time.monotonic()
        if not self.reason or self._progress is None or self._progress[1] != committed:
            self._progress = (now_s, committed)
        elif now_s - self._progress[0] > STUCK_AFTER_S:
            raise BrokerError(
                f"Nobody has read for {STUCK_AFTER_S:.0f} s, and the embedded Kafka cannot keep more.",
                "Start a consumer in another terminal: k2ctl consume",
            )


def _bytes_per_record(crew: "Crew") -> float:
    """What a record takes in the log: as counted by the client on the wire, or uncompressed before it has."""
    records, wire_bytes = crew.total("acknowledged_records"), crew.total("wire_bytes")
    enqueued = crew.total("enqueued")
    per_trade = enqueued / records if records else 1.0
    if records and wire_bytes:
        return float(max(wire_bytes / records, 20.0))
    return UNCOMPRESSED_RECORD_BYTES * max(1.0, per_trade)
