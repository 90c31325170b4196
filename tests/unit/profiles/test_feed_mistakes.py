"""A mistake in a feed is named with file, line and key, in words that say what would be right."""

import pytest

from k2ctl.errors import ProfileError
from k2ctl.profiles.feed import feed_of

FEED = """description: d
source:
  format: json
  columns: {price: $.p}
trade:
  symbol: "'A'"
  exchange: "'B'"
  asset_class: "'crypto'"
  timestamp: "'1'"
  price: price
  quantity: "1"
identity: look-alikes
"""


@pytest.mark.parametrize(
    ("line", "instead", "said"),
    [
        ("identity: look-alikes", "identity: trade_id", "my.yaml:12: identity: a list is needed; or: "),
        ("identity: look-alikes", "identity: []", "identity has no expression"),
        ("columns: {price: $.p}", "columns: price", "my.yaml:4: source.columns: a list is needed; or: a section"),
        ("columns: {price: $.p}", "columns: {a b: $.p}", "my.yaml:4: source.columns.a b: no plain name"),
        ("columns: {price: $.p}", "columns: {a: p}", "my.yaml:4: source.columns.a: no path"),
        ("columns: {price: $.p}", "columns: [a, 1b]", "my.yaml:4: source.columns.1: no plain name"),
        ("format: json", "format: xml", "my.yaml:3: source.format: one of 'sbe', 'json'"),
        ('quantity: "1"', "quantity: [1]", "my.yaml:11: trade.quantity: a text is needed (got [1])"),
        ("  symbol: \"'A'\"\n", "", "my.yaml:5: trade.symbol: this is missing"),
        ("format: json", "format: json\n  colums: []", "my.yaml:4: source.colums: unknown key"),
        ("format: json", "format: json\n  zone: Mars", "my.yaml:4: source.zone: no time zone"),
        ("format: json", "format: json\n  topic: ^a[", "my.yaml:4: source.topic: no regular expression"),
        ("format: json", "format: json\n  time_unit: m", "source.time_unit: one of 's', 'ms', 'us' or"),
        ("columns: {price: $.p}", "columns: [price]\n  file_name: (", "source.file_name: no regular expression"),
        ("identity: look-alikes", "identity: look-alikes\nsequence: dense", "y.yaml:13: sequence: a section"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_line_and_its_key(line: str, instead: str, said: str) -> None:
    assert line in FEED
    with pytest.raises(ProfileError) as raised:
        feed_of("my", "my.yaml", FEED.replace(line, instead))
    assert said in str(raised.value)
    assert "validator" not in str(raised.value)


def test_several_mistakes_are_counted_once_each() -> None:
    with pytest.raises(ProfileError, match=r"source\.columns\.a: no path.* and 1 more$"):
        feed_of("my", "my.yaml", FEED.replace("{price: $.p}", "{a: p, b: q}"))
