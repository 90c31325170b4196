"""Chunks of several consumers taken together: nothing that one of them knew is let through."""

import numpy as np

from k2ctl.dedup.chunk_plan import ChunkPlan
from k2ctl.dedup.chunks import ALWAYS, ChunkSeries

PLAN = ChunkPlan(window_us=1_000_000, ids=100, error_rate=0.001, limit=50)


def filled(seed: int, count: int) -> tuple[ChunkSeries, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 1 << 62, (count, 2), np.uint64)
    times = np.arange(count, dtype=np.int64)
    series = ChunkSeries(PLAN)
    series.add(words, times, 10)
    return series, words, times


def test_a_series_that_absorbs_another_suspects_what_either_holds() -> None:
    ours, our_words, our_times = filled(1, 250)
    theirs, their_words, their_times = filled(2, 130)
    theirs.floor_us = -5
    ours.absorb(theirs)
    assert ours.probe(our_words, our_times).suspects.all()
    assert ours.probe(their_words, their_times).suspects.all()
    assert (ours.ids, ours.floor_us) == (380, -5)
    fresh = np.random.default_rng(3).integers(0, 1 << 62, (1000, 2), np.uint64)
    assert ours.probe(fresh, np.zeros(1000, np.int64)).suspects.mean() < 0.02


def test_a_chunk_that_both_have_loaded_from_one_file_is_taken_once() -> None:
    first, words, times = filled(1, 250)
    for number, chunk in enumerate(first.closed):
        chunk.name = f"file {number}"
    second = ChunkSeries(PLAN, closed=list(first.closed))
    assert len(first.closed) == 2
    second.absorb(first)
    assert (len(second), second.ids, second.floor_us) == (3, 250, ALWAYS)
    assert second.probe(words, times).suspects.all()
