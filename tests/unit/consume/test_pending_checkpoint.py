"""A commit in the making: from which offset to which, and what is counted, whatever a fetch brings."""

import numpy as np
import pytest

from k2ctl.consume.pending_checkpoint import PendingCheckpoint
from k2ctl.deferred.backfill import Backfilled
from k2ctl.domain.checkpoint import Counts, Tally, TopicPartition
from k2ctl.kafka.reader import Fetched, Hole
from tests.made_trades import make_rows, make_trades


def fetched(*offsets: int) -> Fetched:
    """Records of partition 0."""
    count = len(offsets)
    return Fetched([b""] * count, np.zeros(count, np.int32), np.array(offsets, np.int64), None, None)


@pytest.mark.parametrize(
    ("offsets", "hole", "end", "span"),
    [
        ((), Hole(0, 10, 30), 30, None),
        ((30,), Hole(0, 10, 30), 31, (30, 31)),
        ((10, 11), Hole(0, 12, 30), 30, (10, 12)),
        ((10, 11, 30), Hole(0, 12, 30), 31, (10, 31)),
    ],
    ids=["a hole alone", "records behind a hole", "records before a hole", "records on both sides of a hole"],
)
def test_a_commit_covers_what_was_read_and_the_hole(
    offsets: tuple[int, ...], hole: Hole, end: int, span: tuple[int, int] | None
) -> None:
    pending = PendingCheckpoint("t", "e")
    spans = pending.note_read(fetched(*offsets), {0: 10}, {0: end}, [hole], None)
    assert (pending.start, pending.end) == ({0: 10}, {0: end})
    assert spans == ({0: span} if span else {})
    lost = hole.first - hole.asked
    assert pending.tally.of(0) == Counts(seen=lost, lost=lost)
    again = pending.note_read(fetched(end), {0: end}, {0: end + 1}, [], None)
    assert again == {0: (end, end + 1)}
    assert (pending.start, pending.end) == ({0: 10}, {0: end + 1})


def test_offsets_that_never_come_are_passed_and_are_no_trades() -> None:
    """Transactions end with a mark; what was aborted or compacted is not delivered either."""
    pending = PendingCheckpoint("t", "e")
    assert pending.note_read(fetched(10, 11), {0: 10, 1: 5}, {0: 12, 1: 5}, [], None) == {0: (10, 12)}
    assert pending.note_read(fetched(), {0: 12, 1: 5}, {0: 13, 1: 9}, [], None) == {0: (12, 13), 1: (5, 9)}
    assert pending.note_read(fetched(15), {0: 13, 1: 9}, {0: 16, 1: 9}, [], None) == {0: (13, 16)}
    assert (pending.start, pending.end) == ({0: 10, 1: 5}, {0: 16, 1: 9})
    assert pending.tally.of(0) == pending.tally.of(1) == Counts()


def test_what_turns_out_to_be_a_copy_is_counted_as_one_and_no_longer_as_stored() -> None:
    tally = Tally()
    tally.add("stored", np.array([0, 0, 2], np.int32))
    tally.move("stored", "duplicate", np.array([0, 2], np.int32))
    assert [tally.of(partition) for partition in range(3)] == [
        Counts(stored=1, duplicate=1),
        Counts(),
        Counts(duplicate=1),
    ]


def test_of_backfilled_rows_copies_are_counted_where_the_rows_were_read() -> None:
    rows = make_rows(make_trades(4))
    at = TopicPartition("t", "e", 0)
    part = Backfilled(rows, (), {at: Counts(stored=4, shed=-4)})
    left = part.without(np.array([True, False, True, False]))
    assert left.rows.offset.tolist() == [1, 3]
    assert left.counts == {at: Counts(stored=2, duplicate=2, shed=-4)}
