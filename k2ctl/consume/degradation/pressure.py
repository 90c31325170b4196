"""Pressure on a consumer: its memory, how fast its lag grows, and a budget for pressure on purpose."""

import ctypes
import sys
from pathlib import Path
from typing import Final

import psutil
import pyarrow as pa

from k2ctl.clock import Clock
from k2ctl.timing import Every, SlidingWindow, rate

SLOPE_WINDOW_S: Final = 5.0
BUDGET_CREDIT_S: Final = 0.5
"""Time that was not used, and may be made up for: reading and committing have their own rhythm."""

RELEASE_AT: Final = 0.5
RELEASE_EVERY_S: Final = 2.0


class MemoryGauge:
    """Resident memory of this process, as a fraction of its limit.

    The planned memory of deduplication is left out on both sides: it is there by intent, and deferring trades would not
    free it.
    """

    def __init__(self, limit_mb: int, clock: Clock) -> None:
        self.limit_bytes = min(limit_mb * 1_000_000, _cgroup_limit())
        self._process = psutil.Process()
        self.pid = self._process.pid
        self._release = Every(RELEASE_EVERY_S, clock)

    def resident_bytes(self) -> int:
        """Resident memory now."""
        return int(self._process.memory_info().rss)

    def used_fraction(self, state_bytes: int, planned_bytes: int = 0) -> float:
        """Resident memory by its limit; freed pools are returned to the system before it counts as pressure.

        state_bytes: memory that planned state takes now. planned_bytes: what it may grow to, reserved for it.
        """
        used = self._used_fraction(state_bytes, planned_bytes)
        if used >= RELEASE_AT and self._release.due():
            release_freed()
            used = self._used_fraction(state_bytes, planned_bytes)
        return used

    def _used_fraction(self, state_bytes: int, planned_bytes: int) -> float:
        room = max(1, self.limit_bytes - max(state_bytes, planned_bytes))
        return max(0.0, (self.resident_bytes() - state_bytes) / room)


class Slope:
    """How fast a figure grows, over the last seconds."""

    def __init__(self, clock: Clock) -> None:
        self._window = SlidingWindow[float](SLOPE_WINDOW_S, clock, min_interval_s=0.1)
        self.value = 0.0

    def add(self, value: float) -> float:
        """Note a value; returns the change per second over the window, 0 in the first second."""
        window = self._window
        window.add(value)
        self.value = rate(window.oldest, value, window.span_s) if window.span_s >= 1.0 else 0.0
        return self.value


class Budget:
    """A cap on processed trades per second, to show a machine under pressure. Deferring costs nothing."""

    def __init__(self, per_s: float | None, clock: Clock) -> None:
        self.per_s = per_s
        self._clock = clock
        self._paid_until_s = 0.0

    def spend(self, trades: int) -> None:
        """Note that so many trades were processed."""
        if self.per_s is not None:
            earliest_s = self._clock.monotonic_s() - BUDGET_CREDIT_S
            self._paid_until_s = max(self._paid_until_s, earliest_s) + trades / self.per_s

    @property
    def exhausted(self) -> bool:
        """Whether what was processed is not paid for yet."""
        return self.per_s is not None and self._clock.monotonic_s() < self._paid_until_s


def release_freed() -> None:
    """Return freed memory to the system. glibc keeps it per thread: 900 MB of it after a drain, measured."""
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _cgroup_limit() -> int:
    """The memory limit of this process's control group, where there is one."""
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        return int(text)
    except (OSError, ValueError):
        return 1 << 62  # no control group, or "max"
