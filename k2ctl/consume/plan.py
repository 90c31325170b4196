"""How to consume, and what has been done so far."""

import os
import socket
from dataclasses import dataclass, field

import numpy as np

from k2ctl.consume.pending import Pending
from k2ctl.deferred.admission import ACTIONS
from k2ctl.domain.figure import Durations
from k2ctl.lake.writer import Committed
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import PRIORITIES


@dataclass
class ConsumerTotals:
    """What this process has done since it started. fenced: commits of which others had moved a part.

    by_priority: int64[priorities, actions], trades.
    """

    records: int = 0
    trades: int = 0
    stored: int = 0
    backfilled: int = 0
    left_in_kafka: int = 0
    fenced: int = 0
    commits: int = 0
    written_bytes: int = 0
    last_commit: Committed | None = None
    last_commit_s: float = 0.0
    last_commit_at_us: int = 0
    commit_times: Durations = field(default_factory=Durations)
    by_priority: np.ndarray = field(default_factory=lambda: np.zeros((len(PRIORITIES), len(ACTIONS)), np.int64))

    def add(self, committed: Committed, pending: Pending, seconds: float, at_us: int) -> None:
        """Take note of a commit that took so long."""
        self.commits += 1
        self.stored += committed.stored
        if not committed.fenced:
            self.backfilled += sum(len(part.rows) for part in pending.backfilled)
        self.written_bytes += committed.written_bytes
        self.last_commit, self.last_commit_s, self.last_commit_at_us = committed, seconds, at_us
        self.commit_times = self.commit_times.plus(seconds)


def unique_id() -> str:
    """What a consumer without a name is called: no other that runs now has the same, on whatever machine."""
    return f"consumer-{socket.gethostname()}-{os.getpid()}"


@dataclass
class ConsumerPlan:
    """How to consume.

    until_caught_up: end at the watermarks of the start. backfill: read nothing new, backfill all that is outstanding,
    end.
    budget: processed trades per second at most, None for as many as the machine can. state: `memory` or the address of
    a Redis that keeps sequence state; empty for the stack's. group: hold a share of the topic beside other consumers,
    not all of it. named: the consumer's id is a name that it comes back under.
    """

    profile: Profile
    until_caught_up: bool = False
    backfill: bool = False
    rebase: bool = False
    budget: float | None = None
    state: str = ""
    group: bool = False
    named: bool = False
    consumer_id: str = field(default_factory=unique_id)
