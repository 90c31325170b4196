"""What consumers and load generators report on `k2.telemetry`, every 500 ms.

Each field is a figure: its meaning, its metrics and how those of several consumers make one stand beside it, and
`k2ctl.metrics`, `k2ctl.domain.overview` and the dashboards' checks are derived from that. A new figure is a field here
and its value where it is measured: of pressure in `k2ctl.consume.degradation`, else in `k2ctl.consume.report`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter

from k2ctl.domain.checkpoint import TERMS, Counts
from k2ctl.domain.dedup_status import DedupStatus, all_dedup
from k2ctl.domain.figure import (
    TOPIC,
    Durations,
    cell_by_cell,
    counter,
    field_by_field,
    figure,
    first,
    first_said,
    flag,
    gauge,
    histogram,
    largest,
    largest_known,
    oldest,
    smallest_known,
    sum_of_known,
    total,
)
from k2ctl.domain.status_parts import (
    GroupCommitStatus,
    LadderLevel,
    MaintenanceTotals,
    PartitionStatus,
    SequenceCounts,
    StateSyncStatus,
    Transition,
)

TRANSITIONS_SHOWN: Final = 20
NOBODY_REPORTS: Final = "no consumer is reporting; start one with: k2ctl consume"
Status = TypeVar("Status")


def _by_action(action: str, *reason: str) -> Any:
    """The series of one action: one number for each priority."""
    return lambda table: [((priority, *reason), cells.get(action, 0)) for priority, cells in table.items()]


def _worst_state(states: Sequence[StateSyncStatus | None]) -> StateSyncStatus | None:
    """The first whose guarantee is reduced, else the first."""
    known = [state for state in states if state is not None]
    return max(known, key=lambda state: state.is_reduced, default=None)


def _newest_transitions(histories: Sequence[list[Transition]]) -> list[Transition]:
    moves = [move for history in histories for move in history]
    return sorted(moves, key=lambda move: move.at_us)[-TRANSITIONS_SHOWN:]


@dataclass(frozen=True, kw_only=True)
class PressureFigures:
    """The pressure on a consumer, and the level that follows it."""

    level: str = figure("The level's name.", combine=first("UNKNOWN"))
    level_number: int = figure(
        "Level of degradation: 0 NORMAL to 4 CIRCUIT_BREAK.",
        gauge("k2_degradation_level", TOPIC, across="max"),
        combine=first(0),
    )
    level_reason: str = figure("The signal that chose the level.", combine=first(NOBODY_REPORTS))
    cooldown_left_s: float = figure("Seconds until a better level may be entered.", combine=first(0.0))
    ladder: list[LadderLevel] = figure(
        "The levels, from NORMAL on.",
        gauge(
            "k2_degradation_threshold_trades",
            TOPIC,
            "level",
            meaning="Lag at which a level is entered, by the policy and the engine.",
            read=lambda levels: [((level.name,), level.lag) for level in levels[1:]],
            across="max",
        ),
        combine=first([]),
    )
    transitions: list[Transition] = figure("The last changes of level.", combine=_newest_transitions)
    intake: str = figure(
        "`closed` while producers are to wait, else `open`.",
        gauge(
            "k2_intake_open",
            TOPIC,
            meaning="1 while producers may send, 0 at CIRCUIT_BREAK.",
            read=flag(lambda intake: intake == "open"),
            across="min",
        ),
        combine=lambda values: "closed" if "closed" in values else "open",
    )
    lag_slope: float = figure("Trades per second by which the lag grows.", combine=sum)
    budget: float | None = figure("The cap on processed trades per second, if one is set.", combine=sum_of_known)
    memory_bytes: int = figure("Resident memory of the consumer.", gauge("k2_memory_bytes"), combine=sum)
    memory_share: float = figure(
        "Resident memory by its limit, planned state left out.", gauge("k2_memory_share"), combine=largest
    )


@dataclass(frozen=True, kw_only=True)
class Figures(PressureFigures):
    """What holds of one consumer, and of all of them together. Counts are trades; None means unknown.

    Rates are per second, over the last five seconds.
    """

    at_us: int
    lag_trades: int | None = figure(
        "Trades not yet admitted; this lag controls the level.", gauge("k2_consumer_lag_trades", TOPIC), combine=total
    )
    lag_committed_trades: int | None = figure("Trades in Kafka and not in the table.", combine=total)
    lag_seconds: float | None = figure(
        "Age of the oldest record that is not in the table.", gauge("k2_consumer_lag_seconds", TOPIC), combine=oldest
    )
    critical_lag_seconds: float | None = figure(
        "The same, of CRITICAL symbols' partitions.", gauge("k2_consumer_critical_lag_seconds", TOPIC), combine=oldest
    )
    drain_s: float | None = figure(
        "Time until the lag is gone, while it shrinks.",
        gauge("k2_consumer_drain_seconds", TOPIC),
        combine=largest_known,
    )
    retention_left_s: float | None = figure(
        "Time until Kafka's retention deletes what is still needed.",
        gauge("k2_retention_left_seconds", TOPIC),
        combine=smallest_known,
    )
    rate_in: float = figure(
        "Trades read per second, over five seconds.", gauge("k2_consumer_rate_in", TOPIC), combine=sum
    )
    rate_committed: float = figure(
        "Trades committed per second, over five seconds.", gauge("k2_consumer_rate_committed", TOPIC), combine=sum
    )
    pending: int = figure(
        "Trades that were read and are not committed yet.",
        gauge(
            "k2_trades",
            TOPIC,
            "term",
            meaning="The accounting identity: seen is the sum of the other terms, in trades.",
            read=lambda pending: [(("pending",), pending)],
        ),
        combine=sum,
    )
    outstanding: int = figure(
        "Trades deferred and not backfilled yet.", gauge("k2_trades_outstanding", TOPIC), combine=sum, of_table=True
    )
    outstanding_spilled: int = figure("Those of them that are spilled.", combine=sum, of_table=True)
    outstanding_of: dict[str, dict[str, int]] = figure(
        "The same by priorities and place: `LOW` or `HIGH+NORMAL` → `shed` (in Kafka) or `spill` (on disk) → trades.",
        combine=cell_by_cell,
        of_table=True,
        default_factory=dict,
    )
    backfilled: int = figure(
        "Trades that were deferred and are in the table now.", counter("k2_trades_backfilled_total"), combine=sum
    )
    by_priority: dict[str, dict[str, int]] = figure(
        "Trades since the start: priority → action → trades.",
        counter(
            "k2_messages_processed_total",
            "priority",
            meaning="Trades that were processed at once.",
            read=_by_action("process"),
        ),
        counter(
            "k2_messages_shed_total",
            "priority",
            "reason",
            meaning="Trades left in Kafka for later.",
            read=_by_action("shed", "degradation"),
        ),
        counter(
            "k2_messages_spilled_total",
            "priority",
            "reason",
            meaning="Trades deferred on disk.",
            read=_by_action("spill", "degradation"),
        ),
        combine=cell_by_cell,
    )
    sequence: SequenceCounts = figure(
        "What sequence tracking counted.", combine=partial(field_by_field, kind=SequenceCounts)
    )
    state: StateSyncStatus | None = figure(
        "How sequence state stands; of several the one that is reduced.",
        gauge(
            "k2_state_reduced",
            TOPIC,
            "store",
            meaning="1 while the state store lacks what is committed, 0 otherwise.",
            read=lambda state: [((state.store,), float(state.is_reduced))] if state else [],
        ),
        combine=_worst_state,
    )
    commit_ms: float = figure("How long the last commit took.", combine=largest)
    snapshot_age_s: float | None = figure(
        "Time since the last commit of this consumer.", gauge("k2_snapshot_age_seconds"), combine=smallest_known
    )
    maintenance_error: str = figure(
        "Why the last step of maintenance failed; empty while it works.",
        gauge(
            "k2_maintenance_failing",
            meaning="1 while the last step of maintenance failed, 0 otherwise.",
            read=flag(bool),
        ),
        combine=first_said,
    )
    dedup: DedupStatus = figure("What deduplication remembers and has judged.", combine=all_dedup)
    dedup_save_error: str = figure(
        "Why the last save of deduplication state failed; empty while it works.",
        gauge(
            "k2_dedup_save_failing",
            TOPIC,
            meaning="1 while the last save of deduplication state failed, 0 otherwise.",
            read=flag(bool),
        ),
        combine=first_said,
    )


@dataclass(frozen=True, kw_only=True)
class ConsumerStatus(Figures):
    """One consumer."""

    kind: str = "consumer"
    id: str
    pid: int
    topic: str
    epoch: str
    # True for the last status of a consumer that ends.
    stopped: bool = False
    # What this consumer cannot go on without (Kafka, catalog, store, its group, the end of a transaction); else empty.
    waiting: str = ""
    # Seconds by which this machine's clock is behind Kafka's, by which trades are judged then; 0 when it is not.
    clock_behind_s: float = 0.0
    lag_records: int | None = figure("Records that are not read yet.")
    trades_per_record: float
    partitions: list[PartitionStatus] = figure(
        "Offsets of the assigned partitions.",
        gauge(
            "k2_consumer_lag_messages",
            TOPIC,
            "partition",
            meaning="Records between the table's offset and the high watermark.",
            read=lambda parts: [((str(part.partition),), part.behind) for part in parts],
        ),
    )
    counts: Counts = figure(
        "The terms of the accounting identity, as the table has them.",
        gauge("k2_trades", TOPIC, "term", read=lambda counts: [((term,), getattr(counts, term)) for term in TERMS]),
        gauge(
            "k2_undecodable_records",
            TOPIC,
            meaning="Records that could not be decoded; they are dead letters.",
            read=lambda counts: [((), counts.undecodable)],
        ),
        gauge(
            "k2_filtered_records",
            TOPIC,
            meaning="What the feed says is no trade, and is left out: records, or parts of one.",
            read=lambda counts: [((), counts.filtered)],
        ),
    )
    transitions_total: dict[str, int] = figure(
        "Changes of the level since the start: `FROM>TO` → how often.",
        counter(
            "k2_degradation_transitions_total",
            "from_level",
            "to_level",
            meaning="Changes of the level since the start.",
            read=lambda moves: [(tuple(move.split(">")), times) for move, times in moves.items()],
        ),
    )
    commits: int = figure("Commits to the table.", counter("k2_commits_total"))
    commit_times: Durations = figure(
        "How long a commit took, spill files and dead letters included.", histogram("k2_commit_seconds")
    )
    # The time of the last commit; 0 before the first.
    last_commit_at_us: int
    snapshot_id: int | None
    # The sequence number of the commit after which the table stood as `counts` and `outstanding` say.
    table_sequence: int = 0
    group_commit: GroupCommitStatus = figure(
        "How group commit goes, for one of several consumers.", default=GroupCommitStatus()
    )
    maintenance: MaintenanceTotals = figure("What this process did for the table.", default=MaintenanceTotals())
    # In a group: how often partitions were assigned, how long the last assignment took, commits that were fenced.
    assignments_opened: int = 0
    stood_still_s: float = 0.0
    fenced_commits: int = 0


@dataclass(frozen=True)
class LoadStatus:
    """One load generator. Rates are trades per second."""

    id: str
    at_us: int
    topic: str
    rate: float
    target_rate: float
    # Trades handed to Kafka's client so far.
    sent: int
    paused_s: float
    paused_why: str
    kind: str = "load"
    stopped: bool = False


def loads(kind: type[Status], text: bytes) -> Status:
    """A status from its JSON, every value of its declared type; keys that `kind` does not have are ignored.

    Raises:
        ValueError: a field is missing or of another type.
    """
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    status: Status = _ADAPTERS[kind].validate_json(text)
    return status


_ADAPTERS: Final[dict[type, TypeAdapter[Any]]] = {}
