"""Paths into JSON are read when a feed is: a mistake in one is named with its line."""

import pytest

from k2ctl.errors import ProfileError
from k2ctl.profiles.feed import feed_of

FEED = """
description: d
source:
  format: json
  columns:
    price: %s
trade: {symbol: "'A'", exchange: "'B'", asset_class: "'crypto'", timestamp: "'1'", price: price, quantity: "1"}
identity: look-alikes
"""


@pytest.mark.parametrize("path", ["$", "$.p", "$[0]", "$.data[*].p", '$."a name".p', "$.a-b", "$[1][0]"])
def test_a_path_of_steps_is_one(path: str) -> None:
    assert feed_of("mine", "mine.yaml", FEED % f"'{path}'").feed.source.paths == {"price": path}


@pytest.mark.parametrize("path", ["p", "$p", "$.", "$.a..b", '$.x".y', "$[a]", "$[-1]", "$.a[", '$."a'])
def test_anything_else_is_named_with_its_line(path: str) -> None:
    with pytest.raises(ProfileError, match=r"mine\.yaml:6: source\.columns\.price: no path"):
        feed_of("mine", "mine.yaml", FEED % f"'{path}'")
