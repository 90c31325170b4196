"""`k2ctl bench dedup`: the memory of deduplication really filled, beside pybloom-live's own `add` in the same run."""

import time
from typing import Final

import numpy as np
from pybloom_live import BloomFilter

from k2ctl.checks.bench.figures import Figure
from k2ctl.checks.bench.suite import Bench, Say
from k2ctl.clock import ManualClock
from k2ctl.dedup.bloom import IdFilter
from k2ctl.dedup.chunk_plan import ChunkPlan
from k2ctl.dedup.deduplicator import HybridDeduplicator, Memory
from k2ctl.domain.checkpoint import Tally
from k2ctl.domain.rows import Rows
from k2ctl.domain.trade import TRADE
from k2ctl.lake.stored_lookup import Stored

BATCH: Final = 50_000
"""As many as a consumer takes through its steps together."""

BATCHES_A_COMMIT: Final = 10
OWN_IDS: Final = 100_000
PROBES: Final = 2_000_000
SEQUENCED_IDS: Final = 5_000_000
SYMBOLS: Final = 500
JITTER_US: Final = 1_000_000
DAY_US: Final = 86_400_000_000
IDS_A_DAY: Final = 1_000_000_000
"""The rate at which ids come, by their times: so that 1e9 are a day, and a chunk is 43 s, whatever the count."""

BIG: Final = 100_000_000
"""From so many ids on, memory is far beyond any cache, and the goal is the lower one."""


def bench_dedup(bench: Bench) -> list[Figure]:
    """As a consumer of the profile remembers ids, with as many as the sizes say."""
    if bench.sizes.dedup_scope == "topic":
        from k2ctl.checks.bench.shared_dedup import bench_shared

        return bench_shared(bench)
    settings = bench.profile.consumer.dedup
    return DedupBench(bench.sizes.dedup, settings.chunk_ids, settings.error_rate, bench.say).run()


class _EmptyLake:
    """Holds nothing: every suspect that is looked up was a false positive."""

    def find(self, rows: Rows) -> Stored:
        nothing = np.zeros(len(rows), np.bool_)
        return Stored(nothing, nothing, nothing)


class DedupBench:
    """One fill of `entries` random ids at 1e9 a day, and what it costs.

    error_rate: what is set for a look-up, as in a profile; each chunk gets half.
    """

    def __init__(self, entries: int, chunk_ids: int, error_rate: float, say: Say) -> None:
        self._entries = entries
        self._error_rate = error_rate
        self._say = say
        self._rng = np.random.default_rng(1)
        self._clock = ManualClock()
        self._start_us = self._clock.now_us()
        plan = ChunkPlan(2 * DAY_US, chunk_ids, error_rate / 2, limit=1 << 30)
        self._memory = Memory.empty(plan)
        self._deduplicator = HybridDeduplicator(self._memory, _EmptyLake(), self._clock)

    def run(self) -> list[Figure]:
        """All figures. Making ids and times is not counted; everything that a batch goes through in step 3 is."""
        own = self._own_add()
        filled_s, last = self._fill()
        rate, case = self._entries / filled_s, f"{self._entries:,} ids"
        statistics = self._deduplicator.statistics()
        again_s = self._again(last)
        held = self._memory.series.size_bytes
        goal = 800_000.0 if self._entries >= BIG else 2_000_000.0
        figures = [
            Figure("dedup", case, "test and set", rate, "ids/s", goal=goal),
            Figure("dedup", case, "against pybloom-live's add", rate, "ids/s", own, rate / own, goal=5.0),
            Figure("dedup", case, "seen again, all of a batch", len(last) / again_s, "ids/s"),
            Figure("dedup", case, "memory of chunks", held, "bytes", goal=2e9, at_most=True),
            Figure("dedup", case, "memory an id", 8 * held / self._entries, "bits"),
            *self._false_positives(case),
            Figure("dedup", case, "look-ups saved", 1 - statistics.suspects / self._entries, "share"),
            Figure("dedup", case, "queries to the lake", statistics.queries, "queries"),
        ]
        return [self._one_filter(own), *figures, self._sequenced()]

    def _own_add(self) -> float:
        """Ids a second through the container's own `add`, one by one, in a filter of one chunk's size."""
        self._say("dedup: pybloom-live's own add")
        plan, ids = self._memory.series.plan, self._ids(OWN_IDS).tolist()
        filled = BloomFilter(max(plan.ids, OWN_IDS), plan.error_rate)
        started_s = time.perf_counter()
        for message_id in ids:
            filled.add(message_id)
        return OWN_IDS / (time.perf_counter() - started_s)

    def _fill(self) -> tuple[float, Rows]:
        """Seconds for all entries, and the last batch."""
        seconds, tally, rows = 0.0, Tally(), self._rows(0, 1)
        for number, at in enumerate(range(0, self._entries, BATCH)):
            if at % (self._entries // 10 // BATCH * BATCH or BATCH) == 0:
                self._say(f"dedup: {at:,} of {self._entries:,} ids")
            rows = self._rows(at, min(BATCH, self._entries - at))
            self._clock.advance((self._start_us + self._time_of(at) - self._clock.now_us()) / 1e6)
            started_s = time.perf_counter()
            self._deduplicator.step(rows, tally)
            if number % BATCHES_A_COMMIT == 0:
                self._deduplicator.seal()
                self._deduplicator.publish()
            seconds += time.perf_counter() - started_s
        return seconds, rows

    def _again(self, rows: Rows) -> float:
        tally = Tally()
        started_s = time.perf_counter()
        self._deduplicator.step(rows, tally)
        return time.perf_counter() - started_s

    def _one_filter(self, own: float) -> Figure:
        """Every id tested and set in one chunk. In the fill, times beyond a chunk's span spare most of the tests."""
        plan = self._memory.series.plan
        words = self._rng.integers(0, 1 << 64, (plan.ids, 2), np.uint64)
        filled = IdFilter(plan.ids, plan.error_rate)
        started_s = time.perf_counter()
        for at in range(0, plan.ids, BATCH):
            batch = words[at : at + BATCH]
            filled.test(batch)
            filled.add(batch)
        rate = plan.ids / (time.perf_counter() - started_s)
        return Figure("dedup", f"one chunk of {plan.ids:,} ids", "every id tested", rate, "ids/s", own, rate / own, 5.0)

    def _false_positives(self, case: str) -> list[Figure]:
        """New ids of any time that was filled: the share that is suspected, and how fast late trades are tested."""
        suspected, seconds, series = 0, 0.0, self._memory.series
        for _ in range(0, PROBES, BATCH):
            words = self._rng.integers(0, 1 << 64, (BATCH, 2), np.uint64)
            times = self._start_us + self._rng.integers(0, max(1, self._time_of(self._entries)), BATCH)
            started_s = time.perf_counter()
            suspected += int(series.probe(words, times).suspects.sum())
            seconds += time.perf_counter() - started_s
        rate = suspected / PROBES
        return [
            Figure(
                "dedup", case, "false positives, of the rate set", rate, "share",
                self._error_rate, rate / self._error_rate, goal=1.2, at_most=True,
            ),
            Figure("dedup", case, "test alone, any time of the span", PROBES / seconds, "ids/s"),
        ]  # fmt: skip

    def _sequenced(self) -> Figure:
        """Ids of feed session and sequence, 500 symbols, in the order of a feed."""
        self._say("dedup: ids of feed session and sequence")
        number = np.arange(SEQUENCED_IDS)
        words = np.stack([number % SYMBOLS, number // SYMBOLS + 1], axis=1).astype(">u8")
        ids, tally = words.view("V16")[:, 0], Tally()
        none = np.zeros(BATCH, np.int64)
        batches = [self._batch(ids[at : at + BATCH], none) for at in range(0, SEQUENCED_IDS, BATCH)]
        started_s = time.perf_counter()
        for rows in batches:
            self._deduplicator.step(rows, tally)
        rate = SEQUENCED_IDS / (time.perf_counter() - started_s)
        return Figure("dedup", f"{SEQUENCED_IDS:,} sequenced ids", "test and set", rate, "ids/s", goal=5_000_000)

    def _time_of(self, at: int) -> int:
        """When the entry of a number happens, in µs after the start."""
        return at * DAY_US // IDS_A_DAY

    def _ids(self, count: int) -> np.ndarray:
        words = self._rng.integers(0, 1 << 64, (count, 2), np.uint64)
        words[:, 1] |= np.uint64(1 << 7)  # the variant bit of a uuid, in the order of its bytes in memory
        ids: np.ndarray = words.view("V16")[:, 0]
        return ids

    def _rows(self, at: int, count: int) -> Rows:
        times = self._start_us + self._time_of(at) + np.arange(count) * DAY_US // IDS_A_DAY
        return self._batch(self._ids(count), times - self._rng.integers(0, JITTER_US, count))

    @staticmethod
    def _batch(ids: np.ndarray, times: np.ndarray) -> Rows:
        trades = TRADE.empty(len(ids))
        trades["message_id"], trades["event_ns"] = ids, times * 1000
        zeros = np.zeros(len(ids), np.int32)
        return Rows.of("t", "e", trades, zeros, np.arange(len(ids), dtype=np.int64), zeros)
