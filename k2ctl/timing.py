"""Durations, sliding windows and work that is done every few seconds, on a clock that tests move."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from k2ctl.clock import Clock, SystemClock

Value = TypeVar("Value")


class Stopwatch:
    """Adds durations up by name. A block that raises counts too."""

    def __init__(self, clock: Clock | None = None, names: Iterable[str] = ()) -> None:
        self.clock = clock or SystemClock()
        # Name → seconds, in the order of the first use; the given names stand from the start.
        self.seconds: dict[str, float] = dict.fromkeys(names, 0.0)

    @property
    def milliseconds(self) -> dict[str, float]:
        """Name → milliseconds."""
        return {name: seconds * 1000 for name, seconds in self.seconds.items()}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the duration of a block to `name`."""
        started_s = self.clock.monotonic_s()
        try:
            yield
        finally:
            self.add(name, self.clock.monotonic_s() - started_s)

    def add(self, name: str, seconds: float) -> None:
        """Add a duration that was measured elsewhere."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


class Every:
    """Says when periodic work is due. The first call is due at once, or after `first_s`."""

    def __init__(self, seconds: float, clock: Clock | None = None, *, first_s: float = 0.0) -> None:
        self._clock = clock or SystemClock()
        self._seconds = seconds
        self._due_s = self._clock.monotonic_s() + first_s

    @property
    def is_due(self) -> bool:
        """Whether the work is due; `due` still says so then."""
        return self._clock.monotonic_s() >= self._due_s

    def due(self) -> bool:
        """True if the work is due; the next time is then counted from now."""
        if not self.is_due:
            return False
        self.restart()
        return True

    def restart(self, seconds: float | None = None) -> None:
        """Count the next time from now; after `seconds` this once, where given."""
        self._due_s = self._clock.monotonic_s() + (self._seconds if seconds is None else seconds)


class SlidingWindow(Generic[Value]):
    """Values with their times, of the last `seconds`. Every call of `add` drops what is older.

    min_interval_s: a value that follows its predecessor sooner is not kept, so that a busy loop keeps few.
    """

    def __init__(self, seconds: float, clock: Clock | None = None, *, min_interval_s: float = 0.0) -> None:
        self._seconds = seconds
        self._clock = clock or SystemClock()
        self._min_interval_s = min_interval_s
        self._samples: deque[tuple[float, Value]] = deque()
        self._started_s: float | None = None
        # The newest value that has left the window: what held `seconds` ago. None while there is none.
        self.expired: Value | None = None

    def add(self, value: Value, *, replaces: Callable[[Value], bool] | None = None) -> None:
        """Keep a value. `replaces` says which of the newest values are of no more use beside it."""
        now_s = self._clock.monotonic_s()
        if self._started_s is None:
            self._started_s = now_s
        while replaces is not None and self._samples and replaces(self._samples[-1][1]):
            self._samples.pop()
        if not self._samples or now_s - self._samples[-1][0] >= self._min_interval_s:
            self._samples.append((now_s, value))
        while self._samples[0][0] < now_s - self._seconds:
            self.expired = self._samples.popleft()[1]

    @property
    def oldest(self) -> Value:
        """The oldest value in the window."""
        return self._samples[0][1]

    @property
    def span_s(self) -> float:
        """Seconds since the oldest value."""
        return self._clock.monotonic_s() - self._samples[0][0]

    def oldest_within(self, seconds: float) -> Value:
        """The oldest value of the last `seconds`, which are no more than the window's; else the newest."""
        since_s = self._clock.monotonic_s() - seconds
        return next((value for at_s, value in self._samples if at_s >= since_s), self._samples[-1][1])

    def covers(self, seconds: float) -> bool:
        """True once the first value that was ever added is so old."""
        return self._started_s is not None and self._clock.monotonic_s() - self._started_s >= seconds


def rate(before: float, after: float, seconds: float) -> float:
    """The change per second between two values; 0 for no time at all."""
    return (after - before) / seconds if seconds > 0 else 0.0
