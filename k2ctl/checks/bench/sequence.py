"""`k2ctl bench sequence`: following sequence numbers, in memory and through Redis, batch size by batch size.

A check through Redis is what the consumer does with a trade: the tracker judges it, what it has followed is cut, and
the store takes it, fenced, before the next batch.
"""

import time
import uuid
from collections.abc import Callable
from typing import Final

import numpy as np

from k2ctl.checks.bench.figures import Figure, against, measured, middle, repeated
from k2ctl.checks.bench.suite import Bench, Say
from k2ctl.clock import SystemClock
from k2ctl.home import Home
from k2ctl.load.market import SyntheticMarket, new_run_id
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import Universe
from k2ctl.sequence.gathered import GatheredSteps
from k2ctl.sequence.redis_store import RedisStateStore
from k2ctl.sequence.state_store import Fence, Update
from k2ctl.sequence.symbol_state import cut
from k2ctl.sequence.tracker import SequenceTracker
from k2ctl.stack.redis_server import private_redis

BATCHES: Final = {1: 2_000, 100: 200, 1_000: 50, 10_000: 20}
"""Trades in a batch → batches that are measured."""

FLOOR_MS: Final = 100.0
GOAL_MS: Final = 15.0
MEMORY_GOAL: Final = 2.5
SMALL_GOAL: Final = 1.0
ONE_BY_ONE_GOAL: Final = 10.0

Batch = tuple[np.ndarray, np.ndarray]
"""Trades, and the partition of each: int32[n]."""


def bench_sequence(bench: Bench) -> list[Figure]:
    """With symbols that all trade alike."""
    return sequence_figures(bench.even, bench.sizes.repeat, bench.say)


def sequence_figures(profile: Profile, repeat: int, say: Say) -> list[Figure]:
    """Memory first, then a Redis of its own; each figure is the median of `repeat` runs."""
    universe = Universe(profile)
    figures = [_in_memory(universe, size, repeat, say) for size in BATCHES]
    with Home.of_user().temporary("bench-") as home, private_redis(home) as url:
        return figures + _through_redis(universe, url, repeat, say)


def _batches(universe: Universe, size: int) -> list[Batch]:
    """Batches of a market, one after the other: every symbol's numbers go on from batch to batch."""
    market, now_us = SyntheticMarket(universe, new_run_id()), time.time_ns() // 1000
    made = [market.take(size, now_us + n * 1000, now_us + n * 1000 + 999) for n in range(BATCHES[size])]
    numbers = np.arange(universe.profile.topic.partitions, dtype=np.int32)
    return [(batch.trades, np.repeat(numbers, batch.per_partition)) for batch in made]


def _in_memory(universe: Universe, size: int, repeat: int, say: Say) -> Figure:
    """The tracker against a loop over a dict, trade by trade."""

    def once() -> tuple[float, float]:
        batches = _batches(universe, size)
        steps, total = GatheredSteps(SequenceTracker(SystemClock())), size * len(batches)
        return total / _seconds(lambda: _follow(steps, batches)), total / _seconds(lambda: _dict_loop(batches))

    ours, loops = repeated(once, repeat, 1, lambda run: say(f"sequence: memory, batches of {size:,}, {run}"))
    goal = MEMORY_GOAL if size >= 10_000 else SMALL_GOAL
    return against("sequence", f"memory, {size:,}", "checks", ours, "trades/s", loops, goal)


def _through_redis(universe: Universe, url: str, repeat: int, say: Say) -> list[Figure]:
    figures, rates = [], {}
    for size in BATCHES:
        say(f"sequence: Redis, batches of {size:,}")
        milliseconds = [_published_ms(universe, url, size) for _ in range(repeat)]
        rates[size] = [size / middle(milliseconds) * 1000]
        goals = {"floor": FLOOR_MS, "goal": GOAL_MS} if size == 10_000 else {"goal": None}
        figures += [
            measured("sequence", f"Redis, {size:,}", f"per batch, {name}", milliseconds, "ms", goal, at_most=True)
            for name, goal in goals.items()
        ]
    case = f"Redis, {max(BATCHES):,} to 1"
    ratio = against("sequence", case, "checks", rates[max(BATCHES)], "trades/s", rates[1], ONE_BY_ONE_GOAL)
    return [*figures, ratio]


def _published_ms(universe: Universe, url: str, size: int) -> float:
    """Median of a batch: check, cut, publish, wait."""
    publisher = _Publisher(url)
    spent = [
        _seconds(lambda: publisher.publish(publisher.check(batch))) * 1000  # noqa: B023
        for batch in _batches(universe, size)
    ]
    publisher.store.close()
    return middle(spent)


class _Publisher:
    """A tracker with a store of its own in Redis."""

    def __init__(self, url: str) -> None:
        self.tracker = SequenceTracker(SystemClock())
        self.store = RedisStateStore(url, uuid.uuid4().hex, "bench")
        self._bases: dict[int, Fence] = {}

    def check(self, batch: Batch) -> list[Update]:
        """Judge the trades, and cut what was followed."""
        self.tracker.step(*batch)
        updates = []
        for partition, values in cut(self.tracker).items():
            base = self._bases.get(partition)
            fence = Fence("e", base.offset + 1 if base else 1, "commit")
            updates.append(Update(partition, base, fence, values))
            self._bases[partition] = fence
        return updates

    def publish(self, updates: list[Update]) -> None:
        if self.store.publish(updates):
            raise AssertionError("a publication of our own was refused")


def _follow(steps: GatheredSteps, batches: list[Batch]) -> None:
    for batch in batches:
        steps.step(*batch)
    steps.follow()


def _dict_loop(batches: list[Batch]) -> int:
    """The normal case and no more: the highest number of each exchange and symbol, and the time, to find a restart."""
    known: dict[tuple[bytes, bytes], tuple[int, int]] = {}
    odd = 0
    for trades, _ in batches:
        names = ("exchange", "symbol", "source_sequence", "event_ns")
        columns = zip(*(trades[name].tolist() for name in names), strict=True)
        for exchange, symbol, number, time_us in columns:
            key = (exchange, symbol)
            before = known.get(key)
            if before is not None and (number != before[0] + 1 or time_us < before[1]):
                odd += 1
            known[key] = (number, time_us)
    return odd


def _seconds(work: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s
