"""The ledger: ranges merge, are resolved in parts, and nothing of them disappears."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.domain.checkpoint import Checkpoint, Checkpoints, Counts, OffsetDelta, TopicPartition
from k2ctl.domain.ledger import DeferredRange, Ledger, LedgerChange, in_one_step
from k2ctl.errors import LakeError


def entry(start: int, end: int, count: int = 1, partition: int = 0, **changes: object) -> DeferredRange:
    made = DeferredRange("t", "e", partition, start, end, 0b1000, "p", 2, count, start * 10, end * 10)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_adjacent_stretches_become_one_range() -> None:
    ledger = Ledger().changed(LedgerChange((entry(0, 10, 4), entry(10, 20, 0), entry(20, 30, 6))))
    assert ledger.entries == (entry(0, 30, 10, first_us=0, last_us=300),)


def test_an_empty_stretch_alone_is_not_kept() -> None:
    assert Ledger().changed(LedgerChange((entry(0, 10, 0),))).entries == ()


@pytest.mark.parametrize(
    "other",
    [entry(11, 20), entry(10, 20, partition=1), entry(10, 20, level=3), entry(10, 20, spill="f"),
     entry(10, 20, policy="q"), entry(10, 20, priorities=0b1100), entry(10, 20, epoch="f")],
)  # fmt: skip
def test_what_differs_stays_apart(other: DeferredRange) -> None:
    assert Ledger().changed(LedgerChange((entry(0, 10), other))).entries == (entry(0, 10), other)


def test_a_backfilled_part_leaves_its_rest_in_place_and_the_next_stretch_joins_it() -> None:
    ledger = Ledger((entry(0, 100, 50), entry(0, 50, 5, partition=1)))
    left = entry(40, 100, 30)
    after = ledger.changed(LedgerChange((entry(100, 120, 7),), ((ledger.entries[0], left),)))
    assert [(e.partition, e.start, e.end, e.count) for e in after.entries] == [(0, 40, 120, 37), (1, 0, 50, 5)]


def test_an_entry_that_somebody_else_has_backfilled_is_refused() -> None:
    with pytest.raises(LakeError, match="changed in the meantime"):
        Ledger().changed(LedgerChange(resolved=((entry(0, 10), None),)))


def test_backfills_in_a_row_are_one_for_the_original() -> None:
    first, second, other = entry(0, 100, 50), entry(50, 100, 20), entry(0, 9, 1, partition=1)
    assert dict(in_one_step([(first, second), (other, None), (second, None)])) == {first: None, other: None}


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5), st.integers(0, 3)), max_size=30))
def test_merging_keeps_every_trade_that_is_outstanding(stretches: list[tuple[int, int, int]]) -> None:
    at = [0, 0, 0]
    ledger, outstanding = Ledger(), 0
    for partition, length, count in stretches:
        ledger = ledger.changed(LedgerChange((entry(at[partition], at[partition] + length, count, partition),)))
        at[partition] += length
        outstanding += count
    assert ledger.count == outstanding
    for one in ledger.entries:
        assert one.start < one.end
    assert Ledger.loads(ledger.dumps()) == ledger


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[[1, 2]]"])
def test_a_damaged_ledger_is_an_error(text: str) -> None:
    with pytest.raises(LakeError):
        Ledger.loads(text)


def test_what_only_a_dead_kafka_held_is_lost_and_what_is_spilled_is_not() -> None:
    counts = Counts(seen=30, stored=10, shed=12, spilled=8)
    checkpoints = Checkpoints(
        "c",
        1,
        {TopicPartition("t", "e", 0): Checkpoint(30, counts, "c")},
        Ledger((entry(0, 20, 12), entry(20, 30, 8, spill="f"))),
    )
    after = checkpoints.retired("t", "e", lost=0)
    assert after.ledger.entries == (entry(20, 30, 8, spill="f"),)
    assert after.total() == Counts(seen=30, stored=10, spilled=8, lost=12)
    assert after.total().balanced
    assert after.partition_of("t", "e", 0) == TopicPartition("t", "e", -1)


def test_two_backfills_at_once_are_distinguished_though_no_offset_moves() -> None:
    from k2ctl.domain.offers import fenced_partitions

    partition = TopicPartition("t", "e", 0)
    checkpoints = Checkpoints("mine", 1, {partition: Checkpoint(30, Counts(), "mine")})
    assert fenced_partitions(checkpoints, {partition: OffsetDelta(30, 30, Counts(), base="mine")}) == set()
    assert fenced_partitions(checkpoints, {partition: OffsetDelta(30, 30, Counts(), base="older")}) == {partition}
