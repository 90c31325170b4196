"""A consumer that reports on the real topic what a test has it say, as often as a real one does."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from k2ctl.endpoints import Endpoints
from k2ctl.kafka.telemetry import TelemetryWriter
from tests.support.statuses import a_status

_EVERY_S = 0.3


class Reporting:
    """What is said from now on; `say` changes it."""

    def __init__(self, endpoints: Endpoints, name: str, figures: dict[str, Any]) -> None:
        self._writer = TelemetryWriter(endpoints)
        self._name = name
        self._figures = figures
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def say(self, **figures: Any) -> None:
        """Other figures, besides those that were said before."""
        self._figures = {**self._figures, **figures}

    def _publish(self, **besides: Any) -> None:
        figures = {**self._figures, **besides}
        self._writer.publish(a_status(self._name, at_us=time.time_ns() // 1000, **figures))

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self._publish()

    def close(self) -> None:
        """The last report, of a consumer that ends: the stack is shared."""
        self._stop.set()
        self._thread.join()
        self._publish(stopped=True)
        self._writer.close()


@contextmanager
def reporting(endpoints: Endpoints, name: str, **figures: Any) -> Iterator[Reporting]:
    """A consumer that reports for as long as the block lasts."""
    consumer = Reporting(endpoints, name, figures)
    try:
        yield consumer
    finally:
        consumer.close()
