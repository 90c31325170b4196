"""What a supervisor asks a consumer: whether it lives, and whether it takes part.

A consumer that waits for Kafka, the table, a registry or its partitions lives and is not ready: a restart would help
nothing. One whose loop stands still is stuck: only a restart helps. While partitions are opened the loop stands on
purpose, because what deduplication remembers is restored then.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from k2ctl.clock import Clock, SystemClock
from k2ctl.domain.status import ConsumerStatus

STUCK_AFTER_S: Final = 150.0
"""Longer than anything that a loop waits for: a commit is tried for a minute, and after two its group drops it."""

OPENS_WITHIN_S: Final = 600.0
"""How long opening may take: the rows of the window are read from the table where no saved state is there."""

FRESH_S: Final = 10.0
"""A status comes twice a second; one of this age says that the loop stands, whether or not it is stuck."""


@dataclass(frozen=True)
class Health:
    """An answer to a probe: yes or no, and why, in a line."""

    well: bool
    reason: str


class Opening(Protocol):
    """What is asked of a consumer from another thread."""

    @property
    def is_opening(self) -> bool:
        """True while partitions are opened, and state is restored."""
        ...


class ConsumerHealth:
    """The health of one consumer, from before it is opened to its end. Thread-safe: probes come at any moment."""

    def __init__(
        self, clock: Clock | None = None, *, stuck_after_s: float = STUCK_AFTER_S, fresh_s: float = FRESH_S
    ) -> None:
        self._clock = clock or SystemClock()
        self._stuck_after_s, self._fresh_s = stuck_after_s, fresh_s
        self._lock = threading.Lock()
        self._consumer: Opening | None = None
        self._status: ConsumerStatus | None = None
        self._waits_for = ""
        self._seen_s = self._clock.monotonic_s()

    def probes(self) -> dict[str, Callable[[], Health]]:
        """Path → what is asked there."""
        return {"/livez": self.live, "/readyz": self.ready}

    def waits(self, why: str) -> None:
        """It cannot begin yet, and has just tried again."""
        with self._lock:
            self._waits_for, self._seen_s = why, self._clock.monotonic_s()

    def begins(self, consumer: Opening) -> None:
        """It is opened, and its loop begins."""
        with self._lock:
            self._consumer, self._waits_for, self._seen_s = consumer, "", self._clock.monotonic_s()

    def update(self, status: ConsumerStatus) -> None:
        """Its loop goes on."""
        with self._lock:
            self._status, self._seen_s = status, self._clock.monotonic_s()

    def live(self) -> Health:
        """Whether it may be left alone."""
        with self._lock:
            age_s, opens = self._clock.monotonic_s() - self._seen_s, self._opens()
            if age_s > (OPENS_WITHIN_S if opens else self._stuck_after_s):
                return Health(
                    False, f"stuck: {'it has been opening' if opens else 'its loop has stood'} for {age_s:.0f} s"
                )
            return Health(True, "alive")

    def ready(self) -> Health:
        """Whether it reads and commits what its group assigns to it."""
        with self._lock:
            age_s = self._clock.monotonic_s() - self._seen_s
            if self._waits_for:
                return Health(False, f"waiting: {self._waits_for}")
            if self._opens():
                return Health(False, f"opening partitions and restoring state for {age_s:.0f} s")
            if age_s > self._fresh_s:
                return Health(False, f"its loop has stood for {age_s:.0f} s")
            waiting = self._status.waiting if self._status is not None else "its first pass"
            return Health(False, f"waiting: {waiting}") if waiting else Health(True, "ready")

    def _opens(self) -> bool:
        return self._consumer is None or self._consumer.is_opening
