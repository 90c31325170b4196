"""Time as an argument: the system's clock, and one that tests move by hand."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for records, monotonic time for durations, and sleeping."""

    def now_us(self) -> int:
        """Microseconds since the Unix epoch, UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; zero and less return at once."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1_000

    def monotonic_s(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)


class ManualClock:
    """A clock that stands still until `advance` or `sleep` moves it: seconds pass at once."""

    def __init__(self, now_us: int = 1_700_000_000_000_000) -> None:
        self._start_us = now_us
        self._elapsed_s = 0.0

    def now_us(self) -> int:
        return self._start_us + round(self._elapsed_s * 1_000_000)

    def monotonic_s(self) -> float:
        return self._elapsed_s

    def sleep(self, seconds: float) -> None:
        self.advance(max(0.0, seconds))

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._elapsed_s += seconds


def clock_text(at_us: int) -> str:
    """The time of day, in UTC: 22:13:20."""
    return time.strftime("%H:%M:%S", time.gmtime(at_us / 1e6))
