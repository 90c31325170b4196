"""Every page of `k2ctl watch` at three sizes, as it is kept beside this file."""

from dataclasses import replace
from pathlib import Path

import pytest

from k2ctl.domain.overview import Overview
from k2ctl.kafka.dead_letters import StoredDeadLetter, StoredDeadLetters
from k2ctl.views.watch.frame import Scroll
from k2ctl.views.watch.history import LagHistory
from k2ctl.views.watch.screen import KEYS, WatchPage, WatchScreen, of_one, screen_view
from tests.support.overviews import AT_US, LEVELS, three_consumers, waves
from tests.support.screens import SIZES, plain, same_as_kept

KEPT = Path(__file__).parent / "screens"
OVERVIEW = three_consumers()
LOG = [
    f"22:13:{second:02}.000Z consumer-1 {level:<7} k2ctl.lake  committed rows=50000 ms=61"
    for second, level in enumerate(["INFO", "WARNING", "ERROR"] * 12)
]


def dead_letters() -> StoredDeadLetters:
    reasons = ["price 0.0000000000001 has more than 12 decimal places", "not JSON: \x1b[2J"]
    found = [
        StoredDeadLetter(f"0:{at}", AT_US // 1000 + at, reasons[at % 2], "t", "e", at % 4, 100 + at, None, 9, b"{" * 9)
        for at in range(40)
    ]
    return StoredDeadLetters(tuple(found), not_read=7)


def shown(screen: WatchScreen, width: int, height: int) -> str:
    text = plain(screen_view(screen, width, height), width, height)
    lines = text.splitlines()
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    return text


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("page", WatchPage)
def test_each_page_is_as_it_is_kept(page: WatchPage, width: int, height: int) -> None:
    screen = WatchScreen(OVERVIEW, waves(OVERVIEW), page, log=LOG, dead_letters=dead_letters())
    same_as_kept(shown(screen, width, height), KEPT / f"watch-{page.replace(' ', '-')}-{width}x{height}.txt")


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_stack_that_is_down_is_as_it_is_kept(width: int, height: int) -> None:
    said = "The stack is down since 22:13:20 UTC; this goes on when it is back"
    down = replace(Overview.of([], at_us=AT_US), level_reason=said)
    same_as_kept(
        shown(WatchScreen(down, LagHistory(), said=said), width, height), KEPT / f"watch-down-{width}x{height}.txt"
    )


@pytest.mark.parametrize("level", range(5))
@pytest.mark.parametrize(("width", "height"), [*SIZES, (100, 40), (130, 36)])
def test_no_level_changes_the_height_of_the_screen(level: int, width: int, height: int) -> None:
    overview = three_consumers(level)
    assert f"▶ {level} {LEVELS[level].name}" in shown(WatchScreen(overview, waves(overview, 50)), width, height)


@pytest.mark.parametrize(("level", "lines"), [(0, ["▲1 100k"]), (2, ["▲3 1M", "▼ 250k"]), (4, ["▼ 2.5M"])])
def test_the_chart_shows_what_makes_the_level_worse_and_what_makes_it_better(level: int, lines: list[str]) -> None:
    overview = three_consumers(level)
    for width, height in SIZES:
        text = shown(WatchScreen(overview, waves(overview)), width, height)
        assert [line for line in lines if line not in text] == []


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_what_is_deferred_is_said_with_its_priorities_and_where_it_is(width: int, height: int) -> None:
    text = shown(WatchScreen(OVERVIEW, LagHistory()), width, height)
    assert "10,000,000" in text
    assert "9,234,567" in text
    if width > 80:
        assert "in Kafka: 10,000,000 LOW" in text
        assert "on disk: 9,000,000 NORMAL, 234,567" in text
    else:
        assert "in Kafka: L" in text
        assert "on disk: HN" in text


@pytest.mark.parametrize(("width", "height"), SIZES[1:])
def test_all_partitions_are_seen_where_there_is_room(width: int, height: int) -> None:
    text = shown(WatchScreen(OVERVIEW, LagHistory()), width, height)
    partitions = {part.partition for status in OVERVIEW.consumers for part in status.partitions}
    assert [number for number in partitions if f"{number:>4} █" not in text] == []


def test_one_consumer_alone_has_its_own_figures_and_its_own_lag_in_the_chart() -> None:
    history = waves(OVERVIEW)
    alone = of_one(OVERVIEW, "consumer-2")
    assert (alone.level, alone.lag_trades, len(alone.consumers)) == ("SOFT", 1_234_567, 1)
    assert history.lags(3, "consumer-2") == [1_234_567] * 3
    text = shown(WatchScreen(OVERVIEW, history, consumer="consumer-2"), 160, 50)
    assert "degradation of consumer-2: SOFT" in text
    assert "consumer-1" not in text
    assert of_one(OVERVIEW, "gone") is OVERVIEW


def test_a_page_is_scrolled_within_its_lines_and_its_headings_stay() -> None:
    scroll = Scroll(first=10**6)
    text = shown(WatchScreen(OVERVIEW, LagHistory(), WatchPage.PARTITIONS, scroll=scroll), 80, 24)
    assert "partition  consumer" in text
    assert "46–64 of 64" in text
    assert scroll.first == 45
    worst = shown(WatchScreen(OVERVIEW, LagHistory(), WatchPage.PARTITIONS, worst_first=True), 80, 24)
    assert worst.index(" 63  consumer-1") < worst.index(" 62  consumer-3")


def test_a_log_begins_at_its_end_and_nothing_in_it_is_executed() -> None:
    log = [*LOG, "22:14:00.000Z consumer-1 \x1b[2J"]
    text = shown(WatchScreen(OVERVIEW, LagHistory(), WatchPage.LOG, log=log), 80, 24)
    assert text.splitlines()[-3].startswith("│ 22:14:00.000Z consumer-1 \\x1b[2J")
    assert "\x1b" not in text


def test_a_sentence_takes_the_place_of_the_keys_and_says_how_to_end() -> None:
    said = "nothing has come from Kafka for 4 s"
    assert shown(WatchScreen(OVERVIEW, LagHistory(), said=said), 80, 24).endswith(f" {said}    q quits\n")
    assert shown(WatchScreen(OVERVIEW, LagHistory(), with_keys=False), 80, 24).endswith("\n Ctrl-C ends\n")


def test_the_help_has_every_key() -> None:
    text = shown(WatchScreen(OVERVIEW, LagHistory(), WatchPage.HELP), 80, 24)
    assert [one.key for one in KEYS if f"│ {one.key} " not in text] == []
