"""How often Bloom chunks err, as deduplication measures it: real chunks, filled, beside a real table."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from k2ctl.clock import SystemClock
from k2ctl.dedup.chunk_plan import ChunkPlan
from k2ctl.dedup.deduplicator import HybridDeduplicator, Memory
from k2ctl.dedup.saved_state import DedupSaver, restore
from k2ctl.domain.checkpoint import Counts, OffsetDelta, Tally, TopicPartition
from k2ctl.domain.dedup_status import DedupStatus
from k2ctl.domain.rows import Rows
from k2ctl.lake.catalog import Lake
from k2ctl.lake.stored_lookup import SuspectLookup
from k2ctl.lake.writer import TableWriter
from k2ctl.metrics import samples
from tests.made_trades import make_rows, make_trades
from tests.support.statuses import a_status

PLAN = ChunkPlan(window_us=86_400_000_000, ids=20_000, error_rate=0.005, limit=50)
"""One in a hundred where two chunks cover a trade's time, and both are full."""

NEW = 100_000
CLOCK = SystemClock()
NOW_US = CLOCK.now_us()
RNG = np.random.default_rng(11)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """A table with ten trades."""
    with Lake(f"sqlite:///{tmp_path}/catalog.db", f"file://{tmp_path}/warehouse") as opened:
        store(opened, random_rows(10))
        yield opened


def random_rows(count: int, offset: int = 0) -> Rows:
    """Trades of one second, with random ids."""
    trades = make_trades(count)
    trades["message_id"] = np.frombuffer(RNG.bytes(16 * count), "V16")
    trades["event_ns"] = (NOW_US - RNG.integers(0, 1_000_000, count)) * 1000
    return make_rows(trades, offset=offset)


def deduplicator(lake: Lake, memory: Memory) -> HybridDeduplicator:
    return HybridDeduplicator(memory, SuspectLookup(lake, CLOCK), CLOCK)


def filled(chunks: int, plan: ChunkPlan = PLAN) -> Memory:
    """Full chunks that cover the same second."""
    memory = Memory.empty(plan)
    for _ in range(chunks):
        words = RNG.integers(0, 1 << 64, (plan.ids, 2), np.uint64)
        memory.series.add(words, NOW_US - np.linspace(0, 1_000_000, plan.ids).astype(np.int64), NOW_US)
    assert [chunk.room for chunk in memory.series.closed] == [0] * chunks
    return memory


def measured(lake: Lake, memory: Memory, rows: Rows) -> DedupStatus:
    """What deduplication says of itself after one batch."""
    judges = deduplicator(lake, memory)
    judges.step(rows, Tally())
    return judges.statistics()


def store(lake: Lake, rows: Rows) -> None:
    first, count = int(rows.offset[0]), len(rows)
    step = OffsetDelta(first, first + count, Counts(seen=count, stored=count))
    TableWriter(lake, CLOCK).commit([rows], {TopicPartition("t", "e", 0): step})


def test_chunks_that_are_full_by_plan_err_as_often_as_planned_and_copies_make_no_difference(lake: Lake) -> None:
    """Five standard deviations of so many ids are 16 % of the rate."""
    stored, memory = random_rows(PLAN.ids, offset=10), filled(1)
    deduplicator(lake, memory).step(stored, Tally())
    store(lake, stored)
    new = random_rows(NEW, offset=1_000_000)
    both = Rows.concatenate([new, replace(stored, offset=stored.offset + 2_000_000)])
    found = measured(lake, memory, both)
    assert (found.ids_tested, found.hits_reread, found.beyond_memory) == (NEW + PLAN.ids, 0, 0)
    assert (found.stored, found.hits_confirmed) == (PLAN.ids, PLAN.ids)
    assert (found.new_ids_tested, found.hits_false) == (NEW, found.cleared)
    assert found.planned_error_rate == 0.01
    assert found.false_positive_rate == pytest.approx(0.01, rel=0.16)


@pytest.mark.parametrize("cause", ["six chunks cover the time", "the chunks are of a plan with more errors"])
def test_a_rate_beyond_twice_the_plan_is_measured(lake: Lake, cause: str) -> None:
    memory = filled(6) if cause.startswith("six") else filled(2, replace(PLAN, error_rate=0.02))
    memory.series.plan = PLAN
    found = measured(lake, memory, random_rows(NEW))
    served = {(name, *labels[1:]): value for name, labels, value in samples(a_status(dedup=found))}
    rate = served["k2_dedup_bloom_hits_total", "false"] / (
        served["k2_dedup_ids_tested_total",] - served["k2_dedup_bloom_hits_total", "confirmed"]
    )
    assert 2.5 < rate / served["k2_dedup_planned_false_positive_ratio",] < 4.5
    assert rate == found.false_positive_rate


def test_trades_that_no_chunk_covers_are_not_tested_and_forgotten_ones_are_no_hits(lake: Lake) -> None:
    memory, rows = filled(2), random_rows(3_000)
    rows.trades["event_ns"][:1_000] += 5_000_000_000
    rows.trades["event_ns"][1_000:2_000] -= 3_600_000_000_000
    memory.series.floor_us = NOW_US - 1_800_000_000
    found = measured(lake, memory, rows)
    assert (found.ids_tested, found.beyond_memory) == (1_000, 1_000)
    assert found.bloom_hits == found.hits_false < 50
    assert found.cleared == 1_000 + found.hits_false
    assert 1_900 < found.chunk_tests <= 2_000
    assert (found.queries, found.lookups.total_s > 0) == (1, True)


def test_rows_that_were_read_and_not_stored_before_a_consumer_ended_are_no_false_positives(lake: Lake) -> None:
    plan, read = replace(PLAN, ids=5_000), random_rows(5_000, offset=100)
    ended = restore(lake, "t", [0], plan, CLOCK)
    before = deduplicator(lake, ended.memory)
    assert len(before.step(read, Tally())) == 5_000
    DedupSaver(ended.folder, "t", plan, ended.checkpoints, CLOCK).save(before)
    again = deduplicator(lake, restore(lake, "t", [0], plan, CLOCK).memory)
    assert len(again.step(read, Tally())) == 5_000
    found = again.statistics()
    assert (found.hits_reread, found.hits_false, found.hits_confirmed) == (5_000, 0, 0)
    assert (found.new_ids_tested, found.false_positive_rate) == (0, None)
    again.step(random_rows(NEW, offset=5_100), Tally())
    assert again.statistics().hits_reread == 5_000
    assert again.statistics().hits_false > 300
