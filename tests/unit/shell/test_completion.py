"""What the Tab key offers."""

import pytest

from k2ctl.commands.shell.completion import KnownNames, offered, wants_symbols
from k2ctl.query.refusals import VIEWS
from k2ctl.views.shell import VIEWS_SAID

NAMES = KnownNames(
    {"trades": ["symbol", "price", "quantity"], "trades_raw": ["symbol", "price"], "gaps": ["symbol", "state"]},
    ["BHP", "BXB", "CBA"],
)


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ("select * from tr", ["trades", "trades_raw"]),
        ("select * from ", ["trades", "trades_raw", "gaps"]),
        ("\\d g", ["gaps"]),
        ("select sta", ["state"]),
        ("select * from trades where pr", ["price"]),
        ("select * from trades where sta", []),
        ("select * from trades where symbol = 'B", ["BHP'", "BXB'"]),
        ("select * from trades where symbol in ('BHP', 'c", ["CBA'"]),
        ("select * from trades where venue = 'B", []),
        ("sel", ["select"]),
        ("SEL", ["SELECT"]),
        ("\\ti", ["\\timing"]),
        (".mo", [".mode"]),
        ("", []),
    ],
)
def test_tab_offers_what_can_stand_there(before: str, words: list[str]) -> None:
    assert offered(before, NAMES)[1] == words


def test_symbols_are_asked_for_only_where_one_is_written() -> None:
    assert wants_symbols("select * from trades where symbol = '")
    assert not wants_symbols("select symb")


def test_the_shell_describes_each_view_of_sql() -> None:
    assert tuple(VIEWS_SAID) == VIEWS
