"""The time of a schedule: what is shown of it never runs backwards."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from k2ctl.clock import ManualClock
from k2ctl.load.schedule_clock import ScheduleClock

TICK_S = 0.01


def test_it_stands_still_while_it_is_paused_and_counts_the_pause_at_once() -> None:
    clock = ManualClock()
    time = ScheduleClock(TICK_S, clock)
    time.begin()
    clock.advance(5)
    with time.paused():
        clock.advance(3)
        assert (time.elapsed_s, time.paused_s) == (5, 3)
    clock.advance(1)
    assert (time.elapsed_s, time.paused_s) == (6, 3)


def test_it_is_zero_until_a_replay_begins_and_below_zero_before_a_start_that_all_share() -> None:
    clock = ManualClock()
    time = ScheduleClock(TICK_S, clock)
    clock.advance(5)
    assert time.elapsed_s == 0
    time.begin()
    assert time.elapsed_s == 0
    time.begin(clock.monotonic_s() + 2)
    assert time.elapsed_s == -2


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 2)), max_size=20))
def test_it_never_runs_backwards(steps: list[tuple[bool, float]]) -> None:
    clock = ManualClock()
    time, seen = ScheduleClock(TICK_S, clock), [0.0]
    time.begin()
    for paused, seconds in steps:
        if paused:
            with time.paused():
                clock.advance(seconds)
                seen.append(time.elapsed_s)
        else:
            clock.advance(seconds)
        seen.append(time.elapsed_s)
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(seen))
