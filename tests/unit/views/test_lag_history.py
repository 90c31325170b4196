"""Lag and level over time: ticks, and groups of them that stay where they are."""

from dataclasses import replace

from k2ctl.domain.overview import Overview
from k2ctl.views.watch.history import LagHistory
from tests.support.overviews import AT_US


def noted(lags: list[int | None]) -> LagHistory:
    history = LagHistory()
    for number, lag in enumerate(lags):
        tick = replace(Overview.of([], at_us=AT_US + number * 500_000), lag_trades=lag, level_number=number % 5)
        assert history.add(tick)
    return history


def test_more_than_one_tick_in_half_a_second_is_not_noted() -> None:
    history = noted([1])
    assert not history.add(Overview.of([], at_us=AT_US + 400_000))
    assert history.lags(9) == [1]


def test_of_several_ticks_the_largest_lag_and_the_worst_level_are_shown() -> None:
    history = noted([1, None, 3, 2, None, None, 7])
    assert history.lags(9, together=2) == [1, 3, None, 7]
    assert history.levels(9, together=2) == [1, 3, 4, 1]
    assert history.lags(2, together=2) == [None, 7]


def test_groups_keep_their_ticks_as_more_come() -> None:
    lags: list[int | None] = list(range(40))
    before, after = noted(lags).lags(5, together=5), noted([*lags, 40, 41]).lags(6, together=5)
    assert after[:-1] == before
    assert after[-1] == 41


def test_a_copy_stands_still() -> None:
    history = noted([1, 2])
    still = history.copy()
    history.add(Overview.of([], at_us=AT_US + 9_000_000))
    assert still.lags(9) == [1, 2]
    assert history.lags(9) == [1, 2, None]


def test_a_consumer_that_was_not_there_has_no_lag() -> None:
    assert noted([1, 2]).lags(9, "consumer-9") == [None, None]
