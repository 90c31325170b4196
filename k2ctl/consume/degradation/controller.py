"""The level of degradation: which one the signals ask for, and when a better one may be entered again.

Worse at once, any number of levels; better one level at a time, and only when the signals are well below the
level's trigger and the cooldown has passed. Design, section 5.
"""

import logging
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final, Literal

from k2ctl.clock import Clock
from k2ctl.domain.status_parts import Transition
from k2ctl.profiles.model import Degradation, Level
from k2ctl.timing import SlidingWindow

LOG: Final = logging.getLogger("k2ctl.consume")


@dataclass(frozen=True)
class PressureSignals:
    """What the level follows. None means unknown: it never improves the level."""

    lag_trades: int | None
    """Trades not yet admitted, the minimum over the window."""
    memory: float | None
    """The fraction of this process's limit in use."""
    lag_seconds: float | None = 0.0
    """How far behind now the consumer reads; it counts where a level names a threshold for it."""
    slope: float = 0.0
    """Trades per second by which the lag grows; shown with the reason, without a threshold of its own."""
    trouble: str = ""
    """Why rows cannot be spilled; empty while they can."""


class LagWindow:
    """The minimum lag over a sliding window, so that neither a burst nor a stall of one commit is an overload."""

    def __init__(self, window_s: float, clock: Clock) -> None:
        self._window = SlidingWindow[int](window_s, clock)

    def add(self, lag_trades: int) -> int | None:
        """Note a sample; returns the window's minimum, or None while the window is not filled yet."""
        self._window.add(lag_trades, replaces=lambda kept: kept >= lag_trades)
        return self._window.oldest if self._window.is_filled else None


class Controller:
    """Owns the level. Pure but for the clock it is given."""

    def __init__(self, policy: Degradation, clock: Clock, lag_divisor: int = 1) -> None:
        self._policy = policy
        self._levels = policy.levels
        self._clock = clock
        self._divisor = lag_divisor
        self._current = 0
        self._changed_s = -policy.cooldown_s
        self._intake_closed = False
        self.transitions: deque[Transition] = deque(maxlen=100)
        self.transitions_total: Counter[str] = Counter()

    @property
    def level(self) -> Level:
        """The level now."""
        return self._levels[self._current]

    @property
    def number(self) -> int:
        """The level's number, 0 for NORMAL."""
        return self._current

    @property
    def intake(self) -> Literal["open", "closed"]:
        """Whether producers may send: at most as closed as the level's policy says."""
        return "closed" if self._intake_closed else "open"

    @property
    def levels(self) -> tuple[Level, ...]:
        """The whole ladder."""
        return self._levels

    def lag_threshold(self, number: int) -> int:
        """The lag in trades at which a level is entered, as scaled for the engine."""
        return self._levels[number].lag // self._divisor

    def exit_lag(self, number: int) -> int:
        """The lag in trades below which a level may be left."""
        return int(self._policy.exit_factor_lag * self.lag_threshold(number))

    def cooldown_left_s(self) -> float:
        """Seconds until a better level may be entered."""
        return max(0.0, self._changed_s + self._policy.cooldown_s - self._clock.monotonic_s())

    def update(self, signals: PressureSignals) -> Level:
        """Follow the signals; returns the level from now on."""
        demanded, reason = self._demanded(signals)
        if demanded > self._current:
            self._change(demanded, reason)
        elif self._current and self._may_leave(signals) and not self.cooldown_left_s():
            self._change(self._current - 1, f"recovered: {_shown(signals)}")
        self._update_intake(demanded, signals)
        return self.level

    def _update_intake(self, demanded: int, signals: PressureSignals) -> None:
        """Closed where the level is entered, open again where it could be left: the cooldown is not waited for.

        Producers have nothing to gain from waiting while the lag is small, and the level goes on protecting what
        matters. Between the two thresholds the intake stays as it is, so it does not flap.
        """
        if self.level.intake == "open":
            self._intake_closed = False
        elif demanded >= self._current:
            self._intake_closed = True
        elif self._may_leave(signals):
            self._intake_closed = False

    def _demanded(self, signals: PressureSignals) -> tuple[int, str]:
        if signals.trouble:
            return len(self._levels) - 1, signals.trouble
        for number in range(len(self._levels) - 1, 0, -1):
            level = self._levels[number]
            if signals.lag_trades is not None and signals.lag_trades >= self.lag_threshold(number):
                trend = f", {signals.slope:+,.0f}/s" if signals.slope else ""
                return number, f"lag {signals.lag_trades:,} ≥ {self.lag_threshold(number):,} trades{trend}"
            if signals.memory is not None and signals.memory >= level.memory:
                return number, f"memory {signals.memory:.0%} ≥ {level.memory:.0%}"
            if level.lag_seconds and signals.lag_seconds is not None and signals.lag_seconds >= level.lag_seconds:
                return number, f"lag {signals.lag_seconds:.1f} s ≥ {level.lag_seconds:g} s"
        return 0, ""

    def _may_leave(self, signals: PressureSignals) -> bool:
        if signals.lag_trades is None or signals.memory is None or signals.trouble:
            return False
        limit_s = self.level.lag_seconds
        if limit_s and (signals.lag_seconds is None or signals.lag_seconds >= self._policy.exit_factor_lag * limit_s):
            return False
        return (
            signals.lag_trades < self._policy.exit_factor_lag * self.lag_threshold(self._current)
            and signals.memory < self._policy.exit_factor_memory * self.level.memory
        )

    def _change(self, number: int, reason: str) -> None:
        before, worse = self.level.name, number > self._current
        self._current = number
        LOG.log(logging.WARNING if worse else logging.INFO, "level %s → %s: %s", before, self.level.name, reason)
        self._changed_s = self._clock.monotonic_s()
        self.transitions_total[f"{before}>{self.level.name}"] += 1
        self.transitions.append(Transition(self._clock.now_us(), before, self.level.name, reason))


def _shown(signals: PressureSignals) -> str:
    lag = "unknown" if signals.lag_trades is None else f"{signals.lag_trades:,} trades"
    memory = "unknown" if signals.memory is None else f"{signals.memory:.0%}"
    return f"lag {lag}, memory {memory}"
