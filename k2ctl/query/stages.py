"""How long each stage of a query took."""

from collections.abc import Iterator
from contextlib import contextmanager

from k2ctl.clock import Clock


class Stages:
    """Durations by name, in milliseconds; a stage that runs again adds up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.ms: dict[str, float] = {}

    def now_us(self) -> int:
        """What the clock says now: the answer is being put together."""
        return self._clock.now_us()

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time a block as stage `name`."""
        started_s = self._clock.monotonic_s()
        try:
            yield
        finally:
            self.ms[name] = self.ms.get(name, 0.0) + (self._clock.monotonic_s() - started_s) * 1000
