"""A consumer in a few lines: its level, what somebody has to look at, and how far its partitions are."""

from typing import Final

from rich.text import Text

from k2ctl.domain.dedup_status import DedupStatus
from k2ctl.domain.status import ConsumerStatus
from k2ctl.domain.status_parts import REDUCED
from k2ctl.views.consume import clock_line, dedup_troubles
from k2ctl.views.style import LEVEL_STYLES, bar, count, seconds

UNANSWERED_S: Final = 10.0
"""An author announces again after a second or two; a committer that is gone is followed by another within ten."""


def consumer_lines(status: ConsumerStatus) -> list[Text]:
    """One line for the consumer, one for each trouble, one for each partition."""
    first = Text.assemble(
        (f"{status.id} ", "bold"),
        (status.level, LEVEL_STYLES[status.level]),
        f"  {len(status.partitions)} partitions  commit {status.commit_ms:.0f} ms",
        ("  commits for all", "green") if status.group_commit.is_committer else "",
    )
    troubles = [Text(f"  {line}", style="yellow", no_wrap=True, overflow="ellipsis") for line in _troubles(status)]
    worst = max((part.behind for part in status.partitions), default=0)
    partitions = [
        Text.assemble(
            (f"{part.partition:>4} ", "dim"),
            bar(part.behind / worst if worst else 0.0, 20),
            f" {count(part.behind)} records",
        )
        for part in status.partitions
    ]
    return [first, *troubles, *partitions]


def _troubles(status: ConsumerStatus) -> list[str]:
    """What a consumer reports that somebody has to look at."""
    state, unanswered_s = status.state, status.group_commit.announcement_age_s or 0.0
    return [
        *([f"no committer has answered for {seconds(unanswered_s)}"] if unanswered_s > UNANSWERED_S else []),
        *([f"state {REDUCED}: {state.why}"] if state and state.is_reduced else []),
        *dedup_troubles(status.dedup.tier),
        *([f"waiting: {status.waiting}"] if status.waiting else []),
        *([clock_line(status.clock_behind_s)] if status.clock_behind_s else []),
        *([f"maintenance fails: {status.maintenance_error}"] if status.maintenance_error else []),
        *([f"dedup state is not saved: {status.dedup_save_error}"] if status.dedup_save_error else []),
        *([_erring(status.dedup)] if status.dedup.errs_beyond_plan else []),
    ]


def _erring(dedup: DedupStatus) -> str:
    return f"Bloom chunks err: {dedup.false_positive_rate or 0.0:.2%}, planned {dedup.planned_error_rate:.2%}"
