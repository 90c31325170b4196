"""Which symbols may have events: none before the first, never forgotten, and any where the property is not known."""

from hypothesis import given
from hypothesis import strategies as st

from k2ctl.domain.corrected_symbols import NONE_CORRECTED, may_be_corrected, symbols_of_events, with_symbols
from k2ctl.domain.trade import CORRECT
from tests.made_trades import make_rows, make_trades


@given(st.lists(st.sets(st.text(min_size=1, max_size=8), max_size=5), max_size=5))
def test_every_symbol_that_was_added_is_found_whatever_came_after(added: list[set[str]]) -> None:
    text: str | None = NONE_CORRECTED
    for symbols in added:
        text = with_symbols(text, [symbol.encode() for symbol in symbols])
    every = set[str]().union(*added)
    assert all(may_be_corrected(text, [symbol]) for symbol in every)
    assert may_be_corrected(text, None) == bool(every)


def test_few_others_are_looked_up_for_nothing() -> None:
    text = with_symbols(NONE_CORRECTED, [f"S{number}".encode() for number in range(1000)])
    assert sum(may_be_corrected(text, [f"T{number}"]) for number in range(10_000)) < 1_500
    assert not may_be_corrected(NONE_CORRECTED, ["BHP"])


def test_a_property_that_is_gone_or_not_ours_leaves_every_symbol_possible() -> None:
    for text in (None, "none", "AAAA", "é"):
        assert may_be_corrected(text, ["BHP"])
        assert with_symbols(text, [b"BHP"]) is None


def test_the_symbols_of_corrections_cancellations_and_reprints_are_named() -> None:
    trades = make_trades(10)
    trades["action"][2], trades["refers_to"][2] = CORRECT, trades["message_id"][0]
    rows = make_rows(trades).with_reprints(trades["trade_id"] == 5)
    assert symbols_of_events([make_rows(make_trades(5)), rows]) == {b"S02", b"S05"}
