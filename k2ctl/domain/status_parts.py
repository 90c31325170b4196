"""What a consumer's status is made of: partitions, levels, sequence numbers, their state, maintenance."""

from dataclasses import dataclass
from typing import Final

from k2ctl.domain.figure import TOPIC, counter, field_by_field, figure, flag, gauge

OWN: Final = "OWN"
SHARED: Final = "SHARED"
REDUCED: Final = "REDUCED"
"""What a consumer guarantees of what it shares with others: nothing is shared, all is, or a part is missing there. What
that means is said of sequence state in `k2ctl.sequence.state_sync`, of deduplication in `k2ctl.domain.dedup_status`."""


@dataclass(frozen=True)
class PartitionStatus:
    """Offsets of one partition, in records."""

    partition: int
    # The next record to read.
    position: int
    # The next record that is not in the table.
    committed: int
    # The end of the log; 0 while it is unknown.
    high_watermark: int

    @property
    def behind(self) -> int:
        """Records that are not in the table."""
        return max(0, self.high_watermark - self.committed)


@dataclass(frozen=True)
class LadderLevel:
    """One level of degradation, with its thresholds as scaled for the engine."""

    name: str
    # The lag in trades at which the level is entered, and below which it may be left.
    lag: int
    exit_lag: int
    # The share of the memory's limit at which it is entered.
    memory: float
    enrich: bool
    # `open` or `closed`.
    intake: str
    # Priority → `process`, `spill` or `shed`.
    actions: dict[str, str]


@dataclass(frozen=True)
class Transition:
    """A change of level."""

    at_us: int
    from_level: str
    to_level: str
    # Which signal, its value and the threshold.
    reason: str


@dataclass(frozen=True)
class SequenceCounts:
    """What sequence tracking counted since the start, in trades unless a name says gaps or symbols."""

    in_order: int = 0
    out_of_order: int = figure(
        "Trades whose sequence number came late.", counter("k2_out_of_order_trades_total", TOPIC), default=0
    )
    resets: int = figure(
        "Restarts of a symbol's sequence numbers.", counter("k2_sequence_resets_total", TOPIC), default=0
    )
    untracked: int = figure(
        "Trades of venues that give no sequence numbers.", counter("k2_untracked_trades_total", TOPIC), default=0
    )
    open_gaps: int = figure("Gaps in sequence numbers that are open now.", gauge("k2_open_gaps", TOPIC), default=0)
    missing_trades: int = figure("Sequence numbers in the open gaps.", gauge("k2_missing_trades", TOPIC), default=0)
    explained: int = figure(
        "Missing sequence numbers that were deferred.", gauge("k2_explained_trades", TOPIC), default=0
    )
    duplicates: int = 0
    # Gaps by the number of missing trades, and those that were filled later.
    small_gaps: int = 0
    large_gaps: int = 0
    filled_gaps: int = 0
    # Gaps that stayed open past the deadline.
    lost_gaps: int = 0
    lost_trades: int = figure(
        "Sequence numbers in gaps open past the deadline.", gauge("k2_lost_gap_trades", TOPIC), default=0
    )
    # Missing when the venue restarted its numbers.
    explained_by_reset: int = 0
    unverified: int = figure(
        "Symbols followed from the middle: what came before is not known.",
        gauge("k2_unverified_symbols", TOPIC),
        default=0,
    )
    symbols: int = 0
    idle_symbols: int = figure("Symbols without a trade for five minutes.", gauge("k2_idle_symbols", TOPIC), default=0)


@dataclass(frozen=True)
class StateSyncStatus:
    """How sequence state stands."""

    # `memory` or `redis`.
    store: str
    # A key of `k2ctl.sequence.state_sync.GUARANTEES`.
    guarantee: str
    # What reduces the guarantee; empty if nothing does.
    why: str
    behind_symbols: int = figure(
        "Symbols committed and not in the state store.", gauge("k2_state_behind_symbols", TOPIC), default=0
    )
    publications: int = 0
    # Partitions written to the store as a whole, because it had lost them or never had them.
    rebuilt_partitions: int = 0
    failures: int = figure(
        "Calls of the state store that failed.", counter("k2_state_failures_total", TOPIC), default=0
    )
    # The last keys of the store that another program had written to, each with what was wrong.
    damaged: tuple[str, ...] = ()

    @property
    def is_reduced(self) -> bool:
        """True while the store lacks what is committed."""
        return self.guarantee == REDUCED


@dataclass(frozen=True)
class GroupCommitStatus:
    """How the commits of one of several consumers go, and what it commits for the others; all 0 where it is alone."""

    # Offers that were announced.
    announced: int = 0
    direct: int = figure(
        "Offers that their author committed, because no committer answered or it was refused.",
        counter("k2_direct_commits_total"),
        default=0,
    )
    conflicts: int = figure(
        "Tries of a commit that another commit came before.", counter("k2_commit_conflicts_total"), default=0
    )
    group_commits: int = figure(
        "Commits that this process made for others and itself.", counter("k2_group_commits_total"), default=0
    )
    offers_committed: int = figure(
        "Offers that these commits took.", counter("k2_group_committed_offers_total"), default=0
    )
    is_committer: bool = figure(
        "Whether this process commits what others announce.",
        gauge(
            "k2_committer", meaning="1 while this process commits what others announce, 0 otherwise.", read=flag(bool)
        ),
        default=False,
    )
    announcement_age_s: float | None = figure(
        "Age of the oldest announcement since which no committer has answered; unknown where none is made.",
        gauge("k2_announcement_age_seconds", across="max"),
        default=None,
    )


@dataclass(frozen=True)
class MaintenanceTotals:
    """What the background maintenance of one process has done since its start."""

    compactions: int = figure("Merges of small files by this consumer.", counter("k2_compactions_total"), default=0)
    files_merged: int = figure("Small files that became larger ones.", counter("k2_files_merged_total"), default=0)
    snapshots_expired: int = figure(
        "Old snapshots that were dropped.", counter("k2_snapshots_expired_total"), default=0
    )
    orphans_removed: int = figure(
        "Unreachable files that were deleted.", counter("k2_orphans_removed_total"), default=0
    )

    def __add__(self, other: "MaintenanceTotals") -> "MaintenanceTotals":
        return field_by_field([self, other], MaintenanceTotals)
