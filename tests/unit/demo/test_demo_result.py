"""The demo holds when it came to its end and every act asserted something that held."""

from k2ctl.demo.checks import DemoCheck
from k2ctl.demo.innovations import DeferredTotals, Seen
from k2ctl.demo.result import ActResult, Billing, DemoResult

GREEN, RED = DemoCheck("claim", True, "1"), DemoCheck("claim", False, "0")


def result(*acts: list[DemoCheck], finished: bool = True) -> DemoResult:
    billing = Billing(1, "An act", "What is to be seen.", ("A note.",))
    return DemoResult("embedded", [ActResult(billing, checks=checks) for checks in acts], finished=finished)


def test_every_act_has_to_assert_something_that_holds() -> None:
    assert result([GREEN], [GREEN, GREEN]).held
    assert not result([GREEN], [GREEN, RED]).held
    assert not result([GREEN], []).held


def test_a_demo_that_was_cut_short_does_not_hold() -> None:
    assert not result([GREEN], finished=False).held


def test_what_a_killed_consumer_did_is_counted_by_the_table() -> None:
    """It had deferred 90 trades; 70 of them are in the ledger, so its successor defers the other 20 again."""
    seen = Seen()
    seen.take("first", DeferredTotals(90))
    seen.killed(70)
    seen.take("first", DeferredTotals(90))
    seen.take("second", DeferredTotals(20, 0, 40))
    seen.take("second", DeferredTotals(50, 0, 120))
    assert seen.total == (120, 0, 120)
