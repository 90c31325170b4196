"""The counts of sequence tracking that only grow, and its limits."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SequenceRules:
    """The limits of sequence tracking."""

    # Missing numbers from which a gap is large.
    large_gap: int = 100
    # How long a gap may stay open.
    lost_after_s: float = 900.0
    # A number that falls while exchange time advances by more is a restart.
    new_session_s: float = 60.0
    # A symbol without a trade for so long is idle.
    idle_after_s: float = 300.0


@dataclass
class SequenceTotals:
    """Those of the counts that only grow."""

    in_order: int = 0
    out_of_order: int = 0
    resets: int = 0
    untracked: int = 0
    duplicates: int = 0
    small_gaps: int = 0
    large_gaps: int = 0
    filled_gaps: int = 0
    explained_by_reset: int = 0
    unverified: int = 0
