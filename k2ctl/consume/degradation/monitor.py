"""The pressure on one consumer, measured on every pass, and the level that follows it."""

import math
from collections.abc import Mapping

from k2ctl.clock import Clock
from k2ctl.consume.degradation.controller import Controller, LagWindow, PressureSignals
from k2ctl.consume.degradation.pressure import Budget, MemoryGauge, Slope
from k2ctl.profiles import Profile
from k2ctl.profiles.model import Level

BUDGET_BATCH_S = 0.1
"""The part of a second's budget that one batch may take."""


class PressureMonitor:
    """Owns the level. Lives as long as the consumer, over all its assignments."""

    def __init__(self, profile: Profile, budget_per_s: float | None, clock: Clock, *, embedded: bool) -> None:
        """embedded: on the embedded engine, whose smaller lag thresholds fit its 5 MiB per partition."""
        degradation = profile.degradation
        self.controller = Controller(degradation, clock, degradation.embedded_divisor if embedded else 1)
        self.budget = Budget(budget_per_s, clock)
        self.memory = MemoryGauge(profile.consumer.memory_limit_mb, clock)
        self.slope = Slope(clock)
        self._lag_window = LagWindow(max(2.0, 2 * profile.consumer.commit_interval_s), clock)

    @property
    def level(self) -> Level:
        """The level now."""
        return self.controller.level

    @property
    def number(self) -> int:
        """The level's number, 0 for NORMAL."""
        return self.controller.number

    def update(
        self, lag_trades: int | None, lag_seconds: float | None, dedup: Mapping[str, int], spill_trouble: str
    ) -> None:
        """Measure, and follow with the level. lag_trades, lag_seconds: None while a watermark is unknown."""
        slope = self.slope.add(lag_trades) if lag_trades is not None else 0.0
        self.controller.update(
            PressureSignals(
                lag_trades=None if lag_trades is None else self._lag_window.add(lag_trades),
                memory=self.memory_share(dedup),
                lag_seconds=lag_seconds,
                slope=slope,
                trouble=spill_trouble,
            )
        )

    def memory_share(self, dedup: Mapping[str, int]) -> float:
        """Resident memory by its limit. dedup: `HybridDeduplicator.statistics`, whose planned memory is no pressure."""
        return self.memory.used_fraction(dedup["bytes"], dedup["planned_bytes"])

    def batch_limit(self, trades: int) -> float:
        """Trades that may go through the steps together: `trades`, or fewer under a budget."""
        return min(trades, math.inf if self.budget.per_s is None else self.budget.per_s * BUDGET_BATCH_S)
