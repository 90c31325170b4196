"""A backlog through k2ctl's consumer, and what it took."""

import threading
import time
from dataclasses import dataclass

from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.demo.pacing import unhurried
from k2ctl.endpoints import Endpoints
from k2ctl.errors import CheckFailed
from k2ctl.profiles import Profile


def require_all(stored: int, count: int, who: str, benchmark: str) -> None:
    """Raises:
    CheckFailed: not every trade was stored, so that the rate means nothing.
    """
    if stored != count:
        raise CheckFailed(f"{who} stored {stored:,} of {count:,} trades.", f"Try again: k2ctl bench {benchmark}")


@dataclass(frozen=True)
class Spent:
    """What one consumer took for a backlog."""

    trades: int
    seconds: float
    cpu_s: float


def through_k2ctl(endpoints: Endpoints, profile: Profile, *, state: str = "") -> Spent:
    """Drain a backlog with k2ctl's consumer. state: another store of state than the stack's.

    On a ladder within reach a backlog defers trades after two seconds, and what is measured is not a drain.
    """
    plan = ConsumerPlan(unhurried(profile), until_caught_up=True, state=state)
    cpu_s, started_s = time.process_time(), time.perf_counter()
    totals = Consumer(endpoints, plan).run(threading.Event())
    return Spent(totals.stored, time.perf_counter() - started_s, time.process_time() - cpu_s)
