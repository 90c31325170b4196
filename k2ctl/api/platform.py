"""The platform as its consumers and loads report it: now, and over the last hour. A thread follows them."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from k2ctl.api.alerts import Alerts, Look, shipped_rules
from k2ctl.api.history import PlatformHistory
from k2ctl.clock import SystemClock
from k2ctl.domain.overview import Overview
from k2ctl.endpoints import Endpoints
from k2ctl.errors import K2Error, first_line
from k2ctl.kafka.telemetry import OverviewReader

LOOK_EVERY_S: Final = 0.5
_RETRY_S: Final = 2.0
_LOG: Final = logging.getLogger("k2ctl.api")


class FollowedPlatform:
    """Follows telemetry until `close`. Thread-safe: what it shows is replaced as a whole."""

    def __init__(self, endpoints: Endpoints, not_ready: Callable[[], list[str]]) -> None:
        """not_ready: why the service cannot answer, if it cannot."""
        self._endpoints = endpoints
        self._not_ready = not_ready
        self._clock = SystemClock()
        self.history = PlatformHistory(self._clock)
        self.alerts = Alerts(shipped_rules())
        # What `k2ctl watch --json` shows; None while nothing is known, and `problem` says why.
        self.overview: Overview | None = None
        self.problem = "no consumer or load has reported yet"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="k2-overview", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the following."""
        self._stop.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        """Follow; an error is shown, logged, and what is then no longer seen is not known. Then try again."""
        while not self._stop.is_set():
            try:
                self._follow()
            except Exception as error:  # what others report is no reason to follow nothing for ever
                foreseen = isinstance(error, K2Error)
                problem = str(error) if foreseen else f"{type(error).__name__}: {first_line(error)}"
                if problem != self.problem:
                    _LOG.warning("telemetry is not followed: %s", problem, exc_info=None if foreseen else error)
                self.overview, self.problem = None, problem
                self.alerts.look(self._clock.now_us(), None, self._not_ready())
            self._stop.wait(_RETRY_S)

    def _follow(self) -> None:
        reader = OverviewReader(self._endpoints)
        try:
            while not self._stop.wait(LOOK_EVERY_S):
                seen = reader.poll(0.05)
                if not seen.consumers:
                    reader.check()
                kept = self.history.note(seen)
                self.overview, self.problem = seen, ""
                if kept:
                    self.alerts.look(seen.at_us, Look(seen, self.history), self._not_ready())
        finally:
            reader.close()
