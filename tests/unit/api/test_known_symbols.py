"""Symbols to choose from: at once, in any spelling, and looked up again only now and then."""

from collections.abc import Callable

import pytest

from k2ctl.api import names
from k2ctl.api.names import AGAIN_AFTER_S, FoundNames, KnownSymbols
from k2ctl.clock import ManualClock
from k2ctl.errors import LakeError
from tests.support.polling import until


class LookUps:
    """What look-ups bring, one after the other; the last one again and again."""

    def __init__(self, *found: set[str] | Exception) -> None:
        self.found, self.count, self.fresh = found, 0, set[str]()
        self.clock = ManualClock()
        self.known = KnownSymbols(self._next, lambda: self.fresh, self.clock)

    def _next(self) -> set[str]:
        found = self.found[min(self.count, len(self.found) - 1)]
        self.count += 1
        if isinstance(found, Exception):
            raise found
        return found


def test_those_that_begin_so_come_in_order_whatever_their_case() -> None:
    known = LookUps({"BHP", "bhq", "BHA", "CBA", "BH"}).known
    assert known.beginning_with("bh", 20) == FoundNames(["BH", "BHA", "BHP", "bhq"], True)
    assert known.beginning_with("BHQ", 20) == FoundNames(["bhq"], True)
    assert known.beginning_with("", 2) == FoundNames(["BH", "BHA"], False)
    assert known.beginning_with("Z", 5) == FoundNames([], True)


def test_what_the_stream_has_just_brought_is_among_them_once() -> None:
    ups = LookUps({"BHP"})
    ups.fresh = {"BHZ", "BHP", "AAA"}
    assert ups.known.beginning_with("B", 20).symbols == ["BHP", "BHZ"]


def test_a_look_up_serves_all_questions_of_half_a_minute() -> None:
    ups = LookUps({"A"}, {"A", "B"})
    for _ in range(50):
        assert ups.known.beginning_with("", 9).symbols == ["A"]
    assert ups.count == 1
    ups.clock.advance(AGAIN_AFTER_S)
    until(lambda: ups.known.beginning_with("", 9).symbols == ["A", "B"], 5)
    assert ups.count == 2


def test_a_look_up_that_fails_leaves_what_is_known_and_says_so() -> None:
    ups = LookUps(LakeError("gone", ""), {"A"})
    assert ups.known.beginning_with("", 9) == FoundNames([], False)
    ups.clock.advance(names.WAIT_S)
    until(lambda: ups.known.beginning_with("", 9) == FoundNames(["A"], True), 5)


def test_of_very_many_symbols_some_are_kept_and_the_answer_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MOST_NAMES", 3)
    made: Callable[[int], str] = "S{:02d}".format
    assert LookUps({made(n) for n in range(9)}).known.beginning_with("S", 9) == FoundNames(["S00", "S01", "S02"], False)
