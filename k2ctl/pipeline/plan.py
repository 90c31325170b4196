"""How to consume, and what has been done so far."""

import os
from dataclasses import dataclass, field

import numpy as np

from k2ctl.lake.writer import Committed
from k2ctl.pipeline.admit import ACTIONS
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import PRIORITIES
from k2ctl.schema.status import Durations


@dataclass
class Totals:
    """What this process has done since it started. by_priority: int64[priorities, actions], trades."""

    records: int = 0
    trades: int = 0
    stored: int = 0
    given_back: int = 0
    left_in_kafka: int = 0
    commits: int = 0
    written_bytes: int = 0
    last_commit: Committed | None = None
    last_commit_s: float = 0.0
    last_commit_at_us: int = 0
    commit_times: Durations = field(default_factory=Durations)
    by_priority: np.ndarray = field(default_factory=lambda: np.zeros((len(PRIORITIES), len(ACTIONS)), np.int64))


@dataclass
class ConsumerPlan:
    """How to consume.

    until_caught_up: end at the watermarks of the start. backfill: read nothing new, give back all that is owed, end.
    budget: processed trades per second at most, None for as many as the machine can. state: `memory` or the address of
    a Redis that keeps sequence state; empty for the stack's.
    """

    profile: Profile
    until_caught_up: bool = False
    backfill: bool = False
    rebase: bool = False
    budget: float | None = None
    state: str = ""
    consumer_id: str = field(default_factory=lambda: f"consumer-{os.getpid()}")
