"""What the demo asserts turns red for every way in which it can be wrong."""

from types import SimpleNamespace
from typing import cast

import pyarrow as pa
import pytest

from k2ctl.cost.estimate import Estimate
from k2ctl.demo.checks import (
    DemoCheck,
    Priced,
    backfilled,
    balance_holds,
    caught_up,
    costed,
    critical_flowed,
    critical_never_deferred,
    drained,
    duplicates_caught,
    gaps_found,
    honest_answer,
    ladder_climbed,
    ladder_descended,
    naive_waited,
    offset_is_past,
    shed_and_spilled,
    stored_once,
)
from k2ctl.domain.checkpoint import Counts
from k2ctl.query.answer import Answer, Evidence

WHOLE = Counts(seen=110, stored=100, duplicate=10)
DOWN = {
    1: ("CIRCUIT_BREAK", "AGGRESSIVE"),
    2: ("AGGRESSIVE", "GRACEFUL"),
    3: ("GRACEFUL", "SOFT"),
    4: ("SOFT", "NORMAL"),
}


@pytest.mark.parametrize(
    ("check", "held"),
    [
        (naive_waited(2.0), True),
        (naive_waited(1.9), False),
        (critical_flowed(1.0, 2.0), True),
        (critical_flowed(2.0, 2.0), False),
        (critical_flowed(None, 2.0), False),
        (drained(1e5, 1e5, WHOLE, 110), True),
        (drained(1e5, 1e5, WHOLE, 111), False),
        (drained(1e5, 1e5, Counts(seen=110, stored=100, shed=10), 110), False),
        (offset_is_past(7, 8), True),
        (offset_is_past(7, 7), False),
        (backfilled(WHOLE, 50, 45, ""), True),
        (backfilled(WHOLE, 50, 51, ""), False),
        (backfilled(WHOLE, 50, 39, ""), False),
        (backfilled(Counts(seen=110, stored=99, duplicate=10, shed=1), 50, 49, ""), False),
        (stored_once(5, 5, 5, ()), True),
        (stored_once(6, 5, 5, ()), False),
        (stored_once(5, 5, 6, ()), False),
        (stored_once(0, 0, 0, ()), False),
        (stored_once(5, 5, 5, ("Kafka is gone",)), False),
        (duplicates_caught(WHOLE, 10), True),
        (duplicates_caught(WHOLE, 11), False),
        (balance_holds(WHOLE, 110), True),
        (balance_holds(WHOLE, 111), False),
        (balance_holds(Counts(seen=110, stored=100), 110), False),
        (ladder_climbed(["SOFT", "NORMAL", "GRACEFUL", "AGGRESSIVE", "CIRCUIT_BREAK"]), True),
        (ladder_climbed(["SOFT", "NORMAL", "GRACEFUL", "CIRCUIT_BREAK"]), False),
        (ladder_descended(DOWN), True),
        (ladder_descended({1: ("AGGRESSIVE", "SOFT"), 2: ("SOFT", "NORMAL")}), False),
        (ladder_descended({1: DOWN[1]}), False),
        (ladder_descended({}), False),
        (critical_never_deferred(0, 5), True),
        (critical_never_deferred(1, 5), False),
        (critical_never_deferred(0, 0), False),
        (shed_and_spilled(1, 1), True),
        (shed_and_spilled(0, 1), False),
        (shed_and_spilled(1, 0), False),
        (caught_up(0, finished=True), True),
        (caught_up(1, finished=True), False),
        (caught_up(0, finished=False), False),
        (gaps_found(3, 3, 4), True),
        (gaps_found(2, 3, 4), False),
        (gaps_found(4, 3, 4), False),
        (gaps_found(0, 0, 4), False),
    ],
)
def test_a_check_holds_only_when_its_figures_do(check: DemoCheck, held: bool) -> None:
    assert check.held == held


def answer_of(numbers: list[int], *missing: str) -> Answer:
    evidence = cast("Evidence", SimpleNamespace(missing=missing, complete=not missing))
    return Answer(pa.table({"source_sequence": pa.array(numbers, pa.int64())}), evidence)


WHOLE_ANSWER, CUT_ANSWER = answer_of([1, 2, 3]), answer_of([1, 3], "1 trades of LOW symbols are deferred; give")


@pytest.mark.parametrize(
    ("plain", "with_deferred", "fault"),
    [
        (CUT_ANSWER, WHOLE_ANSWER, ""),
        (WHOLE_ANSWER, WHOLE_ANSWER, ""),
        (WHOLE_ANSWER, answer_of([1, 2, 3, 4]), ""),  # one more has come, and was deferred, between the two questions
        (answer_of([1, 3]), WHOLE_ANSWER, "it has a hole and does not say so"),
        (CUT_ANSWER, answer_of([1, 2], "a spill file is gone"), "with what is deferred: a spill file is gone"),
        (CUT_ANSWER, answer_of([1, 2, 4]), "with what is deferred there is a hole"),
        (WHOLE_ANSWER, answer_of([1, 2]), "with what is deferred there is less"),
        (answer_of([]), answer_of([]), "there is nothing"),
    ],
)
def test_of_an_answer_that_lacks_something_the_check_says_what_is_wrong(
    plain: Answer, with_deferred: Answer, fault: str
) -> None:
    found = honest_answer("LOW", plain, with_deferred)
    assert found.held == (fault == "")
    assert found.measured.partition("; wrong: ")[2] == fault


def test_costs_are_given_with_what_was_measured_beside_what_the_profile_assumes() -> None:
    def month(usd: float, of_a_million: float, infeasible: tuple[str, ...] = ()) -> Estimate:
        found = SimpleNamespace(
            profile="1M", total_monthly_usd=usd, usd_per_million_messages=of_a_million, infeasible=infeasible
        )
        return cast(Estimate, found)

    check = costed([Priced(month(2_000.0, 0.2), month(3_000.0, 0.3))])
    assert check.held
    assert "just measured" in check.measured
    assert "2,000 USD (3,000)" in check.measured
    assert not costed([Priced(month(2_000.0, 0.2, ("no room",)), month(3_000.0, 0.3))]).held
