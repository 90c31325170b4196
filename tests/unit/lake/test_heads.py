"""The offsets property: what it says after a commit, and that nothing else is taken for it."""

from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.domain.checkpoint import COUNT_NAMES, RETIRED_PARTITION, Advance, Counts, Head, Lane, Progress
from k2ctl.errors import LakeError
from k2ctl.lake.writer import fenced_lanes, landed

counts = st.builds(Counts, *[st.integers(0, 10**12)] * len(COUNT_NAMES))
lanes = st.builds(Lane, st.sampled_from(["a", "b"]), st.sampled_from(["e1", "e2"]), st.integers(0, 3))
heads = st.builds(Head, st.integers(0, 10**12), counts, st.text(max_size=5))


@given(st.builds(Progress, st.text(), st.integers(0, 10**9), st.dictionaries(lanes, heads, max_size=6)))
def test_it_reads_what_it_writes(progress: Progress) -> None:
    assert Progress.loads(progress.dumps()) == progress


def test_a_commit_moves_its_lanes_and_adds_its_counts() -> None:
    lane, other = Lane("t", "e", 0), Lane("t", "e", 1)
    before = Progress("old", 1, {lane: Head(5, Counts(seen=5, stored=5), "old"), other: Head(9, Counts(), "old")})
    after = before.advanced({lane: Advance(5, 8, Counts(seen=3, stored=2, duplicate=1))}, "new", 2)
    assert after.heads[lane] == Head(8, Counts(seen=8, stored=7, duplicate=1), "new")
    assert after.heads[other] == before.heads[other]
    assert (after.commit_id, after.sequence_number) == ("new", 2)


def test_a_lane_that_stands_elsewhere_is_fenced_and_an_unknown_one_is_free() -> None:
    known, unknown = Lane("t", "e", 0), Lane("t", "e", 1)
    progress = Progress("c", 1, {known: Head(5, Counts(), "c")})
    assert fenced_lanes(progress, {known: Advance(4, 9, Counts()), unknown: Advance(4, 9, Counts())}) == {known}
    assert fenced_lanes(progress, {known: Advance(5, 9, Counts())}) == set()


def test_a_lane_that_is_gone_is_not_free_to_whoever_knew_it() -> None:
    lane = Lane("t", "old", 0)
    progress = Progress("c", 1, {lane: Head(5, Counts(), "c")})
    after = progress.retired("t", "old", lost=3)
    assert fenced_lanes(after, {lane: Advance(5, 8, Counts(seen=3, stored=3), base="c")}) == {lane}
    assert fenced_lanes(after, {lane: Advance(0, 8, Counts(seen=8, stored=8))}) == set(), "it is read anew"


def test_a_commit_that_landed_is_recognised_by_its_id_at_the_lane() -> None:
    lane = Lane("t", "e", 0)
    progress = Progress("later", 3, {lane: Head(9, Counts(), "mine")})
    assert landed(progress, {lane: Advance(5, 9, Counts())}, "mine")
    assert not landed(progress, {lane: Advance(5, 9, Counts())}, "another")


def test_a_retired_epoch_keeps_its_counts_and_gives_up_its_offsets() -> None:
    progress = Progress(
        "c", 1, {Lane("t", "old", p): Head(10, Counts(seen=10, stored=10), "c") for p in range(3)}
    ).retired("t", "old", lost=4)
    assert progress.epochs("t") == set()
    assert progress.heads[Lane("t", "old", RETIRED_PARTITION)].counts == Counts(seen=34, stored=30, lost=4)


@given(counts)
def test_the_identity_holds_exactly_when_the_parts_make_the_whole(c: Counts) -> None:
    seen, stored, duplicate, shed, spilled, lost, dead_lettered, _ = astuple(c)
    assert c.balanced == (seen == stored + duplicate + shed + spilled + lost + dead_lettered)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"heads": [[1]]}', '{"commit_id": 1, "heads": 3}'])
def test_a_damaged_property_is_an_error_not_a_fresh_start(text: str) -> None:
    with pytest.raises(LakeError):
        Progress.loads(text)
