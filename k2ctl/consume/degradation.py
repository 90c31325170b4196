"""The pressure on a consumer, the level that it asks for, and when a better level may be entered again."""

import logging
import math
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import psutil

from k2ctl.clock import Clock
from k2ctl.deferred.admission import ACTIONS, Admission
from k2ctl.domain.dedup_status import DedupStatus
from k2ctl.domain.status import TRANSITIONS_SHOWN, PressureFigures
from k2ctl.domain.status_parts import LadderLevel, Transition
from k2ctl.memory import release_freed
from k2ctl.profiles import Profile
from k2ctl.profiles.model import Degradation, Level
from k2ctl.profiles.universe import PRIORITIES
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


def _cgroup_limit() -> int:
    """The memory limit of this process's control group, where there is one."""
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        return int(text)
    except (OSError, ValueError):
        return 1 << 62  # no control group, or "max"


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


LAG_WINDOW_LEAST_S: Final = 2.0
LAG_WINDOW_MOST_S: Final = 10.0
"""A burst is over sooner; an overload is seen that soon, however seldom commits are made."""


def lag_window_s(commits_every_s: float) -> float:
    """How long a lag is none yet. commits_every_s: as `LagWindow.add`."""
    return min(LAG_WINDOW_MOST_S, max(LAG_WINDOW_LEAST_S, 2 * commits_every_s))


class LagWindow:
    """The minimum lag over two commits, so that neither a burst nor a stall of one commit is an overload."""

    def __init__(self, clock: Clock) -> None:
        self._window = SlidingWindow[int](LAG_WINDOW_MOST_S, clock)

    def add(self, lag_trades: int, commits_every_s: float) -> int | None:
        """Note a sample; returns the window's minimum, or None while the window is not filled yet.

        commits_every_s: as measured; 0 while it is not known.
        """
        self._window.add(lag_trades, replaces=lambda kept: kept >= lag_trades)
        seconds = lag_window_s(commits_every_s)
        return self._window.oldest_within(seconds) if self._window.covers(seconds) else None


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

    def lag_threshold(self, number: int) -> int:
        """The lag in trades at which a level is entered, as scaled for the engine."""
        return self._levels[number].lag // self._divisor

    def ladder(self, admission: Admission) -> list[LadderLevel]:
        """All levels with their thresholds. admission: what they do with each priority."""
        return [
            LadderLevel(
                level.name,
                self.lag_threshold(number),
                int(self._policy.exit_factor_lag * self.lag_threshold(number)),
                level.memory,
                level.enrich,
                level.intake,
                {name: ACTIONS[at] for name, at in zip(PRIORITIES, admission.actions(level).tolist(), strict=True)},
            )
            for number, level in enumerate(self._levels)
        ]

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


BUDGET_BATCH_S = 0.1
"""The part of a second's budget that one batch may take."""


class PressureMonitor:
    """Owns the level. Lives as long as the consumer, over all its assignments."""

    def __init__(
        self, profile: Profile, budget_per_s: float | None, admission: Admission, clock: Clock, *, embedded: bool
    ) -> None:
        """embedded: on the embedded engine, whose smaller lag thresholds fit its 5 MiB per partition."""
        degradation = profile.degradation
        self._controller = Controller(degradation, clock, degradation.embedded_divisor if embedded else 1)
        self.budget = Budget(budget_per_s, clock)
        self._memory = MemoryGauge(profile.consumer.memory_limit_mb, clock)
        self._slope = Slope(clock)
        self._lag_window = LagWindow(clock)
        self._ladder = self._controller.ladder(admission)

    @property
    def level(self) -> Level:
        """The level now."""
        return self._controller.level

    @property
    def number(self) -> int:
        """The level's number, 0 for NORMAL."""
        return self._controller.number

    @property
    def transitions_total(self) -> dict[str, int]:
        """Changes of the level: `FROM>TO` → how often."""
        return dict(self._controller.transitions_total)

    def update(
        self,
        lag_trades: int | None,
        lag_seconds: float | None,
        dedup: DedupStatus,
        spill_trouble: str,
        commits_every_s: float,
    ) -> None:
        """Measure, and follow with the level. lag_trades, lag_seconds: None while a watermark is unknown.

        commits_every_s: as `LagWindow.add`.
        """
        slope = self._slope.add(lag_trades) if lag_trades is not None else 0.0
        self._controller.update(
            PressureSignals(
                lag_trades=None if lag_trades is None else self._lag_window.add(lag_trades, commits_every_s),
                memory=self._memory.used_fraction(dedup.bytes, dedup.planned_bytes),
                lag_seconds=lag_seconds,
                slope=slope,
                trouble=spill_trouble,
            )
        )

    def snapshot(self, dedup: DedupStatus) -> PressureFigures:
        """The pressure as it stands. dedup: its planned memory is no pressure."""
        controller = self._controller
        return PressureFigures(
            level=controller.level.name,
            level_number=controller.number,
            level_reason=controller.transitions[-1].reason if controller.transitions else "",
            cooldown_left_s=round(controller.cooldown_left_s(), 1) if controller.number else 0.0,
            ladder=self._ladder,
            transitions=list(controller.transitions)[-TRANSITIONS_SHOWN:],
            intake=controller.intake,
            lag_slope=round(self._slope.value),
            budget=self.budget.per_s,
            memory_bytes=self._memory.resident_bytes(),
            memory_share=self._memory.used_fraction(dedup.bytes, dedup.planned_bytes),
        )

    def batch_limit(self, trades: int) -> float:
        """Trades that may go through the steps together: `trades`, or fewer under a budget."""
        return min(trades, math.inf if self.budget.per_s is None else self.budget.per_s * BUDGET_BATCH_S)
