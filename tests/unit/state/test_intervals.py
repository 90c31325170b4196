"""Interval sets against plain Python sets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.state.intervals import IntervalSets

pairs = st.lists(st.tuples(st.sampled_from([0, 7, 2**64 - 1]), st.integers(0, 40)), max_size=60)


def columns(batch: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([k for k, _ in batch], np.uint64), np.array([n for _, n in batch], np.uint64)


@given(st.lists(pairs, max_size=6))
def test_it_answers_like_a_set_of_pairs(batches: list[list[tuple[int, int]]]) -> None:
    sets, model = IntervalSets(), set()
    for batch in batches:
        expected = []
        for pair in batch:
            expected.append(pair in model)
            model.add(pair)
        assert sets.add(*columns(batch)).tolist() == expected
    everything = [(key, number) for key in (0, 7, 2**64 - 1, 5) for number in range(42)]
    assert sets.contains(*columns(everything)).tolist() == [pair in model for pair in everything]


@given(pairs)
def test_gaps_are_what_lies_between_the_numbers_of_a_key(batch: list[tuple[int, int]]) -> None:
    sets = IntervalSets()
    sets.add(*columns(batch))
    found = {(int(k), n) for k, lo, hi in zip(*sets.missing(), strict=True) for n in range(int(lo), int(hi))}
    expected = set()
    for key in {k for k, _ in batch}:
        numbers = {n for k, n in batch if k == key}
        expected |= {(key, n) for n in range(min(numbers), max(numbers)) if n not in numbers}
    assert found == expected


def test_dense_numbers_take_one_interval_per_key() -> None:
    sets = IntervalSets()
    for start in range(0, 10_000, 100):
        sets.add(
            np.repeat(np.arange(5, dtype=np.uint64), 100), np.tile(np.arange(start, start + 100, dtype=np.uint64), 5)
        )
    assert (len(sets), sets.keys) == (5, 5)


def test_a_number_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="2\\^40"):
        IntervalSets().add(np.array([1], np.uint64), np.array([2**40], np.uint64))
