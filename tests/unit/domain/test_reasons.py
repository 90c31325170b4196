"""Reasons by cause: field and limit stay, the value goes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.domain.reasons import VALUE_CUT, cause_of


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ('price is "abc", not a decimal', "price: not a decimal"),
        ("price is -1.50, negative, which its asset class has not", "price: negative, which its asset class has not"),
        ("side is 7, none of BUY, SELL, UNKNOWN", "side: none of BUY, SELL, UNKNOWN"),
        ('symbol is "a, not b", longer than 32 bytes', "symbol: longer than 32 bytes"),
        (r'symbol is "a\", not b", longer than 32 bytes', "symbol: longer than 32 bytes"),
        ("symbol is '" + "x, " * 13 + ", not 1 to 32 bytes", "symbol: not 1 to 32 bytes"),
        ("trade_conditions has 12 codes, more than 8", "trade_conditions: more than 8"),
        ("trade_conditions has the code 'ABCDE', not printable ASCII", "trade_conditions: not printable ASCII"),
        ("schema id 7202, not 7203", "schema id: not 7203"),
        ("312 bytes are not whole messages of 200", "N bytes are not whole messages of 200"),
        ("unexpected character: line 1 column 17 (char 16)", "unexpected character: line N column N (char N)"),
        ('price is "x\\"…, beyond 10^15', "price: beyond 10^15"),
        ('price is "x", not a decimal (p = "x", note = "a (b = c)")', "price: not a decimal"),
        ('price is missing (p = "1e999999")', "price is missing"),
        ('not JSON from character 9 on: "{\\"price\\": nan"', "not JSON"),
        ("symbol is missing", "symbol is missing"),
        ("empty value", "empty value"),
    ],
)  # fmt: skip
def test_a_cause_is_field_and_limit(reason: str, cause: str) -> None:
    assert cause_of(reason) == cause


@given(st.text(max_size=200), st.sampled_from(["not a decimal", "beyond 10^15", "none of BUY, SELL"]))
def test_whatever_the_value_is_one_way_to_fail_is_one_cause(value: str, limit: str) -> None:
    shown = repr(value)
    cut = shown if len(shown) <= VALUE_CUT else shown[:VALUE_CUT] + "…"
    assert cause_of(f"price is {cut}, {limit}") == f"price: {limit}"
    assert cause_of(f"price is {cut}, {limit} (p = {cut})") == f"price: {limit}"
    whole = json.dumps(value[:VALUE_CUT]) + ("…" if len(value) > VALUE_CUT else "")
    assert cause_of(f"price is {whole}, {limit}") == f"price: {limit}"
