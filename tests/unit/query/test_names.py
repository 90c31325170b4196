"""What is offered for a symbol that nobody knows."""

import time

import pytest

from k2ctl.domain.validity import invalid
from k2ctl.errors import UsageError
from k2ctl.query.names import OtherSpelling, UnknownSymbol, named, nearest, refuse, unknown
from tests.made_trades import make_trades


def test_another_spelling_comes_first() -> None:
    assert nearest("bhp", {"BHP", "BHO", "RIO"})[0] == "BHP"


def test_names_that_are_nothing_like_it_are_not_offered() -> None:
    assert nearest("ZZZZ", {"BHP", "RIO"}) == []


def test_the_error_names_the_nearest() -> None:
    error = unknown("BHPP", {"BHP", "RIO"}, (), "t")
    assert "BHPP" in str(error)
    assert error.hint == "Did you mean BHP?"


def test_the_error_says_when_not_everything_could_be_read() -> None:
    error = unknown("X", {"BHP"}, ("the tail is cut short",), "t")
    assert "in what could be read: the tail is cut short" in str(error)


def test_a_symbol_that_is_not_ascii_is_shown_as_it_is_and_in_ascii() -> None:
    assert "'BÉ' ('B\\xc9')" in str(unknown("BÉ", {"BHP"}, (), "t"))
    assert str(unknown("B\x1b[2J", {"BHP"}, (), "t")).isascii()


@pytest.mark.parametrize(
    ("symbol", "known", "stored"),
    [
        ("bhp", {"BHP", "RIO"}, "BHP"),
        ("btc/usdt:usdt", {"BTC/USDT:USDT"}, "BTC/USDT:USDT"),
        ("bhp", {"BHP", "Bhp"}, None),
        ("bhp", {"RIO"}, None),
        ("BHP", {"bhp"}, None),
    ],
)
def test_a_name_in_lower_case_is_the_only_one_that_differs_by_case(
    symbol: str, known: set[str], stored: str | None
) -> None:
    refused = refuse(symbol, known, (), "t")
    if stored is None:
        assert isinstance(refused, UnknownSymbol)
        others = [name for name in known if name.casefold() == symbol.casefold()]
        assert all(name in refused.hint for name in others)
    else:
        assert isinstance(refused, OtherSpelling)
        assert refused.within(["RIO", symbol, stored]) == ["RIO", stored]


GOOD = [
    *("BRK.B", "BTC/USDT", "1000PEPE/USDT:USDT", "SPXW  250117C05900000", "BTC/USDC:USDC-240628-100000-C"),
    *("銘柄トヨタ", "X" * 32, "é" * 16),
]


@pytest.mark.parametrize("symbol", GOOD)
def test_every_symbol_that_can_be_stored_can_be_asked_for(symbol: str) -> None:
    trades = make_trades(1)
    trades["symbol"] = symbol.encode()
    assert invalid(trades, time.time_ns() // 1000) == {}
    assert named(symbol) == [symbol]


@pytest.mark.parametrize("symbol", ["", " BHP", "BHP ", "B\tHP", "B\u200bHP", "X" * 33, "é" * 17, "\udcff"])
def test_a_symbol_that_no_trade_can_have_is_refused_with_its_limit(symbol: str) -> None:
    with pytest.raises(UsageError, match=r"^symbol is .*, not 1 to 32 bytes of printable UTF-8"):
        named(symbol)


def test_without_any_trade_the_next_step_is_to_load() -> None:
    assert "k2ctl load" in unknown("BHP", set(), (), "t").hint
