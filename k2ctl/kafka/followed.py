"""The platform for somebody who looks at it for hours: also while its stack ends, and when it comes again."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from k2ctl.clock import Clock, SystemClock, clock_text
from k2ctl.domain.overview import Overview
from k2ctl.endpoints import Endpoints, require_endpoints
from k2ctl.errors import BrokerUnanswered, K2Error, NotRunning, first_line
from k2ctl.home import Home
from k2ctl.kafka.clients import LOG
from k2ctl.kafka.telemetry import OverviewReader
from k2ctl.timing import Every

LOOK_EVERY_S: Final = 1.0
DOWN: Final = "The stack is down"
SILENT: Final = "Kafka does not answer"


class StackFollower:
    """Overviews of whatever stack runs; while none does or Kafka does not answer, the level's reason says so.

    Raises:
        NotRunning: there is no stack to begin with.
    """

    def __init__(self, home: Home, clock: Clock | None = None, sleep: Callable[[float], None] = time.sleep) -> None:
        self._home = home
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._endpoints: Endpoints | None = require_endpoints(home)
        self._reader: OverviewReader | None = OverviewReader(self._endpoints)
        self._look_every = Every(LOOK_EVERY_S, self._clock, first_s=LOOK_EVERY_S)
        # What is wrong, and the sentence that says so.
        self._noted = self._trouble = ""

    def poll(self, timeout_s: float = 0.1) -> Overview:
        """The platform as it stands."""
        try:
            if self._look_every.due():
                self._look()
            if self._reader is not None:
                overview = self._reader.poll(timeout_s)
                if not overview.consumers:
                    self._reader.check()
                self._note("")
                return overview
        except K2Error as error:
            self._drop()
            self._note(_named(error))
        self._sleep(timeout_s)
        return replace(Overview.of([], at_us=self._clock.now_us()), level_reason=self._trouble)

    def _look(self) -> None:
        """Whether it is another stack by now, or the same one again."""
        now = require_endpoints(self._home)
        if self._reader is not None and now == self._endpoints:
            return
        self._drop()
        self._reader, self._endpoints = OverviewReader(now), now

    def _note(self, trouble: str) -> None:
        """Keep since when something is wrong; one line in the log for each change."""
        if trouble == self._noted:
            return
        self._noted = trouble
        if not trouble:
            self._trouble = ""
            LOG.warning("the stack answers again")
            return
        since = clock_text(self._clock.now_us())
        what = f"{trouble} since {since} UTC" if trouble in (DOWN, SILENT) else f"Since {since} UTC: {trouble}"
        self._trouble = f"{what.rstrip('.')}; this goes on when it is back"
        LOG.warning("%s", self._trouble)

    def _drop(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = None

    def close(self) -> None:
        """Leave the broker."""
        self._drop()


def _named(error: K2Error) -> str:
    if isinstance(error, NotRunning):
        return DOWN
    return SILENT if isinstance(error, BrokerUnanswered) else first_line(error)
