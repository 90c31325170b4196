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
class Run:
    """Numbers that are there, the latest time, and when it began."""

    there: set[int] = field(default_factory=set)
    latest: int = -(1 << 62)
    begun: int = -(1 << 62)

    @property
    def missing(self) -> set[int]:
        own = self.there or {0}
        return set(range(min(own), max(own) + 1)) - own

    def add(self, number: int, time_us: int) -> None:
        self.there.add(number)
        self.latest = max(self.latest, time_us)


@dataclass
class Model:
    """Per symbol: the present run, and the one before it."""

    present: dict[int, Run] = field(default_factory=dict)
    past: dict[int, Run] = field(default_factory=dict)
    in_order: int = 0
    out_of_order: int = 0
    duplicates: int = 0
    resets: int = 0
    explained_by_reset: int = 0

    def missing(self, symbol: int) -> set[int]:
        return self.present[symbol].missing

    def note(self, symbol: int, number: int, time_us: int) -> None:
        run = self.present.setdefault(symbol, Run())
        if time_us < run.begun:
            if self.is_past(symbol, number, time_us):
                self.note_past(symbol, number, time_us)
                return
            run.begun = time_us
        later_us = time_us - run.latest
        if not run.there or number > max(run.there):
            self.in_order += 1
        elif later_us > 0 and (number in run.there or later_us >= MINUTE_US):
            self.resets += 1
            self.explained_by_reset += len(run.missing)
            self.past[symbol], run = run, Run(begun=time_us)
            self.present[symbol] = run
            self.in_order += 1
        elif number in run.there:
            self.duplicates += 1
        else:
            self.out_of_order += 1
        run.add(number, time_us)

    def is_past(self, symbol: int, number: int, time_us: int) -> bool:
        """What its trade would have been had it come before the restart."""
        past = self.past[symbol]
        later_us = time_us - past.latest
        late = number in past.missing and later_us < MINUTE_US
        return later_us <= 0 or number > max(past.there) or late

    def note_past(self, symbol: int, number: int, time_us: int) -> None:
        past = self.past[symbol]
        if number in past.there or number < min(past.there):
            self.duplicates += 1
            return
        before = len(past.missing)
        past.add(number, time_us)
        self.out_of_order += 1
        self.explained_by_reset += len(past.missing) - before


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
    expected = {f"ASX/X{symbol}".encode(): model.missing(symbol) for symbol in model.present}
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


RUN = st.lists(st.booleans(), min_size=3, max_size=10)


@given(runs=st.lists(RUN, min_size=1, max_size=3), data=st.data())
def test_after_a_restart_the_order_of_arrival_gives_what_the_order_of_time_gives(
    runs: list[list[bool]], data: st.DataObject
) -> None:
    """A consumer reads in the order of arrival, and the gap report in that of time: both have the same counts."""
    feed, at_us = [], 0
    for run in runs:
        at_us += 61_000_000
        numbers = [number for number, there in enumerate([True] * 8 + run, 1) if there]
        feed += [(1, number, at_us + number) for number in numbers]
    late = data.draw(st.lists(st.integers(0, 3), min_size=len(feed), max_size=len(feed)))
    arriving = [feed[at] for at in sorted(range(len(feed)), key=lambda at: (at + late[at], at))]
    by_time, by_arrival = SequenceTracker(ManualClock()), SequenceTracker(ManualClock())
    by_time.step(trades_of(feed, BASE_US))
    for start in range(0, len(arriving), 4):
        by_arrival.step(trades_of(arriving[start : start + 4], BASE_US))
    assert missing_of(by_arrival) == missing_of(by_time)
    for name in ("resets", "explained_by_reset", "open_gaps", "missing_trades", "duplicates"):
        assert getattr(by_arrival.counts(), name) == getattr(by_time.counts(), name), name
