"""What consumers and load generators say of themselves, every 500 ms, on `k2.telemetry`."""

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from typing import Final

COMMIT_BOUNDS_S: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Durations:
    """How long something took, each time. counts: how often up to each bound, and last beyond all; total_s: the sum."""

    bounds_s: tuple[float, ...] = COMMIT_BOUNDS_S
    counts: tuple[int, ...] = (0,) * (len(COMMIT_BOUNDS_S) + 1)
    total_s: float = 0.0

    def plus(self, seconds: float) -> "Durations":
        """With one more."""
        place = bisect_left(self.bounds_s, seconds)
        counts = (*self.counts[:place], self.counts[place] + 1, *self.counts[place + 1 :])
        return replace(self, counts=counts, total_s=self.total_s + seconds)


@dataclass(frozen=True)
class PartitionStatus:
    """Offsets of one partition, in records: read up to, committed up to, and the broker's high watermark."""

    partition: int
    position: int
    committed: int
    high_watermark: int


@dataclass(frozen=True)
class ConsumerStatus:
    """One consumer. Counts are trades unless their name says records; rates are per second.

    lag_trades: not yet admitted by the pipeline (it controls the level). lag_committed_trades: not yet in the table.
    lag_seconds: age of the oldest record that is not in the table; critical_lag_seconds: the same of CRITICAL symbols'
    partitions. drain_s: until the lag is gone at the present rates. retention_left_s: until Kafka deletes what is still
    needed. None means unknown, or that it will not happen.
    counts: the terms of the accounting identity, what this process's partitions hold in the table. outstanding: trades
    put
    aside and not backfilled, of any epoch. by_priority: what this process did, priority → action → trades.
    commit_times: how long this process's commits took. maintenance: what it did for the table, name → how often.
    waiting: what this consumer cannot go on without (Kafka, catalog, store, its group, the end of a transaction), as
    said last; else empty.
    clock_behind_s: how far this machine's clock is behind Kafka's, by which trades are judged then; 0 when it is not.
    state: where sequence state is kept, and what holds of it now (`k2ctl.sequence.guarantee`).
    table_sequence: of the commit after which the table stood as `counts` and `outstanding` say. In a group:
    assignments_opened, how
    often the share of the topic was taken over anew; stood_still_s, how long the last time; fenced_commits, those of
    which others had moved a part.
    ladder: the levels with their thresholds, as scaled for the engine. transitions_total: `FROM>TO` → how often.
    """

    id: str
    pid: int
    at_us: int
    topic: str
    epoch: str
    level: str
    level_number: int
    level_reason: str
    cooldown_left_s: float
    lag_trades: int | None
    lag_records: int | None
    lag_committed_trades: int | None
    lag_seconds: float | None
    trades_per_record: float
    rate_in: float
    rate_committed: float
    pending: int
    counts: dict[str, int]
    memory_bytes: int
    memory_share: float
    commits: int
    commit_ms: float
    last_commit_at_us: int
    snapshot_id: int | None
    critical_lag_seconds: float | None
    lag_slope: float
    drain_s: float | None
    retention_left_s: float | None
    intake: str
    budget: float | None
    outstanding: int
    outstanding_spilled: int
    backfilled: int
    by_priority: dict[str, dict[str, int]]
    ladder: list[dict[str, object]]
    sequence: dict[str, int]
    dedup: dict[str, int]
    partitions: list[PartitionStatus] = field(default_factory=list)
    transitions: list[dict[str, object]] = field(default_factory=list)
    transitions_total: dict[str, int] = field(default_factory=dict)
    state: dict[str, object] = field(default_factory=dict)
    commit_times: Durations = field(default_factory=Durations)
    maintenance: dict[str, int] = field(default_factory=dict)
    table_sequence: int = 0
    assignments_opened: int = 0
    stood_still_s: float = 0.0
    fenced_commits: int = 0
    waiting: str = ""
    clock_behind_s: float = 0.0
    # Why the last step of maintenance failed, and why the last save of deduplication state did; empty while they work.
    maintenance_error: str = ""
    dedup_save_error: str = ""
    kind: str = "consumer"
    stopped: bool = False


@dataclass(frozen=True)
class LoadStatus:
    """One load generator. Rates are trades per second, `sent` trades handed to Kafka's client so far."""

    id: str
    at_us: int
    topic: str
    rate: float
    target_rate: float
    sent: int
    paused_s: float
    paused_why: str
    kind: str = "load"
    stopped: bool = False
