"""The vectorised tracker against one that goes trade by trade over plain dicts, whatever the batches."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.clock import ManualClock
from k2ctl.sequence.tracker import SequenceTracker
from tests.made_trades import BASE_US, make_trades

MINUTE_US = 60_000_000


@dataclass
class Model:
    """Per symbol: the numbers of the present run that are there, and the latest time."""

    there: dict[int, set[int]] = field(default_factory=dict)
    latest: dict[int, int] = field(default_factory=dict)
    in_order: int = 0
    out_of_order: int = 0
    duplicates: int = 0
    resets: int = 0
    explained_by_reset: int = 0

    def missing(self, symbol: int) -> set[int]:
        own = self.there.get(symbol) or {0}
        return set(range(min(own), max(own) + 1)) - own

    def note(self, symbol: int, number: int, time_us: int) -> None:
        own = self.there.setdefault(symbol, set())
        later_us = time_us - self.latest.get(symbol, time_us)
        if not own or number > max(own):
            self.in_order += 1
        elif later_us > 0 and (number in own or later_us >= MINUTE_US):
            self.resets += 1
            self.explained_by_reset += len(self.missing(symbol))
            own.clear()
            self.in_order += 1
            self.latest[symbol] = time_us
        elif number in own:
            self.duplicates += 1
        else:
            self.out_of_order += 1
        own.add(number)
        self.latest[symbol] = max(time_us, self.latest.get(symbol, time_us))


TRADE = st.tuples(
    st.integers(0, 2), st.integers(1, 12), st.one_of(st.integers(-5, 5), st.sampled_from([-MINUTE_US, MINUTE_US]))
)


def trades_of(batch: list[tuple[int, int, int]], base_us: int) -> np.ndarray:
    """(symbol, number, µs from a base that moves on) as trades."""
    trades = make_trades(len(batch))
    trades["symbol"] = [f"X{symbol}".encode() for symbol, _, _ in batch]
    trades["source_sequence"] = [number for _, number, _ in batch]
    trades["event_ns"] = np.array([base_us + after for _, _, after in batch]) * 1000
    return trades


def missing_of(tracker: SequenceTracker) -> dict[bytes, set[int]]:
    found: dict[bytes, set[int]] = {}
    for channel, gap in tracker.gaps:
        found.setdefault(tracker.channels.names[channel], set()).update(range(gap.start, gap.after))
    return found


@given(st.lists(st.lists(TRADE, min_size=1, max_size=30), min_size=1, max_size=5))
def test_every_kind_of_arrival_is_judged_as_trade_by_trade(batches: list[list[tuple[int, int, int]]]) -> None:
    """Late ones, copies under new ids, gaps, restarts of the venue, clocks that jump, in batches of any size."""
    tracker, model = SequenceTracker(ManualClock()), Model()
    for number, batch in enumerate(batches):
        base_us = BASE_US + number * 10
        tracker.step(trades_of(batch, base_us))
        for symbol, sequence, after in batch:
            model.note(symbol, sequence, base_us + after)
    counts = tracker.counts()
    for name in ("in_order", "out_of_order", "duplicates", "resets", "explained_by_reset"):
        assert getattr(counts, name) == getattr(model, name), name
    expected = {f"ASX/X{symbol}".encode(): model.missing(symbol) for symbol in model.there}
    assert missing_of(tracker) == {name: missing for name, missing in expected.items() if missing}


@given(st.lists(TRADE, min_size=1, max_size=40), st.integers(1, 7))
def test_how_a_feed_is_cut_into_batches_changes_nothing(feed: list[tuple[int, int, int]], size: int) -> None:
    whole, cut = SequenceTracker(ManualClock()), SequenceTracker(ManualClock())
    whole.step(trades_of(feed, BASE_US))
    for start in range(0, len(feed), size):
        cut.step(trades_of(feed[start : start + size], BASE_US))
    assert whole.counts() == cut.counts()
    assert missing_of(whole) == missing_of(cut)


def test_a_gap_is_lost_after_its_deadline_and_a_late_arrival_still_fills_it() -> None:
    clock = ManualClock()
    tracker = SequenceTracker(clock)
    tracker.step(trades_of([(1, 1, 0), (1, 5, 1)], BASE_US))
    assert (tracker.counts().open_gaps, tracker.counts().lost_gaps) == (1, 0)
    clock.advance(901)
    assert (tracker.counts().missing_trades, tracker.counts().lost_trades) == (0, 3)
    tracker.step(trades_of([(1, n, 0) for n in (2, 4, 3)], BASE_US))
    assert (tracker.counts().lost_trades, tracker.counts().filled_gaps) == (0, 1)


def test_small_and_large_gaps_are_distinguished() -> None:
    tracker = SequenceTracker(ManualClock())
    tracker.step(trades_of([(1, 1, 0), (1, 5, 1), (1, 106, 2)], BASE_US))
    assert (tracker.counts().small_gaps, tracker.counts().large_gaps) == (1, 1)


def test_the_first_trade_of_a_new_session_is_a_restart_also_if_its_number_was_missing() -> None:
    tracker = SequenceTracker(ManualClock())
    tracker.step(trades_of([(1, 1, 0), (1, 5, 1)], BASE_US))
    tracker.step(trades_of([(1, 3, 0)], BASE_US + 3600_000_000))
    counts = tracker.counts()
    assert (counts.resets, counts.explained_by_reset, counts.open_gaps) == (1, 3, 0)


def test_symbols_without_a_trade_for_a_while_are_idle() -> None:
    clock = ManualClock()
    tracker = SequenceTracker(clock)
    trades = trades_of([(1, 1, 0), (2, 1, 1)], BASE_US)
    trades["received_ns"] = clock.now_us() * 1000
    tracker.step(trades)
    clock.advance(301)
    again = trades_of([(2, 2, 1)], BASE_US)
    again["received_ns"] = clock.now_us() * 1000
    tracker.step(again)
    assert (tracker.counts().symbols, tracker.counts().idle_symbols) == (2, 1)


def test_a_symbol_followed_from_the_middle_is_said_to_be_unverified_and_is_no_gap() -> None:
    tracker = SequenceTracker(ManualClock())
    tracker.step(trades_of([(1, 1, 0), (2, 17, 1)], BASE_US))
    assert (tracker.counts().unverified, tracker.counts().open_gaps) == (1, 0)


def test_a_feed_that_restarts_at_every_other_trade_is_followed_in_bounded_time() -> None:
    tracker = SequenceTracker(ManualClock())
    feed = [(1, 1 + number % 2, number) for number in range(20_000)]
    tracker.step(trades_of(feed, BASE_US))
    assert tracker.counts().resets == 9_999
