"""Which prints count: the shipped tables, a market's table, and mistakes in one of one's own."""

from pathlib import Path

import pytest

from k2ctl.errors import ProfileError
from k2ctl.profiles.conditions import conditions_of, default_table, load_conditions, table_names
from k2ctl.profiles.loader import load_profile


def test_every_shipped_table_has_a_source_and_is_called_as_its_file() -> None:
    assert table_names() == ["all", "asx", "us-tape"]
    for name in table_names():
        table = load_conditions(name)
        assert (table.name, bool(table.source)) == (name, True)


def test_on_the_us_tape_odd_lots_and_extended_hours_set_no_price_and_official_prices_have_no_volume() -> None:
    table = load_conditions("us-tape")
    assert {"I", "T", "U", "V", "7", "B", "W"} <= set(table.without("high_low")) & set(table.without("last"))
    assert "Z" in table.without("only")
    assert "Z" not in table.without("high_low")
    assert table.without("volume") == ["M", "Q", "9"]


def test_crypto_and_unknown_exchanges_have_no_table_to_obey() -> None:
    assert load_conditions("all").rules == ()
    assert default_table("crypto", "BINANCE") == default_table("equities", "TSE") == "all"
    assert default_table("equities", "NASDAQ") == "us-tape"


def test_a_market_names_its_table_and_otherwise_has_that_of_its_exchange() -> None:
    market = load_profile("laptop").market
    assert conditions_of(market).name == "asx"
    assert conditions_of(market.model_copy(update={"conditions": "us-tape"})).name == "us-tape"


def test_a_table_of_ones_own_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "venue.yaml"
    head = "name: venue\ndescription: ours\nsource: ours\ncodes: words\ncancels: [BUST]\n"
    file.write_text(f"{head}rules:\n  - {{codes: [LATE], last: false}}\n")
    table = load_conditions(str(file))
    assert (table.cancels, table.without("last"), table.without("high_low")) == (("BUST",), ["LATE"], [])


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("  - {codes: [TOOLONG]}", "a code has 1 to 4 printable ASCII characters"),
        ("  - {codes: [A]}\n  - {codes: [B, A]}", "the code A is in two rules"),
        ("  - {codes: [AB]}", "the code AB has more than one character"),
        ("  - {codes: [A], high: false}", "rules.0.high: unknown key"),
    ],
)
def test_a_mistake_in_a_table_is_named_with_its_line(tmp_path: Path, rules: str, said: str) -> None:
    file = tmp_path / "venue.yaml"
    file.write_text(f"name: venue\ndescription: ours\nsource: ours\ncodes: characters\nrules:\n{rules}\n")
    with pytest.raises(ProfileError, match=said) as raised:
        load_conditions(str(file))
    assert f"{file}:" in str(raised.value)


def test_a_table_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ProfileError, match="no table of conditions 'lse'") as raised:
        load_conditions("lse")
    assert "all, asx, us-tape" in raised.value.hint
