"""The offsets property: what it says after a commit, and that nothing else is taken for it."""

from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.domain.checkpoint import (
    COUNT_NAMES,
    RETIRED_PARTITION,
    Checkpoint,
    Checkpoints,
    Counts,
    OffsetDelta,
    TopicPartition,
)
from k2ctl.domain.offers import fenced_partitions, is_stored
from k2ctl.errors import LakeError

counts = st.builds(Counts, *[st.integers(0, 10**12)] * len(COUNT_NAMES))
partitions = st.builds(TopicPartition, st.sampled_from(["a", "b"]), st.sampled_from(["e1", "e2"]), st.integers(0, 3))
by_partition = st.builds(Checkpoint, st.integers(0, 10**12), counts, st.text(max_size=5))


@given(st.builds(Checkpoints, st.text(), st.integers(0, 10**9), st.dictionaries(partitions, by_partition, max_size=6)))
def test_it_reads_what_it_writes(checkpoints: Checkpoints) -> None:
    assert Checkpoints.loads(checkpoints.dumps()) == checkpoints


def test_a_commit_moves_its_partitions_and_adds_its_counts() -> None:
    partition, other = TopicPartition("t", "e", 0), TopicPartition("t", "e", 1)
    before = Checkpoints(
        "old", 1, {partition: Checkpoint(5, Counts(seen=5, stored=5), "old"), other: Checkpoint(9, Counts(), "old")}
    )
    after = before.after({partition: OffsetDelta(5, 8, Counts(seen=3, stored=2, duplicate=1))}, "new", 2)
    assert after.by_partition[partition] == Checkpoint(8, Counts(seen=8, stored=7, duplicate=1), "new")
    assert after.by_partition[other] == before.by_partition[other]
    assert (after.commit_id, after.sequence_number) == ("new", 2)


def test_a_partition_that_stands_elsewhere_is_fenced_and_an_unknown_one_is_free() -> None:
    known, unknown = TopicPartition("t", "e", 0), TopicPartition("t", "e", 1)
    checkpoints = Checkpoints("c", 1, {known: Checkpoint(5, Counts(), "c")})
    assert fenced_partitions(
        checkpoints, {known: OffsetDelta(4, 9, Counts()), unknown: OffsetDelta(4, 9, Counts())}
    ) == {known}
    assert fenced_partitions(checkpoints, {known: OffsetDelta(5, 9, Counts())}) == set()


def test_a_partition_that_is_gone_is_not_free_to_whoever_knew_it() -> None:
    partition = TopicPartition("t", "old", 0)
    checkpoints = Checkpoints("c", 1, {partition: Checkpoint(5, Counts(), "c")})
    after = checkpoints.retired("t", "old", lost=3)
    assert fenced_partitions(after, {partition: OffsetDelta(5, 8, Counts(seen=3, stored=3), base="c")}) == {partition}
    assert fenced_partitions(after, {partition: OffsetDelta(0, 8, Counts(seen=8, stored=8))}) == set(), (
        "it is read again"
    )


def test_a_commit_that_succeeded_is_recognised_by_its_id_at_the_partition() -> None:
    partition = TopicPartition("t", "e", 0)
    checkpoints = Checkpoints("later", 3, {partition: Checkpoint(9, Counts(), "mine")})
    assert is_stored(checkpoints, {partition: OffsetDelta(5, 9, Counts())}, "mine")
    assert not is_stored(checkpoints, {partition: OffsetDelta(5, 9, Counts())}, "another")


def test_a_retired_epoch_keeps_its_counts_and_gives_up_its_offsets() -> None:
    checkpoints = Checkpoints(
        "c", 1, {TopicPartition("t", "old", p): Checkpoint(10, Counts(seen=10, stored=10), "c") for p in range(3)}
    ).retired("t", "old", lost=4)
    assert checkpoints.epochs("t") == set()
    assert checkpoints.by_partition[TopicPartition("t", "old", RETIRED_PARTITION)].counts == Counts(
        seen=34, stored=30, lost=4
    )


@given(counts)
def test_the_identity_holds_exactly_when_the_parts_make_the_whole(c: Counts) -> None:
    seen, stored, duplicate, shed, spilled, lost, dead_lettered, *_ = astuple(c)
    assert c.balanced == (seen == stored + duplicate + shed + spilled + lost + dead_lettered)


def test_what_a_feed_filtered_out_is_added_up_and_is_no_term_of_the_balance() -> None:
    partition = TopicPartition("t", "e", 0)
    first = Checkpoints("a", 1, {partition: Checkpoint(9, Counts(seen=2, stored=2, filtered=3), "a")})
    after = first.after({partition: OffsetDelta(9, 12, Counts(filtered=2))}, "b", 2)
    counts = Checkpoints.loads(after.dumps()).by_partition[partition].counts
    assert (counts.filtered, counts.balanced) == (5, True)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"by_partition": [[1]]}', '{"commit_id": 1, "by_partition": 3}'])
def test_a_damaged_property_is_an_error_not_a_fresh_start(text: str) -> None:
    with pytest.raises(LakeError):
        Checkpoints.loads(text)
