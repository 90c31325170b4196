"""How long a group waits for a member on a machine that has no time for it."""

from collections.abc import Callable

import pytest

from k2ctl.clock import ManualClock
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.clients import session_timeout_s
from k2ctl.kafka.patience import AWAY_MOST_S, CALM_S, SESSION_MOST_S, Patience

ENGINES = ["embedded", "local"]


def of(engine: str) -> Endpoints:
    return Endpoints(engine, "127.0.0.1:1", "sqlite:///:memory:", "file:///nowhere")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_member_that_is_taken_for_gone_again_and_again_gets_twice_the_time_each_time(engine: str) -> None:
    patience, sessions_s = Patience(of(engine), ManualClock()), list[float]()
    for _ in range(3):
        sessions_s.append(patience.session_s)
        patience.note_lost()
    first_s = session_timeout_s(of(engine))
    assert sessions_s == [first_s, 2 * first_s, 4 * first_s]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("of_patience", "most_s"), [(lambda it: it.session_s, SESSION_MOST_S), (lambda it: it.away_after_s, AWAY_MOST_S)]
)
def test_the_time_has_a_limit_so_that_who_is_gone_is_noticed(
    engine: str, of_patience: Callable[[Patience], float], most_s: float
) -> None:
    patience = Patience(of(engine), ManualClock())
    for _ in range(50):
        patience.note_lost()
    assert of_patience(patience) <= most_s


def test_who_was_there_for_a_while_begins_with_little_again() -> None:
    clock = ManualClock()
    patience = Patience(of("local"), clock)
    for _ in range(4):
        patience.note_lost()
    clock.advance(CALM_S + 1)
    patience.note_lost()
    assert patience.session_s == 2 * session_timeout_s(of("local"))


def test_a_member_may_join_for_longer_than_another_stands_still() -> None:
    patience = Patience(of("embedded"), ManualClock())
    for _ in range(6):
        assert patience.join_within_s > patience.away_after_s
        patience.note_lost()
