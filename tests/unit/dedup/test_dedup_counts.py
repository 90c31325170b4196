"""What deduplication counts goes on through assignments, and tells what was planned from what was not."""

import numpy as np

from k2ctl.clock import ManualClock
from k2ctl.dedup.chunk_plan import ChunkPlan
from k2ctl.dedup.chunks import ChunkSeries
from k2ctl.dedup.deduplicator import HybridDeduplicator, Memory
from k2ctl.domain.dedup_status import DedupStatus, all_dedup
from k2ctl.domain.figure import Durations
from k2ctl.domain.rows import Rows
from k2ctl.lake.stored_lookup import Stored

PLAN = ChunkPlan(window_us=1_000_000, ids=100, error_rate=0.001, limit=4)


class NoTable:
    """Where nothing is stored yet."""

    def find(self, rows: Rows) -> Stored:
        nothing = np.zeros(len(rows), np.bool_)
        return Stored(nothing, nothing, nothing)


def full_chunks(series: ChunkSeries, count: int, now_us: int) -> None:
    words = np.random.default_rng(now_us).integers(0, 1 << 62, (count * series.plan.ids, 2), np.uint64)
    series.add(words, np.full(len(words), now_us, np.int64), now_us)


def test_chunks_over_the_plan_are_forgotten_early_and_those_past_the_window_are_not() -> None:
    series = ChunkSeries(PLAN)
    full_chunks(series, 2, 10)
    series.expire(2_000_000)
    assert (len(series), series.forgotten_early) == (0, 0)
    full_chunks(series, 5, 2_000_000)
    assert (len(series), series.forgotten_early) == (2, 3)


def test_the_next_assignment_goes_on_counting() -> None:
    clock = ManualClock()
    before, after = (HybridDeduplicator(Memory.empty(PLAN), NoTable(), clock) for _ in range(2))
    before._judge.judged.ids_tested = 7
    before._judge.judged.lookups = Durations().plus(0.3)
    before.memory.series.forgotten_early = 2
    after._judge.judged.ids_tested = 1
    after.count_on(before)
    found = after.statistics()
    assert (found.ids_tested, found.queries, found.chunks_forgotten_early) == (8, 1, 2)


def test_several_consumers_are_one_with_all_their_counts_and_the_largest_plan() -> None:
    one = DedupStatus(ids_tested=90, hits_confirmed=10, hits_false=4, planned_error_rate=0.01, bytes=5)
    other = DedupStatus(ids_tested=20, hits_false=1, planned_error_rate=0.02, lookups=Durations().plus(2.0))
    both = all_dedup([one, other])
    assert (both.new_ids_tested, both.false_positive_rate, both.planned_error_rate) == (100, 0.05, 0.02)
    assert (both.bytes, both.queries, both.lookups.total_s) == (5, 1, 2.0)
    assert not both.errs_beyond_plan, "of so few ids it may be chance"
