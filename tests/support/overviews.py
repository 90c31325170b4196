"""An overview of a stack as `watch` shows it."""

from dataclasses import replace

from k2ctl.domain.overview import Overview
from k2ctl.domain.status_parts import SequenceCounts, Transition
from k2ctl.profiles import load_profile
from k2ctl.profiles.universe import PRIORITIES
from tests.support.statuses import a_ladder

LEVELS = load_profile("laptop").degradation.levels


def made(level: int, lag: int = 1_234_567) -> Overview:
    """An overview with large figures everywhere."""
    name = LEVELS[level].name
    return replace(
        Overview.of([], at_us=1_700_000_000_000_000),
        level=name, level_number=level, level_reason="lag 12,345,678 ≥ 5,000,000 trades, +123,456/s",
        ladder=a_ladder(), lag_trades=lag, lag_seconds=123.4, critical_lag_seconds=5.6, drain_s=99.0,
        cooldown_left_s=29.0,
        seen=10**9, stored=987_654_321, pending=1_999_999, shed=10**7, spilled=10**7, backfilled=5 * 10**6,
        sequence=SequenceCounts(open_gaps=12, missing_trades=34_567), budget=250_000.0,
        rate_loaded=499_999.0, rate_in=250_000.0,
        by_priority={p: {"process": 10**8, "spill": 10**6, "shed": 10**7} for p in PRIORITIES},
        transitions=[Transition(1_700_000_000_000_000, "SOFT", name, "x" * 90)] * 30,
        retention_left_s=30.0, intake=LEVELS[level].intake,
    )  # fmt: skip
