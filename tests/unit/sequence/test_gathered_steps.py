"""Small batches that are gathered: the tracker knows of them what it knows of them one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.clock import ManualClock
from k2ctl.sequence import gathered
from k2ctl.sequence.gathered import GatheredSteps
from k2ctl.sequence.symbol_state import cut
from k2ctl.sequence.tracker import SequenceTracker
from tests.made_trades import BASE_US, make_trades

MINUTE_US = 60_000_000
ARRIVAL = st.tuples(
    st.integers(0, 2), st.integers(1, 12), st.one_of(st.integers(-5, 5), st.sampled_from([-MINUTE_US, MINUTE_US]))
)
BATCHES = st.lists(st.tuples(st.lists(ARRIVAL, max_size=6), st.booleans()), min_size=1, max_size=12)


def trades_of(batch: list[tuple[int, int, int]], base_us: int) -> np.ndarray:
    trades = make_trades(len(batch))
    trades["symbol"] = [f"X{symbol}".encode() for symbol, _, _ in batch]
    trades["source_sequence"] = [number for _, number, _ in batch]
    trades["event_ns"] = np.array([base_us + after for _, _, after in batch], np.int64) * 1000
    trades["received_ns"] = trades["event_ns"]
    return trades


@given(BATCHES)
def test_what_is_known_does_not_depend_on_what_was_gathered(
    batches: list[tuple[list[tuple[int, int, int]], bool]],
) -> None:
    """Late ones, copies, gaps, restarts, clocks that jump; now and then somebody asks in between."""
    clock = ManualClock(BASE_US)
    tracker, steps = SequenceTracker(clock), GatheredSteps(SequenceTracker(clock))
    for number, (batch, is_asked) in enumerate(batches):
        trades = trades_of(batch, BASE_US + number * 10)
        partition = (trades["source_sequence"] % 3).astype(np.int32)
        tracker.step(trades, partition)
        steps.step(trades, partition)
        if is_asked:
            assert steps.tracker.counts() == tracker.counts()
    assert sorted(steps.tracker.gaps) == sorted(tracker.gaps)
    assert steps.tracker.counts() == tracker.counts()
    assert cut(steps.tracker) == cut(tracker)


def test_a_thousand_batches_of_one_trade_are_one_step_of_the_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, trades, stepped = GatheredSteps(SequenceTracker(ManualClock())), make_trades(1_000), list[int]()
    step = SequenceTracker.step
    monkeypatch.setattr(
        SequenceTracker, "step", lambda of, some, where: stepped.append(len(some)) or step(of, some, where)
    )
    for at in range(len(trades)):
        steps.step(trades[at : at + 1], np.zeros(1, np.int32))
    assert not stepped
    assert steps.tracker.counts().in_order == len(trades)
    assert stepped == [len(trades)]


def test_no_more_trades_wait_than_the_limit() -> None:
    steps, trades = GatheredSteps(SequenceTracker(ManualClock())), make_trades(gathered.GATHERED_MOST)
    steps.step(trades[:-1], np.zeros(len(trades) - 1, np.int32))
    tracker = steps._tracker
    assert not tracker.counts().in_order
    steps.step(trades[-1:], np.zeros(1, np.int32))
    assert tracker.counts().in_order == len(trades)


def test_a_large_batch_is_followed_as_it_is_behind_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, large = ManualClock(), gathered.GATHERED_MOST + 100
    steps, tracker, trades = GatheredSteps(SequenceTracker(clock)), SequenceTracker(clock), make_trades(large + 3)
    where, stepped, step = np.zeros(len(trades), np.int32), list[int](), SequenceTracker.step
    tracker.step(trades, where)
    monkeypatch.setattr(SequenceTracker, "step", lambda of, some, at: stepped.append(len(some)) or step(of, some, at))
    for some in (slice(0, 1), slice(1, 3), slice(3, None)):
        steps.step(trades[some], where[some])
    assert stepped == [3, large]
    assert cut(steps.tracker) == cut(tracker)


def test_trades_that_are_not_one_behind_the_other_in_memory_are_followed_too() -> None:
    clock, trades = ManualClock(), make_trades(20)
    steps, tracker, where = GatheredSteps(SequenceTracker(clock)), SequenceTracker(clock), np.zeros(10, np.int32)
    for some in (trades[::2], trades[1::2]):
        steps.step(some, where)
        tracker.step(some.copy(), where)
    assert cut(steps.tracker) == cut(tracker)
