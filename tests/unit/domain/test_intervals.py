"""Interval sets against plain Python sets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.domain import intervals
from k2ctl.domain.intervals import IntervalSets
from k2ctl.errors import StateError

pairs = st.lists(st.tuples(st.sampled_from([0, 7, 2**64 - 1]), st.integers(0, 40)), max_size=60)


def columns(batch: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([k for k, _ in batch], np.uint64), np.array([n for _, n in batch], np.uint64)


def held(sets: IntervalSets, keys: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Which pairs are there: asked of a copy, because asking adds them."""
    return IntervalSets.loads(sets.dumps()).add(keys, numbers)


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
    assert held(sets, *columns(everything)).tolist() == [pair in model for pair in everything]


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


def test_more_keys_than_there_are_codes_are_refused_and_never_taken_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "KEY_LIMIT", 4)
    sets = IntervalSets()
    numbers = np.zeros(4, np.uint64)
    assert not sets.add(np.arange(4, dtype=np.uint64), numbers).any()
    with pytest.raises(StateError, match="feed sessions"):
        sets.add(np.array([9], np.uint64), numbers[:1])
    assert sets.add(np.arange(4, dtype=np.uint64), numbers).all(), "those that are known go on"
    sets.forget(1)
    assert not sets.add(np.arange(9, 13, dtype=np.uint64), numbers).any(), "those that were forgotten made room"


@given(st.lists(st.tuples(pairs, st.integers(1, 9)), max_size=6), st.integers(0, 10))
def test_keys_that_nobody_adds_to_are_forgotten_and_files_come_back(
    batches: list[tuple[list[tuple[int, int]], int]], before_us: int
) -> None:
    sets, model, touched = IntervalSets(), set(), {}
    for batch, now_us in batches:
        sets.add(*columns(batch), now_us)
        model |= set(batch)
        touched.update({key: max(now_us, touched.get(key, 0)) for key, _ in batch})
    sets = IntervalSets.loads(sets.dumps())
    sets.forget(before_us)
    kept = {(key, number) for key, number in model if touched[key] >= before_us}
    assert sets.keys == len({key for key, _ in kept})
    everything = [(key, number) for key in (0, 7, 2**64 - 1) for number in range(42)]
    assert sets.add(*columns(everything)).tolist() == [pair in kept for pair in everything]


def test_a_damaged_file_of_sets_is_refused() -> None:
    content = IntervalSets().dumps()
    for damaged in (b"", content[:-1], content[:-1] + b"x"):
        with pytest.raises(ValueError, match="checksum"):
            IntervalSets.loads(damaged)


@given(st.lists(pairs, max_size=4), st.lists(pairs, max_size=4))
def test_one_that_absorbs_another_holds_what_either_held(
    first: list[list[tuple[int, int]]], second: list[list[tuple[int, int]]]
) -> None:
    ours, theirs = IntervalSets(), IntervalSets()
    for sets, batches in ((ours, first), (theirs, second)):
        for batch in batches:
            sets.add(*columns(batch), 5)
    ours.absorb(theirs)
    model = {pair for batch in (*first, *second) for pair in batch}
    everything = [(key, number) for key in (0, 7, 2**64 - 1, 5) for number in range(42)]
    assert held(ours, *columns(everything)).tolist() == [pair in model for pair in everything]
    assert len(ours) == len({(k, n) for k, n in model if (k, n - 1) not in model}), "intervals that touch are one"
    ours.forget(6)
    assert not held(ours, *columns(everything)).any()
