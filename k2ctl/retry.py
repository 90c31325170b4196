"""One bounded retry and one bounded wait, on a clock that tests move.

`tenacity` measures its limit by the machine's own clock, and would take as many lines at each call.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from k2ctl.clock import Clock, SystemClock

Result = TypeVar("Result")

_RANDOM: Final = random.Random()
"""To seed one takes as long as an attempt that succeeds at once."""


@dataclass(frozen=True)
class RetryPolicy:
    """How long an attempt is repeated, and how long the pauses are."""

    # Seconds after the first attempt begins; a failure after that is final.
    within_s: float
    # The first pause.
    pause_s: float
    # Pauses double up to this; None: all pauses are as long as the first.
    longest_pause_s: float | None = None
    # True: each pause is random, from 0 to its length, so that competitors do not meet again.
    jitter: bool = False

    def pause_after(self, number: int, rng: random.Random) -> float:
        """The pause after the attempt of this number, from 1 on."""
        longest_s = self.pause_s if self.longest_pause_s is None else self.longest_pause_s
        seconds = min(longest_s, self.pause_s * 2.0 ** min(number - 1, 60))
        return rng.uniform(0.0, seconds) if self.jitter else seconds


def retry(
    attempt: Callable[[], Result],
    *,
    policy: RetryPolicy,
    again: Callable[[Exception], bool],
    clock: Clock | None = None,
    rng: random.Random | None = None,
) -> Result:
    """Repeat `attempt` until it succeeds.

    again: True for an error that another attempt may not meet; it is called for each failure, and may log it.

    Raises:
        Exception: the last error, as it came: one that `again` refuses, or any after `policy.within_s`.
    """
    clock, rng, number = clock or SystemClock(), rng or _RANDOM, 0
    started_s = clock.monotonic_s()
    while True:
        number += 1
        try:
            return attempt()
        except Exception as error:
            if not again(error) or clock.monotonic_s() - started_s >= policy.within_s:
                raise
        clock.sleep(policy.pause_after(number, rng))


def wait_until(
    condition: Callable[[], bool], *, within_s: float, every_s: float = 0.05, clock: Clock | None = None
) -> bool:
    """Wait for a condition; False if it does not hold within the time. It is looked at once at least."""
    clock = clock or SystemClock()
    deadline_s = clock.monotonic_s() + within_s
    while not condition():
        if clock.monotonic_s() >= deadline_s:
            return False
        clock.sleep(every_s)
    return True
