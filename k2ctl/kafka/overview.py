"""The platform at a glance, from the broker alone: what workers say of themselves, held against its offsets."""

import time
from dataclasses import dataclass, field
from typing import Any, Final

from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.telemetry import TelemetryReader
from k2ctl.timing import Every

OFFSETS_EVERY_S: Final = 1.0
TRANSITIONS_SHOWN: Final = 20
TERMS: Final = ("seen", "stored", "duplicate", "shed", "spilled", "lost", "dead_lettered", "undecodable")


@dataclass(frozen=True)
class Overview:
    """One tick of `watch`. Lags and counts are trades unless named records; None means unknown.

    level: the worst of all consumers; reason, ladder and cooldown are that consumer's. lag_trades: in Kafka and not
    admitted yet, the lag that controls. lag_committed_trades: in Kafka and not in the table. lag_seconds: age of the
    oldest such record; critical_lag_seconds: of CRITICAL ones. drain_s: until the lag is gone at the present rates.
    The terms of the accounting identity are the table's, for the topics that are consumed; `pending` completes it.
    state: the worst guarantee of sequence state (`k2ctl.sequence.guarantee`), and why it is reduced. lost_gap_trades:
    in
    gaps that stayed open past the deadline. outstanding: deferred and not backfilled.
    by_priority: priority → action → trades, since the consumers started.
    """

    at_us: int
    level: str
    level_number: int
    level_reason: str
    cooldown_left_s: float
    lag_trades: int | None
    lag_committed_trades: int | None
    lag_records: int | None
    lag_seconds: float | None
    critical_lag_seconds: float | None
    lag_slope: float
    drain_s: float | None
    retention_left_s: float | None
    intake: str
    outstanding: int
    outstanding_spilled: int
    backfilled: int
    open_gaps: int
    missing_trades: int
    explained_trades: int
    budget: float | None
    rate_loaded: float | None
    rate_in: float
    rate_committed: float
    pending: int
    seen: int
    stored: int
    duplicate: int
    shed: int
    spilled: int
    lost: int
    dead_lettered: int
    undecodable: int
    memory_share: float
    memory_bytes: int
    commit_ms: float
    snapshot_age_s: float | None
    by_priority: dict[str, dict[str, int]] = field(default_factory=dict)
    ladder: list[dict[str, Any]] = field(default_factory=list)
    transitions: list[dict[str, Any]] = field(default_factory=list)
    consumers: list[dict[str, Any]] = field(default_factory=list)
    loaders: list[dict[str, Any]] = field(default_factory=list)
    state: str = ""
    state_why: str = ""
    lost_gap_trades: int = 0
    unverified_symbols: int = 0
    untracked_trades: int = 0


class OverviewReader:
    """Follows telemetry and watermarks of the running stack."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._admin = BrokerAdmin(endpoints)
        self._telemetry = TelemetryReader(endpoints)
        self._highs: dict[str, dict[int, int]] = {}
        self._offsets_every = Every(OFFSETS_EVERY_S)

    def poll(self, timeout_s: float = 0.1) -> Overview:
        """The platform as it stands."""
        statuses = list(self._telemetry.poll(timeout_s).values())
        consumers = [status for status in statuses if status.get("kind") == "consumer"]
        loaders = [status for status in statuses if status.get("kind") == "load"]
        self._refresh_watermarks({str(status["topic"]) for status in consumers})
        return overview_of(consumers, loaders, self._highs, time.time_ns() // 1000)

    def _refresh_watermarks(self, topics: set[str]) -> None:
        if not self._offsets_every.due():
            return
        for topic in topics:
            try:
                self._highs[topic] = {p: mark.high for p, mark in self._admin.watermarks(topic).items()}
            except BrokerError:
                self._highs.pop(topic, None)

    def close(self) -> None:
        """Leave the broker."""
        self._telemetry.close()


def overview_of(
    consumers: list[dict[str, Any]], loaders: list[dict[str, Any]], highs: dict[str, dict[int, int]], now_us: int
) -> Overview:
    """Aggregate statuses; `highs` are the high watermarks per topic and partition."""
    worst = max(consumers, key=lambda status: status["level_number"], default=None)
    records = [_behind(status, highs.get(status["topic"])) for status in consumers]
    committed = [
        None if behind is None else round(behind * status["trades_per_record"])
        for status, behind in zip(consumers, records, strict=True)
    ]
    tables = _newest_of_topics(consumers)
    last_commit_us = max((status["last_commit_at_us"] for status in consumers), default=0)
    budgets = [status["budget"] for status in consumers if status["budget"] is not None]
    moves = [move for status in consumers for move in status["transitions"]]
    return Overview(
        at_us=now_us,
        level=worst["level"] if worst else "UNKNOWN",
        level_number=worst["level_number"] if worst else 0,
        level_reason=worst["level_reason"] if worst else "no consumer speaks; start one with: k2ctl consume",
        cooldown_left_s=worst["cooldown_left_s"] if worst else 0.0,
        lag_trades=_total([status["lag_trades"] for status in consumers]),
        lag_committed_trades=_total(committed),
        lag_records=_total(records),
        lag_seconds=_oldest(consumers, "lag_seconds"),
        critical_lag_seconds=_oldest(consumers, "critical_lag_seconds"),
        lag_slope=sum(status["lag_slope"] for status in consumers),
        drain_s=max((s["drain_s"] for s in consumers if s["drain_s"] is not None), default=None),
        retention_left_s=min(
            (s["retention_left_s"] for s in consumers if s["retention_left_s"] is not None), default=None
        ),
        intake="closed" if any(status["intake"] == "closed" for status in consumers) else "open",
        outstanding=sum(status["outstanding"] for status in tables),
        outstanding_spilled=sum(status["outstanding_spilled"] for status in tables),
        backfilled=sum(status["backfilled"] for status in consumers),
        open_gaps=sum(status["sequence"]["open_gaps"] for status in consumers),
        missing_trades=sum(status["sequence"]["missing_trades"] for status in consumers),
        explained_trades=sum(status["sequence"]["explained"] for status in consumers),
        budget=sum(budgets) if budgets else None,
        rate_loaded=sum(status["rate"] for status in loaders) if loaders else None,
        rate_in=sum(status["rate_in"] for status in consumers),
        rate_committed=sum(status["rate_committed"] for status in consumers),
        pending=sum(status["pending"] for status in consumers),
        memory_share=max((status["memory_share"] for status in consumers), default=0.0),
        memory_bytes=sum(status["memory_bytes"] for status in consumers),
        commit_ms=max((status["commit_ms"] for status in consumers), default=0.0),
        snapshot_age_s=max(0.0, (now_us - last_commit_us) / 1e6) if last_commit_us else None,
        by_priority=_summed([status["by_priority"] for status in consumers]),
        ladder=worst["ladder"] if worst else [],
        transitions=sorted(moves, key=lambda move: move["at_us"])[-TRANSITIONS_SHOWN:],
        consumers=consumers,
        loaders=loaders,
        state=str(_least_state(consumers).get("guarantee", "")),
        state_why=str(_least_state(consumers).get("why", "")),
        lost_gap_trades=_sequences(consumers, "lost_trades"),
        unverified_symbols=_sequences(consumers, "unverified"),
        untracked_trades=_sequences(consumers, "untracked"),
        **{term: sum(status["counts"][term] for status in tables) for term in TERMS},
    )


def _least_state(consumers: list[dict[str, Any]]) -> dict[str, Any]:
    """The state of the consumer whose guarantee is reduced, else of any."""
    states: list[dict[str, Any]] = [status.get("state") or {} for status in consumers]
    return max(states, key=lambda state: state.get("guarantee") == "REDUCED", default={})


def _sequences(consumers: list[dict[str, Any]], name: str) -> int:
    return sum(status["sequence"].get(name, 0) for status in consumers)


def _newest_of_topics(consumers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One status for each topic: of what they say of the table, all its partitions, the latest commit's is true."""
    newest: dict[str, dict[str, Any]] = {}
    for status in sorted(consumers, key=lambda status: (int(status.get("table_sequence", 0)), int(status["at_us"]))):
        newest[status["topic"]] = status
    return list(newest.values())


def _oldest(consumers: list[dict[str, Any]], name: str) -> float | None:
    """The largest age; None when one is unknown, or there is none."""
    ages = [status[name] for status in consumers]
    return None if not ages or None in ages else max(ages)


def _summed(tables: list[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    """Tables of the same shape, added cell by cell."""
    total: dict[str, dict[str, int]] = {}
    for table in tables:
        for row, cells in table.items():
            for column, value in cells.items():
                total.setdefault(row, {}).setdefault(column, 0)
                total[row][column] += value
    return total


def _behind(status: dict[str, Any], highs: dict[int, int] | None) -> int | None:
    """Records between what a consumer has committed and the end of its partitions."""
    if highs is None:
        return None
    parts = status["partitions"]
    return int(sum(max(0, highs.get(part["partition"], 0) - part["committed"]) for part in parts))


def _total(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None
