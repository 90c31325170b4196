"""What keys do to the screen of `k2ctl watch`, and how a terminal sends them."""

import pytest

from k2ctl.commands.keys import split_keys
from k2ctl.commands.watch_keys import after_key
from k2ctl.views.watch.frame import Scroll
from k2ctl.views.watch.history import LagHistory
from k2ctl.views.watch.screen import KEYS, WatchPage, WatchScreen
from tests.support.overviews import three_consumers


def a_screen(page: WatchPage = WatchPage.OVERVIEW) -> WatchScreen:
    return WatchScreen(three_consumers(), LagHistory(), page, scroll=Scroll(first=10, room=20))


@pytest.mark.parametrize("key", [one for one in KEYS if one.page is not None])
def test_the_key_of_each_page_shows_it_from_its_beginning_and_once_more_all_again(key) -> None:
    there = after_key(a_screen(WatchPage.LOG if key.page is not WatchPage.LOG else WatchPage.HELP), key.key)
    assert (there.page, there.scroll.first) == (key.page, 0)
    assert after_key(there, key.key).page is WatchPage.OVERVIEW
    assert after_key(there, "escape").page is WatchPage.OVERVIEW


@pytest.mark.parametrize(("key", "first"), [("up", 9), ("j", 11), ("pageup", -10), ("pagedown", 30), ("home", None)])
def test_lines_and_pages_are_scrolled(key: str, first: int | None) -> None:
    found = after_key(a_screen(WatchPage.PARTITIONS), key).scroll.first
    assert found == first or (first is None and found < 0)


def test_a_log_is_scrolled_from_its_end() -> None:
    assert after_key(a_screen(WatchPage.LOG), "up").scroll.first == 11


def test_tab_goes_from_all_to_each_consumer_and_back() -> None:
    screen, seen = a_screen(), []
    for _ in range(4):
        screen = after_key(screen, "tab")
        seen.append(screen.consumer)
    assert seen == ["consumer-1", "consumer-2", "consumer-3", ""]
    assert after_key(screen, "backtab").consumer == "consumer-3"


def test_more_and_less_time_stay_within_what_there_is() -> None:
    screen = a_screen()
    for _ in range(20):
        screen = after_key(screen, "+")
    assert screen.zoom == 5
    for _ in range(20):
        screen = after_key(screen, "-")
    assert screen.zoom == 0


def test_s_sorts_and_what_means_nothing_changes_nothing() -> None:
    screen = a_screen()
    assert after_key(screen, "s").worst_first
    assert after_key(screen, "z") == screen


def test_keys_that_are_several_bytes_are_one_key_and_unknown_ones_none() -> None:
    assert split_keys("q\x1b[A\x1b[5~\x1bOB\t\x1b[Z\x1b") == ["q", "up", "pageup", "down", "tab", "backtab", "escape"]
    assert split_keys("\x1b[1;5Cp\x1b[200~é") == ["p", "é"]
    assert split_keys("\x1b[") == []
