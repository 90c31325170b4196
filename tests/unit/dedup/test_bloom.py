"""The filter against a plain set, and batches against single ids."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.dedup.bloom import IdFilter, words_of
from k2ctl.dedup.chunk_plan import filter_bits


def random_ids(count: int, seed: int = 1) -> np.ndarray:
    return np.frombuffer(np.random.default_rng(seed).bytes(16 * count), "V16")


@given(st.lists(st.binary(min_size=16, max_size=16), unique=True, max_size=50), st.integers(0, 50))
def test_what_was_added_is_found_and_a_batch_answers_as_its_ids_one_by_one(ids: list[bytes], added: int) -> None:
    tested = IdFilter(64, 0.2)
    tested.add(words_of(np.array(ids[:added], "V16")))
    answers = tested.test(words_of(np.array(ids, "V16"))).tolist()
    assert all(answers[:added])
    assert answers == [bool(tested.test(words_of(np.array([one], "V16")))[0]) for one in ids]


def test_ids_added_one_by_one_set_the_bits_that_a_batch_sets() -> None:
    tested, batch, ids = IdFilter(100, 0.001), IdFilter(100, 0.001), words_of(random_ids(100))
    for number in range(50):
        tested.add(ids[number : number + 1])
    batch.add(ids[:50])
    assert tested.dumps() == batch.dumps()
    assert tested.test(ids).tolist() == [True] * 50 + [False] * 50


@pytest.mark.parametrize("kind", ["random", "counted", "time-ordered"])
def test_false_positives_stay_at_the_rate_that_was_set(kind: str) -> None:
    ids = words_of(random_ids(400_000))
    if kind == "counted":
        ids = np.stack([np.full(400_000, 7, np.uint64), np.arange(400_000, dtype=np.uint64)], axis=1)
    if kind == "time-ordered":
        ids[:, 0] = np.arange(400_000, dtype=np.uint64) << np.uint64(16) | np.uint64(0x7000)
    tested = IdFilter(200_000, 0.0005)
    tested.add(ids[:200_000])
    assert tested.test(ids[:200_000]).all()
    # 100 are expected, and with the luck of this draw not half as many again: that would be five sigma.
    assert tested.test(ids[200_000:]).sum() <= 150
    assert tested.size_bytes == pytest.approx(filter_bits(200_000, 0.0005) / 8, abs=1)


def test_it_is_never_filled_past_its_capacity() -> None:
    tested = IdFilter(100, 0.01)
    with pytest.raises(ValueError, match="over the 100"):
        tested.add(words_of(random_ids(101)))


def test_a_file_comes_back_the_same_and_a_damaged_one_not_at_all() -> None:
    tested, ids = IdFilter(1000, 0.001), words_of(random_ids(2000))
    tested.add(ids[:1000])
    content = tested.dumps()
    again = IdFilter.loads(content)
    assert (again.count, again.capacity) == (1000, 1000)
    assert (again.test(ids) == tested.test(ids)).all()
    assert again.test(ids[:1000]).all()
    for damaged in (b"", content[:-1], content[:500] + bytes([content[500] ^ 1]) + content[501:]):
        with pytest.raises(ValueError, match="checksum"):
            IdFilter.loads(damaged)
