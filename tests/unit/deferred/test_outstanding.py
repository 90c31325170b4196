"""An answer is partial exactly when something that it asks for may be deferred."""

import pytest

from k2ctl.deferred.outstanding import outstanding_reasons
from k2ctl.domain.ledger import DeferredRange, Ledger
from k2ctl.domain.trade import WHOLE_HISTORY, Window
from k2ctl.profiles import load_profile
from k2ctl.profiles.universe import Universe

UNIVERSE = Universe(load_profile("laptop"))
CRITICAL, LOW = UNIVERSE.symbols[0], UNIVERSE.symbols[-1]


def ledger(policy: str = UNIVERSE.policy) -> Ledger:
    return Ledger((DeferredRange("t", "e", 3, 0, 100, 0b1000, policy, 2, 42, 1_000, 2_000),))


@pytest.mark.parametrize(
    ("symbols", "window", "partial"),
    [
        ([LOW], WHOLE_HISTORY, True),
        ([CRITICAL], WHOLE_HISTORY, False),
        ([CRITICAL, LOW], WHOLE_HISTORY, True),
        (None, WHOLE_HISTORY, True),
        ([LOW], Window(2_001, None), False),
        ([LOW], Window(2_000, None), True),
        ([LOW], Window(None, 1_000), False),
        ([LOW], Window(None, 1_001), True),
    ],
)
def test_entries_count_by_window_and_priority(symbols: list[str] | None, window: Window, partial: bool) -> None:
    reasons = outstanding_reasons(ledger(), symbols, window, UNIVERSE)
    assert bool(reasons) == partial
    if partial:
        assert "42 trades of LOW symbols" in reasons[0]
        assert "k2ctl backfill" in reasons[0]


def test_under_an_edited_policy_every_entry_counts() -> None:
    assert outstanding_reasons(ledger("other"), [CRITICAL], WHOLE_HISTORY, UNIVERSE)
    assert not outstanding_reasons(Ledger(), [CRITICAL], WHOLE_HISTORY, UNIVERSE)
