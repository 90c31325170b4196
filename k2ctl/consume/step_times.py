"""How long each step of the pipeline has taken, in all: what `k2ctl demo` shows of one batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from k2ctl.clock import Clock

STEPS: Final = ("decode", "admit", "dedup", "sequence", "enrich", "commit")
"""The steps by name, in their order (design, section 4)."""


class StepTimes:
    """Adds durations up by step. seconds: step → seconds since the consumer started."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.seconds: dict[str, float] = dict.fromkeys(STEPS, 0.0)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Time a block as a part of `step`."""
        started_s = self._clock.monotonic_s()
        yield
        self.seconds[step] += self._clock.monotonic_s() - started_s
