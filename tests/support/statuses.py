"""Statuses of consumers, as tests want them."""

from typing import Any

from k2ctl.domain.checkpoint import Counts
from k2ctl.domain.dedup_status import DedupStatus
from k2ctl.domain.figure import Durations
from k2ctl.domain.status import ConsumerStatus
from k2ctl.domain.status_parts import LadderLevel, SequenceCounts
from k2ctl.profiles import load_profile
from k2ctl.profiles.universe import PRIORITIES


def a_ladder() -> list[LadderLevel]:
    """The levels of the laptop's profile."""
    return [
        LadderLevel(
            level.name,
            level.lag,
            level.lag // 2,
            level.memory,
            level.enrich,
            level.intake,
            {priority: getattr(level, priority) for priority in PRIORITIES},
        )
        for level in load_profile("laptop").degradation.levels
    ]


def a_status(name: str = "c", **figures: Any) -> ConsumerStatus:
    """A consumer that works, with some figures of its own."""
    usual: dict[str, Any] = {
        "id": name, "pid": 1, "at_us": 2_000_000, "topic": "t", "epoch": "e",
        "level": "NORMAL", "level_number": 0, "level_reason": "", "cooldown_left_s": 0.0, "ladder": a_ladder(),
        "transitions": [], "transitions_total": {}, "intake": "open",
        "lag_trades": 10, "lag_committed_trades": 5, "lag_records": 5, "lag_seconds": 1.0, "critical_lag_seconds": 0.0,
        "lag_slope": 1.0, "drain_s": None, "retention_left_s": None, "budget": None, "trades_per_record": 2.0,
        "rate_in": 5.0, "rate_committed": 5.0, "pending": 3, "counts": Counts(),
        "outstanding": 0, "outstanding_spilled": 0, "backfilled": 0,
        "by_priority": {priority: {"process": 1, "spill": 0, "shed": 0} for priority in PRIORITIES},
        "sequence": SequenceCounts(), "state": None, "memory_bytes": 100, "memory_share": 0.1,
        "commits": 1, "commit_ms": 1.0, "commit_times": Durations(), "last_commit_at_us": 1_000_000,
        "snapshot_age_s": 1.0, "snapshot_id": 1, "partitions": [], "dedup": DedupStatus(),
        "maintenance_error": "", "dedup_save_error": "",
    }  # fmt: skip
    return ConsumerStatus(**{**usual, **figures})
