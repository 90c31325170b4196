"""The loop of every commit: what is tried again, what is not, and for how long."""

from collections.abc import Callable

import pytest
from pyiceberg.exceptions import CommitFailedException, ValidationException
from sqlalchemy.exc import OperationalError

from k2ctl.clock import ManualClock
from k2ctl.errors import LakeError, LakeUnanswered
from k2ctl.lake.commit import LONGEST_PAUSE_S, Try, commit_optimistically

LOST = OperationalError("COMMIT", {}, Exception("server closed the connection"))


class Attempts:
    """Raises what it was given, one after the other, then succeeds; keeps what it was given for each try."""

    def __init__(self, *errors: Exception, always: Exception | None = None) -> None:
        self.errors = list(errors)
        self.always = always
        self.tries: list[Try] = []

    def __call__(self, one: Try) -> str:
        self.tries.append(one)
        if self.errors:
            raise self.errors.pop(0)
        if self.always is not None:
            raise self.always
        return "done"


def run(
    attempts: Attempts,
    clock: ManualClock | None = None,
    troubles: list[str] | None = None,
    waits: Callable[[], bool] = lambda: False,
) -> str:
    return commit_optimistically(
        attempts,
        what="The trial",
        hint="Nothing.",
        clock=clock or ManualClock(),
        on_trouble=(troubles if troubles is not None else []).append,
        waits=waits,
    )


def test_a_conflict_is_tried_again_and_is_certain() -> None:
    attempts, troubles = Attempts(CommitFailedException("another was first")), list[str]()
    assert run(attempts, troubles=troubles) == "done"
    assert attempts.tries == [Try(1, False), Try(2, False)]
    assert troubles == []


@pytest.mark.parametrize("error", [LOST, ConnectionError("reset")], ids=["catalog", "warehouse"])
def test_after_a_lost_answer_every_further_try_knows_of_it(error: Exception) -> None:
    attempts, troubles = Attempts(error, CommitFailedException("another was first")), list[str]()
    assert run(attempts, troubles=troubles) == "done"
    assert [one.uncertain for one in attempts.tries] == [False, True, True]
    assert len(troubles) == 1


def test_a_catalog_that_could_not_even_be_asked_leaves_nothing_uncertain() -> None:
    attempts = Attempts(LakeUnanswered("The catalog does not answer"))
    assert run(attempts) == "done"
    assert attempts.tries[-1] == Try(2, False)


@pytest.mark.parametrize(
    "error",
    [LakeError("rolled back"), ValidationException("files"), KeyError("column"), ValueError("schema")],
    ids=lambda error: type(error).__name__,
)
def test_what_would_come_out_the_same_again_ends_it_at_once(error: Exception) -> None:
    attempts = Attempts(always=error)
    with pytest.raises(type(error)):
        run(attempts)
    assert len(attempts.tries) == 1


@pytest.mark.parametrize("error", [LOST, CommitFailedException("first"), LakeUnanswered("away")])
def test_it_gives_up_after_a_minute_and_says_why(error: Exception) -> None:
    clock, attempts = ManualClock(), Attempts(always=error)
    with pytest.raises(LakeError, match=r"The trial did not go through in 6\d s and \d+ tries: ") as raised:
        run(attempts, clock)
    assert raised.value.hint == "Nothing."
    assert 60.0 <= clock.monotonic_s() <= 60.0 + LONGEST_PAUSE_S
    assert 30 < len(attempts.tries) < 300


def test_who_runs_on_waits_for_a_table_that_is_away_until_it_is_to_stop() -> None:
    clock, attempts = ManualClock(), Attempts(always=LOST)
    with pytest.raises(LakeError, match=r"The trial did not go through in 3\d\d\d s"):
        run(attempts, clock, waits=lambda: clock.monotonic_s() < 3_600.0)
    assert clock.monotonic_s() <= 3_600.0 + LONGEST_PAUSE_S


def test_conflicts_are_counted_from_when_the_table_answers_again() -> None:
    clock, away = ManualClock(), [LOST] * 200
    assert run(Attempts(*away, CommitFailedException("first")), clock, waits=lambda: True) == "done"
    assert clock.monotonic_s() > 60.0
    attempts = Attempts(*away, always=CommitFailedException("first"))
    with pytest.raises(LakeError, match="first"):
        run(attempts, clock, waits=lambda: True)
