"""An overview of a stack as `watch` shows it."""

import math
from dataclasses import replace

from k2ctl.domain.checkpoint import Counts
from k2ctl.domain.overview import Overview
from k2ctl.domain.status import ConsumerStatus, LoadStatus
from k2ctl.domain.status_parts import GroupCommitStatus, PartitionStatus, SequenceCounts, Transition
from k2ctl.profiles import load_profile
from k2ctl.profiles.universe import PRIORITIES
from k2ctl.views.watch.history import LagHistory
from tests.support.statuses import a_ladder, a_status

AT_US = 1_700_000_000_000_000
LADDER = a_ladder()
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


def three_consumers(level: int = 3) -> Overview:
    """Three consumers that share 64 partitions, of which the first is at a level; two loads."""
    statuses = [_busy(number, level if number == 1 else min(level, 1)) for number in (1, 2, 3)]
    loads = [LoadStatus(f"load-{n}", AT_US, "t", 250_000.0, 250_000.0, 31_234_567, 0.0, "") for n in (1, 2)]
    return Overview.of(statuses, loads, at_us=AT_US)


def _busy(number: int, level: int) -> ConsumerStatus:
    moves = [(900, "NORMAL", "SOFT"), (420, "SOFT", "GRACEFUL"), (300, "GRACEFUL", LEVELS[level].name)]
    parts = [PartitionStatus(p, 9 * 10**6, 9 * 10**6 - p * 7_000, 10**7) for p in range(number - 1, 64, 3)]
    counts = Counts(seen=1_001_234_567, stored=980_000_000, shed=10**7, spilled=9_234_567, duplicate=1_999_000,
                    dead_lettered=1_000)  # fmt: skip
    return a_status(
        f"consumer-{number}",
        at_us=AT_US, level=LEVELS[level].name, level_number=level, cooldown_left_s=17.0,
        level_reason=f"lag {level},234,567 ≥ {LEVELS[level].lag:,} trades, +123,456/s", intake=LEVELS[level].intake,
        lag_trades=1_234_567, lag_seconds=12.3, critical_lag_seconds=1.2, drain_s=99.0,
        rate_in=83_333.0, rate_committed=61_000.0, pending=33_333, counts=counts, memory_share=0.63,
        memory_bytes=640_000_000, commit_ms=61.0, partitions=parts, backfilled=1_666_000,
        outstanding=19_234_567, outstanding_spilled=9_234_567, table_sequence=number,
        outstanding_of={"LOW": {"shed": 10**7}, "NORMAL": {"spill": 9 * 10**6}, "HIGH+NORMAL": {"spill": 234_567}},
        by_priority={p: {"process": 10**8, "spill": 10**6 * (p == "NORMAL"), "shed": 10**7 * (p == "LOW")}
                     for p in PRIORITIES},
        transitions=[Transition(AT_US - ago * 10**6 + number, before, after, f"lag {ago},567 ≥ 100,000 trades")
                     for ago, before, after in moves],
        transitions_total={"NORMAL>SOFT": 3, "SOFT>GRACEFUL": 2, "GRACEFUL>SOFT": 1},
        group_commit=GroupCommitStatus(is_committer=number == 1),
        waiting="Kafka does not answer" if number == 3 else "",
    )  # fmt: skip


def waves(overview: Overview, ticks: int = 600) -> LagHistory:
    """A lag that rises and falls, up to now."""
    history = LagHistory()
    for number in range(ticks):
        lag = round(600_000 * (1.0 + math.sin(number / 60)) + 2_000)
        at_us = overview.at_us - (ticks - 1 - number) * 500_000
        history.add(
            replace(overview, at_us=at_us, lag_trades=lag, level_number=sum(one.lag < lag for one in LADDER[1:]))
        )
    return history
