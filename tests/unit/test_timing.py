"""Stopwatch, periodic work and sliding windows, on a clock moved by hand."""

import pytest

from k2ctl.clock import ManualClock
from k2ctl.timing import Every, SlidingWindow, Stopwatch, rate


def test_a_stopwatch_adds_up_the_blocks_of_one_name() -> None:
    clock = ManualClock()
    watch = Stopwatch(clock)
    for seconds in (1.0, 2.0):
        with watch.timed("scan"):
            clock.advance(seconds)
    assert watch.seconds == {"scan": 3.0}
    assert watch.milliseconds == {"scan": 3000.0}


def test_a_block_that_raises_counts() -> None:
    clock = ManualClock()
    watch = Stopwatch(clock, ["decode", "commit"])

    def fail() -> None:
        with watch.timed("decode"):
            clock.advance(0.5)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert watch.seconds == {"decode": 0.5, "commit": 0.0}


def test_periodic_work_is_due_at_once_and_then_every_interval() -> None:
    clock = ManualClock()
    every = Every(10.0, clock)
    assert [every.due(), every.due()] == [True, False]
    clock.advance(9.9)
    assert not every.due()
    clock.advance(0.1)
    assert every.due()


def test_periodic_work_can_wait_for_its_first_time() -> None:
    clock = ManualClock()
    every = Every(10.0, clock, first_s=3.0)
    assert not every.due()
    clock.advance(3.0)
    assert every.due()


def test_a_restart_counts_from_now() -> None:
    clock = ManualClock()
    every = Every(10.0, clock, first_s=10.0)
    clock.advance(9.0)
    every.restart()
    clock.advance(9.0)
    assert not every.due()
    every.restart(0.5)
    clock.advance(0.5)
    assert every.due()


def test_a_window_drops_what_is_older_and_remembers_the_last_that_it_dropped() -> None:
    clock = ManualClock()
    window = SlidingWindow[int](5.0, clock)
    for value in range(8):
        window.add(value)
        clock.advance(1.0)
    window.add(8)
    assert window.oldest == 3
    assert window.span_s == 5.0
    assert window.expired == 2


def test_a_window_covers_what_it_has_been_watched_for() -> None:
    clock = ManualClock()
    window = SlidingWindow[int](5.0, clock)
    assert not window.covers(2.0)
    window.add(1)
    clock.advance(1.9)
    assert not window.covers(2.0)
    clock.advance(0.1)
    assert window.covers(2.0)
    assert not window.covers(5.0)


def test_a_part_of_a_window_has_its_own_oldest_value() -> None:
    clock = ManualClock()
    window = SlidingWindow[int](5.0, clock)
    for value in range(5):
        window.add(value)
        clock.advance(1.0)
    assert [window.oldest_within(seconds) for seconds in (5.0, 3.0, 2.5, 0.5)] == [0, 2, 3, 4]


def test_a_value_may_replace_the_ones_before_it() -> None:
    clock = ManualClock()
    window = SlidingWindow[int](5.0, clock)
    for value in (1, 7, 9, 4):
        window.add(value, replaces=lambda before, now=value: before >= now)
        clock.advance(2.0)
    window.add(8)  # 1 has left, and 4 had replaced 7 and 9
    assert window.oldest == 4


def test_a_busy_loop_keeps_few_values() -> None:
    clock = ManualClock()
    window = SlidingWindow[int](5.0, clock, min_interval_s=1.0)
    for value in range(100):
        window.add(value)
        clock.advance(0.125)
    window.add(100)
    assert window.oldest == 64  # the one of second 8, of one kept each second


def test_a_rate_over_no_time_is_zero() -> None:
    assert rate(10, 30, 2.0) == 10.0
    assert rate(10, 30, 0.0) == 0.0
