"""The time of a schedule: pauses do not count, and it never runs backwards."""

from collections.abc import Iterator
from contextlib import contextmanager

from k2ctl.clock import Clock, SystemClock


class ScheduleClock:
    """Stands still before it begins and while it is paused."""

    def __init__(self, least_pause_s: float, clock: Clock | None = None) -> None:
        """least_pause_s: what is shorter is no pause; the schedule catches up with it."""
        self._clock = clock or SystemClock()
        self._least_pause_s = least_pause_s
        self._start_s: float | None = None
        self._paused_s = 0.0
        self._stands_since_s: float | None = None

    def begin(self, start_s: float | None = None) -> None:
        """Begin at a moment of the monotonic clock, which is the same for all processes; now where none is given."""
        self._start_s = self._clock.monotonic_s() if start_s is None else start_s

    @property
    def elapsed_s(self) -> float:
        """Seconds of the schedule that have passed; below 0 until a start that is still to come."""
        if self._start_s is None:
            return 0.0
        now_s = self._clock.monotonic_s() if self._stands_since_s is None else self._stands_since_s
        return now_s - self._start_s - self._paused_s

    @property
    def paused_s(self) -> float:
        """Seconds of all pauses, with the one that lasts."""
        return self._paused_s + self._standing_s()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stand still while the block runs."""
        self._stands_since_s = self._clock.monotonic_s()
        try:
            yield
        finally:
            self._paused_s += self._standing_s()
            self._stands_since_s = None

    def _standing_s(self) -> float:
        standing_s = 0.0 if self._stands_since_s is None else self._clock.monotonic_s() - self._stands_since_s
        return standing_s if standing_s > self._least_pause_s else 0.0
