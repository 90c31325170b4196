"""The history of an hour: what was seen and nothing else, in bounded memory."""

import itertools
from dataclasses import replace

import orjson
import pytest

from k2ctl.api.history import SERIES, STEP_S, PlatformHistory
from k2ctl.clock import ManualClock
from k2ctl.domain.checkpoint import Counts
from k2ctl.domain.overview import Overview
from k2ctl.domain.status import ConsumerStatus
from k2ctl.domain.status_parts import SequenceCounts, Transition
from tests.support.statuses import a_status

START_US = 1_700_000_000_000_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_US)


def look(history: PlatformHistory, clock: ManualClock, *consumers: ConsumerStatus) -> None:
    history.note(Overview.of(consumers, highs={"t": {}}, at_us=clock.now_us()))


def lags(history: PlatformHistory, minutes: int = 60) -> list[int | None]:
    found: list[int | None] = history.document(minutes)["series"]["lag_trades"]
    return found


def test_every_series_has_a_figure_for_each_step(clock: ManualClock) -> None:
    history = PlatformHistory(clock)
    status = a_status(
        level_number=3, memory_share=0.25, sequence=SequenceCounts(open_gaps=7), outstanding=9, rate_in=5.04,
        counts=Counts(seen=40, stored=30, duplicate=4, lost=3, dead_lettered=2), intake="closed", retention_left_s=60.0,
    )  # fmt: skip
    look(history, clock, status)
    document = orjson.loads(orjson.dumps(history.document()))
    assert document["step_s"] == STEP_S
    assert {len(column) for column in document["series"].values()} == {len(document["at_us"])} == {2}
    last = {name: column[-1] for name, column in document["series"].items()}
    wanted = {
        "level_number": 3, "memory_fraction": 0.25, "gaps": 7, "outstanding": 9, "rate_in": 5.0, "duplicate": 4,
        "lost": 3, "dead_lettered": 2, "pending": 3, "intake_open": 0, "consumers": 1, "rate_loaded": None,
    }  # fmt: skip
    assert {name: last[name] for name in wanted} == wanted
    assert [name for name in SERIES if last[name] is None] == ["rate_loaded"]


def test_of_a_step_the_first_look_is_kept_and_the_next_step_has_its_own(clock: ManualClock) -> None:
    history = PlatformHistory(clock)
    for lag in (1, 2, 3, 4, 5, 6, 7, 8):
        look(history, clock, a_status(lag_trades=lag))
        clock.advance(0.5)
    assert lags(history) == [None, 1, 5]


def test_a_step_that_was_not_looked_at_is_a_hole(clock: ManualClock) -> None:
    history = PlatformHistory(clock)
    for lag, then_s in ((1, 2), (2, 8), (3, 2)):
        look(history, clock, a_status(lag_trades=lag))
        clock.advance(then_s)
    assert lags(history) == [None, 1, 2, None, None, None, 3]
    at_us = history.document()["at_us"]
    assert [after - before for before, after in itertools.pairwise(at_us)] == [STEP_S * 1_000_000] * 6
    clock.advance(4)
    assert lags(history)[-3:] == [3, None, None]


def test_what_was_before_the_service_began_is_a_hole(clock: ManualClock) -> None:
    before, joined = PlatformHistory(clock), []
    for _ in range(3):
        look(before, clock, a_status(lag_trades=1))
        clock.advance(2)
    joined += lags(before)
    clock.advance(30)
    after = PlatformHistory(clock)
    look(after, clock, a_status(lag_trades=2))
    assert after.document()["at_us"][0] > before.document()["at_us"][3]
    assert [*joined, *lags(after)] == [None, 1, 1, 1, None, 2]


def test_without_a_consumer_nothing_is_known_of_one(clock: ManualClock) -> None:
    history = PlatformHistory(clock)
    look(history, clock)
    assert {name: column[-1] for name, column in history.document()["series"].items()} == dict.fromkeys(SERIES)


def test_an_hour_is_kept_and_no_more(clock: ManualClock) -> None:
    history = PlatformHistory(clock)
    seen = Overview.of([a_status()])
    for number in range(9_000):
        moves = [Transition(clock.now_us(), "NORMAL", "SOFT", str(number))]
        history.note(replace(seen, at_us=clock.now_us(), lag_trades=number, transitions=moves))
        clock.advance(0.5)
    clock.advance(-0.5)
    document = history.document()
    assert len(document["at_us"]) == 1800
    assert clock.now_us() - document["at_us"][0] < 3_600_000_000
    assert document["series"]["lag_trades"][-1] == 8_996
    assert [move["reason"] for move in document["transitions"]] == [str(number) for number in range(8_500, 9_000)]
    assert len(history.document(5)["at_us"]) == 5 * 30
    assert lags(history, 5) == document["series"]["lag_trades"][-150:]


def test_a_long_silence_leaves_only_holes(clock: ManualClock) -> None:
    history = PlatformHistory(clock)
    look(history, clock, a_status())
    clock.advance(86_400)
    assert set(lags(history)) == {None}
    assert len(lags(history)) <= 1800


def test_changes_of_level_are_kept_once_with_their_reason(clock: ManualClock) -> None:
    history = PlatformHistory(clock)
    moves = [Transition(START_US - age_us, "NORMAL", "SOFT", f"lag {age_us}") for age_us in (4_000_000_000, 5, 3)]
    for _ in range(3):
        look(history, clock, a_status("a", transitions=moves), a_status("b", transitions=moves[1:]))
        clock.advance(0.5)
    found = history.document()["transitions"]
    assert found[0] == {"at_us": START_US - 5, "from": "NORMAL", "to": "SOFT", "reason": "lag 5"}
    assert [move["reason"] for move in found] == ["lag 5", "lag 3"]


def test_a_clock_that_is_set_back_begins_again_from_there(clock: ManualClock) -> None:
    history = PlatformHistory(clock)
    for lag in (1, 2, 3):
        look(history, clock, a_status(lag_trades=lag))
        clock.advance(2)
    clock.advance(-4)
    look(history, clock, a_status(lag_trades=9))
    document = history.document()
    assert document["at_us"] == sorted(document["at_us"])
    assert lags(history)[-1] != 3
