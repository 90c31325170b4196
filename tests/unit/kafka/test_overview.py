"""Several consumers as one platform: lags add up, the table is counted once."""

from dataclasses import asdict
from typing import Any

from k2ctl.domain.checkpoint import Counts
from k2ctl.kafka.overview import TERMS, overview_of
from k2ctl.profiles.universe import PRIORITIES


def status(name: str, level: int, partitions: dict[int, int], stored: int, sequence: int, at_us: int) -> dict[str, Any]:
    """A consumer that holds partitions (number → committed offset), all of them read up to 100."""
    return {
        "id": name, "kind": "consumer", "topic": "t", "level": ["NORMAL", "SOFT"][level], "level_number": level,
        "level_reason": name, "cooldown_left_s": 0.0, "lag_trades": 10, "lag_seconds": 1.0, "critical_lag_seconds": 0.0,
        "lag_slope": 1, "drain_s": None, "retention_left_s": None, "intake": "open", "trades_per_record": 2.0,
        "outstanding": 0, "outstanding_spilled": 0, "backfilled": 0, "budget": None, "rate_in": 5.0,
        "rate_committed": 5.0, "pending": 3, "memory_share": 0.1, "memory_bytes": 100,
        "commit_ms": 1.0, "last_commit_at_us": at_us,
        "counts": asdict(Counts(seen=stored, stored=stored)), "table_sequence": sequence, "at_us": at_us,
        "sequence": {"open_gaps": 1, "missing_trades": 2, "explained": 0},
        "by_priority": {p: {"process": 1, "spill": 0, "shed": 0} for p in PRIORITIES},
        "ladder": [], "transitions": [], "state": {},
        "partitions": [
            {"partition": p, "position": 100, "committed": at, "high_watermark": 100} for p, at in partitions.items()
        ],
    }  # fmt: skip


def test_the_level_is_the_worst_lags_add_up_and_the_table_counts_once() -> None:
    behind = status("idle", 1, {0: 90, 2: 90}, stored=500, sequence=7, at_us=2_000_000)
    ahead = status("busy", 0, {1: 95, 3: 100}, stored=800, sequence=9, at_us=1_000_000)
    for consumers in ([behind, ahead], [ahead, behind]):
        seen = overview_of(consumers, [], {"t": dict.fromkeys(range(4), 100)}, 3_000_000)
        assert (seen.level, seen.level_reason, seen.lag_trades, seen.lag_records) == ("SOFT", "idle", 20, 25)
        assert (seen.stored, seen.pending, seen.open_gaps) == (800, 6, 2), "what the latest commit says of the table"
        assert {term for term in TERMS if getattr(seen, term)} == {"seen", "stored"}
        assert seen.by_priority["LOW"]["process"] == 2
