"""Trades with any values that a trade may have, for Hypothesis: the whole range of each field, and its ends."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st

from k2ctl.domain.conditions import pack
from k2ctl.domain.decimals import DECIMAL_LIMIT, of_int
from k2ctl.domain.trade import ACTIONS, ASSET_CLASSES, NEW, NO_SEQUENCE, SIDES, TRADE
from k2ctl.domain.validity import EARLIEST_US, NUMBER_MOST
from tests.made_trades import BASE_US

NOW_US = BASE_US
Value = TypeVar("Value")

NUMBERS = st.integers(0, NUMBER_MOST) | st.sampled_from([0, 1, 2**53 + 1, NUMBER_MOST])
NANOSECONDS = st.integers(EARLIEST_US * 1000, NOW_US * 1000) | st.sampled_from([EARLIEST_US * 1000, NOW_US * 1000])
QUANTITIES = st.integers(0, DECIMAL_LIMIT) | st.integers(0, 10**6) | st.sampled_from([0, 1, DECIMAL_LIMIT])
NEGATIVE = ("futures", "options")


def names(most: int) -> st.SearchStrategy[str]:
    """Printable names in any script, up to so many bytes, spaces inside; none that may read as a list of JSON."""
    # A code point that this Python's Unicode does not know is not printable.
    characters = st.characters(exclude_categories=["C", "Z"], include_characters=" ")
    drawn = st.text(characters, min_size=1, max_size=most) | st.text("ABC/:-. 0", min_size=1, max_size=most)
    return drawn.map(lambda text: cut(text, most)).filter(
        lambda text: text.isprintable() and text == text.strip() != "" and text[0] not in "{["
    )


def cut(text: str, most: int) -> str:
    """As many characters as fit."""
    return text.encode()[:most].decode(errors="ignore")


CODES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=4)


@st.composite
def any_trades(draw: Callable[[st.SearchStrategy[Any]], Any], most: int = 6) -> np.ndarray:
    """Up to `most` trades (dtype `TRADE.message`), all of them valid."""
    trades = TRADE.empty(draw(st.integers(1, most)))
    for at in range(len(trades)):
        fill(draw, trades[at : at + 1])
    return trades


def fill(draw: Callable[[st.SearchStrategy[Any]], Any], trade: np.ndarray) -> None:
    asset_class = draw(st.sampled_from(ASSET_CLASSES))
    price = draw(QUANTITIES)
    sign = draw(st.sampled_from([1, -1])) if asset_class in NEGATIVE else 1
    trade["message_id"] = np.void(draw(st.binary(min_size=16, max_size=16)))
    trade["trade_id"] = draw(NUMBERS)
    trade["source_sequence"] = draw(NUMBERS | st.just(NO_SEQUENCE))
    trade["event_ns"], trade["received_ns"] = draw(NANOSECONDS), draw(NANOSECONDS)
    trade["price"], trade["quantity"] = of_int(sign * price), of_int(draw(QUANTITIES))
    trade["symbol"], trade["exchange"] = draw(names(32)).encode(), draw(names(16)).encode()
    trade["currency"] = draw(st.just("") | names(8)).encode()
    trade["trade_conditions"] = pack(draw(st.lists(CODES, max_size=8)))
    trade["asset_class"], trade["side"] = ASSET_CLASSES.index(asset_class), draw(st.integers(0, len(SIDES) - 1))
    trade["action"] = draw(st.integers(0, len(ACTIONS) - 1))
    if trade["action"][0] != NEW:
        trade["refers_to"] = np.void(draw(st.binary(min_size=16, max_size=16).filter(any)))
