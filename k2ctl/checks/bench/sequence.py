"""`k2ctl bench sequence`: following sequence numbers, in memory and through Redis, batch size by batch size.

A check through Redis is what the consumer does with a trade: the tracker judges it, what it has sequence_cut is cut,
and the
store takes it, fenced, before the next batch. Pipelined, ten batches are cut before the first answer is waited for.
"""

import time
import uuid
from collections.abc import Callable
from typing import Final

import numpy as np

from k2ctl.checks.bench.figures import Figure, against, measured, middle
from k2ctl.clock import SystemClock
from k2ctl.home import Home
from k2ctl.load.market import SyntheticMarket, new_run_id
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import Universe
from k2ctl.sequence.redis_store import RedisStateStore
from k2ctl.sequence.state_store import Fence, Update
from k2ctl.sequence.symbol_state import cut
from k2ctl.sequence.tracker import SequenceTracker
from k2ctl.stack.redis_server import private_redis

BATCHES: Final = {1: 300, 100: 100, 1_000: 50, 10_000: 20}
"""Trades in a batch → batches that are measured."""

FLOOR_MS: Final = 100.0
GOAL_MS: Final = 15.0
MEMORY_GOAL: Final = 2.5
ONE_BY_ONE_GOAL: Final = 10.0

Batch = tuple[np.ndarray, np.ndarray]
"""Trades, and the partition of each: int32[n]."""


class SequenceBench:
    """The figures of one run; each is the median of `repeat` runs."""

    def __init__(self, profile: Profile, repeat: int, say: Callable[[str], None]) -> None:
        self._universe = Universe(profile)
        self._repeat = repeat
        self._say = say

    def run(self) -> list[Figure]:
        """Memory first, then Redis."""
        figures = [figure for size in BATCHES for figure in self._memory(size)]
        with Home.of_user().temporary("bench-") as home, private_redis(home) as url:
            figures += self._redis(url)
        return figures

    def _batches(self, size: int, count: int) -> list[Batch]:
        """Batches of a market, one after the other: every symbol's numbers go on from batch to batch."""
        market, now_us = SyntheticMarket(self._universe, new_run_id()), time.time_ns() // 1000
        made = [market.take(size, now_us + n * 1000, now_us + n * 1000 + 999) for n in range(count)]
        numbers = np.arange(self._universe.profile.topic.partitions, dtype=np.int32)
        return [(batch.trades, np.repeat(numbers, batch.per_partition)) for batch in made]

    def _memory(self, size: int) -> list[Figure]:
        """The tracker against a loop over a dict, trade by trade."""
        ours, loops = [], []
        for run in range(self._repeat):
            self._say(f"sequence: memory, batches of {size:,}, run {run + 1} of {self._repeat}")
            batches = self._batches(size, BATCHES[size])
            tracker, total = SequenceTracker(SystemClock()), size * len(batches)
            ours.append(total / _seconds(lambda: _follow(tracker, batches)))  # noqa: B023
            loops.append(total / _seconds(lambda: _dict_loop(batches)))  # noqa: B023
        goal = MEMORY_GOAL if size >= 10_000 else None
        return [against("sequence", f"memory, {size:,}", "checks", ours, "trades/s", loops, goal)]

    def _redis(self, url: str) -> list[Figure]:
        figures, rates = [], {}
        for size in BATCHES:
            self._say(f"sequence: Redis, batches of {size:,}")
            milliseconds = [self._published_ms(url, size) for _ in range(self._repeat)]
            rates[size] = size / middle(milliseconds) * 1000
            case = f"Redis, {size:,}"
            floor = FLOOR_MS if size == 10_000 else None
            goal = GOAL_MS if size == 10_000 else None
            figures += [
                measured("sequence", case, "per batch, floor", milliseconds, "ms", floor, at_most=True),
                measured("sequence", case, "per batch, goal", milliseconds, "ms", goal, at_most=True),
            ]
        largest = max(BATCHES)
        figures += [
            against(
                "sequence",
                f"Redis, {largest:,} to 1",
                "checks",
                [rates[largest]],
                "trades/s",
                [rates[1]],
                ONE_BY_ONE_GOAL,
            ),
        ]
        return [figure for figure in figures if figure.goal is not None or "floor" not in figure.metric]

    def _published_ms(self, url: str, size: int) -> float:
        """Median of a batch: check, cut, publish, wait."""
        publisher = _Publisher(url)
        spent = [
            _seconds(lambda: publisher.publish(publisher.check(batch))) * 1000  # noqa: B023
            for batch in self._batches(size, BATCHES[size])
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
        """Judge the trades, and cut what was sequence_cut."""
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


def _follow(tracker: SequenceTracker, batches: list[Batch]) -> None:
    for batch in batches:
        tracker.step(*batch)


def _dict_loop(batches: list[Batch]) -> int:
    """The normal case and no more: the highest number of each exchange and symbol, and the time, to find a restart."""
    known: dict[tuple[bytes, bytes], tuple[int, int]] = {}
    odd = 0
    for trades, _ in batches:
        names = ("exchange", "symbol", "source_sequence", "timestamp")
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
