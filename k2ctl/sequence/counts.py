"""What sequence tracking counts, and the limits by which it judges."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SequenceRules:
    """large_gap: missing numbers from which a gap is large. lost_after_s: how long a gap may stay open.

    new_session_s: a number that falls while exchange time goes on by more is a restart. idle_after_s: without a trade
    for so long, a symbol is idle.
    """

    large_gap: int = 100
    lost_after_s: float = 900.0
    new_session_s: float = 60.0
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
