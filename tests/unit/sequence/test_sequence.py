"""The sequence tracker against one that goes trade by trade."""

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.sequence.channels import Gap
from k2ctl.sequence.tracker import SequenceTracker
from tests.made_trades import make_trades


def trades_of(batch: list[tuple[int, int]]) -> np.ndarray:
    """(symbol number, sequence) pairs as trades, one millisecond apart."""
    trades = make_trades(len(batch))
    trades["symbol"] = [f"X{symbol}".encode() for symbol, _ in batch]
    trades["source_sequence"] = [sequence for _, sequence in batch]
    return trades


def test_dense_numbers_are_in_order_and_leave_no_gap() -> None:
    tracker = SequenceTracker()
    for start in range(0, 1000, 100):
        tracker.step(make_trades(100, start))
    counts = tracker.counts()
    assert (counts.in_order, counts.out_of_order, counts.resets, counts.open_gaps) == (1000, 0, 0, 0)


@given(st.lists(st.permutations(range(1, 9)), min_size=1, max_size=3))
def test_late_arrivals_are_counted_and_close_their_gaps(orders: list[list[int]]) -> None:
    batch = [(symbol, sequence) for symbol, order in enumerate(orders) for sequence in order]
    tracker = SequenceTracker()
    for pair in batch:
        tracker.step(trades_of([pair]))
    late, highest = 0, {}
    for symbol, sequence in batch:
        late += sequence < highest.get(symbol, -1)
        highest[symbol] = max(sequence, highest.get(symbol, -1))
    counts = tracker.counts()
    assert (counts.out_of_order, counts.missing_trades, counts.resets) == (late, 0, 0)
    together = SequenceTracker()
    together.step(trades_of(batch))
    assert together.counts() == counts


def test_a_gap_is_open_until_it_is_filled() -> None:
    tracker = SequenceTracker()
    tracker.step(trades_of([(1, 1), (1, 2), (1, 6)]))
    assert (tracker.counts().open_gaps, tracker.counts().missing_trades) == (1, 3)
    tracker.step(trades_of([(1, 4)]))
    assert (tracker.counts().open_gaps, tracker.counts().missing_trades) == (2, 2)
    tracker.step(trades_of([(1, 3), (1, 5)]))
    assert tracker.counts().open_gaps == 0


def test_a_counter_that_starts_again_later_is_a_reset_and_not_a_gap() -> None:
    tracker = SequenceTracker()
    tracker.step(trades_of([(1, n) for n in range(1, 11)]))
    again = trades_of([(1, n) for n in range(1, 6)])
    again["event_ns"] += 10_000_000 * 1000
    tracker.step(again)
    counts = tracker.counts()
    assert (counts.resets, counts.in_order, counts.out_of_order, counts.open_gaps) == (1, 15, 0, 0)


def test_a_venue_without_numbers_is_not_tracked() -> None:
    tracker = SequenceTracker()
    trades = make_trades(5)
    trades["source_sequence"] = np.iinfo(np.uint64).max
    tracker.step(trades)
    assert (tracker.counts().untracked, tracker.counts().in_order) == (5, 0)


def owing(first: int, last: int) -> Callable[[int, Gap], bool]:
    """A ledger that lacks the numbers of a range."""
    return lambda _channel, gap: first <= gap.start and gap.after - 1 <= last


def restarted(*, highest: int) -> SequenceTracker:
    """A tracker that knows of the numbers up to one from the table."""
    tracker = SequenceTracker()
    tracker.step(trades_of([(1, n) for n in range(1, highest + 1)]))
    return tracker


def later(batch: list[tuple[int, int]]) -> np.ndarray:
    trades = trades_of(batch)
    trades["event_ns"] += 1_000_000 * 1000
    return trades


def test_a_gap_that_shows_after_a_restart_is_explained_by_the_ledger() -> None:
    tracker = restarted(highest=10)
    tracker.explain_by(owing(11, 20))
    tracker.step(later([(1, 21), (1, 22)]))
    assert (tracker.counts().open_gaps, tracker.counts().explained) == (0, 10)
    tracker.step(later([(1, 25)]))
    assert (tracker.counts().open_gaps, tracker.counts().missing_trades) == (1, 2)


def test_of_the_open_gaps_of_a_symbol_only_those_that_are_outstanding_are_explained() -> None:
    tracker = SequenceTracker()
    tracker.step(trades_of([(1, 1), (1, 3), (1, 7)]))
    tracker.explain_by(owing(4, 6))
    assert (tracker.counts().open_gaps, tracker.counts().missing_trades, tracker.counts().explained) == (1, 1, 3)


def test_what_is_backfilled_before_a_later_trade_comes_leaves_no_gap() -> None:
    tracker = restarted(highest=10)
    given = later([(1, n) for n in range(11, 21)])
    tracker.note_backfilled(given, np.zeros(10, np.int32), 10)
    latest = later([(1, 21)])
    latest["event_ns"] += 1_000_000 * 1000
    tracker.step(latest)
    counts = tracker.counts()
    assert (counts.open_gaps, counts.explained, counts.out_of_order, counts.duplicates) == (0, 0, 0, 0)


def test_what_is_backfilled_from_before_a_reset_opens_no_gap() -> None:
    tracker = restarted(highest=10)
    restarted_trades = trades_of([(1, 1), (1, 2)])
    restarted_trades["event_ns"] += 100_000_000 * 1000
    tracker.step(restarted_trades)
    tracker.note_backfilled(later([(1, n) for n in range(11, 21)]), np.zeros(10, np.int32), 10)
    assert (tracker.counts().open_gaps, tracker.counts().resets) == (0, 1)


def test_what_backfill_does_not_bring_of_an_explained_gap_is_an_open_gap() -> None:
    """Numbers 11 to 20 are outstanding as far as the ledger says; 14 and 15 never were sent."""
    tracker = restarted(highest=10)
    outstanding = [True]
    tracker.explain_by(lambda _channel, _gap: outstanding[0])
    latest = later([(1, 21)])
    latest["event_ns"] += 1_000_000 * 1000
    tracker.step(latest)
    tracker.note_backfilled(later([(1, n) for n in (11, 12, 13, 16, 17, 18, 19, 20)]), np.zeros(8, np.int32), 8)
    tracker.review_explained()
    assert (tracker.counts().open_gaps, tracker.counts().explained) == (0, 2)
    outstanding[0] = False
    tracker.review_explained()
    counts = tracker.counts()
    assert (counts.open_gaps, counts.missing_trades, counts.explained) == (1, 2, 0)
