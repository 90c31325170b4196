"""What one consumer process has done since it started."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from k2ctl.deferred.admission import ACTIONS
from k2ctl.domain.figure import Durations
from k2ctl.lake.writer import Committed
from k2ctl.profiles.universe import PRIORITIES

STEPS: Final = ("decode", "admit", "dedup", "sequence", "enrich", "commit")
"""The steps of a batch by name, in their order (design, section 4)."""


@dataclass
class ConsumerTotals:
    """Counts since the start of the process."""

    records: int = 0
    """Kafka records read."""
    trades: int = 0
    """Valid trades in them."""
    stored: int = 0
    """Rows in the table by commits of this process."""
    backfilled: int = 0
    """Deferred trades that were resolved and stored."""
    left_in_kafka: int = 0
    """Rows that were read and dropped at the end, because committing them would have taken too long."""
    fenced: int = 0
    """Commits of which at least one partition was fenced."""
    commits: int = 0
    written_bytes: int = 0
    """Size of the Parquet files."""
    last_commit: Committed | None = None
    last_commit_s: float = 0.0
    """How long the last commit took."""
    last_commit_at_us: int = 0
    commit_times: Durations = field(default_factory=Durations)
    by_priority: np.ndarray = field(default_factory=lambda: np.zeros((len(PRIORITIES), len(ACTIONS)), np.int64))
    """int64[priorities, actions]: trades."""

    @property
    def trades_per_record(self) -> float:
        """The mean so far; 1 before the first record."""
        return self.trades / self.records if self.trades else 1.0

    def add_commit(self, committed: Committed, backfilled: int, seconds: float, at_us: int) -> None:
        """Count a commit. backfilled: the rows in it that had been deferred."""
        self.commits += 1
        self.stored += committed.stored
        if not committed.fenced:
            self.backfilled += backfilled
        self.written_bytes += committed.written_bytes
        self.last_commit, self.last_commit_s, self.last_commit_at_us = committed, seconds, at_us
        self.commit_times = self.commit_times.plus(seconds)
