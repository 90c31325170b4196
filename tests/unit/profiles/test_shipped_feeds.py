"""The feeds that k2ctl ships: each is a feed, says where its layout is described, and which prints count."""

import re

import pytest

from k2ctl.profiles.conditions import load_conditions
from k2ctl.profiles.feed import feed_names, load_feed

OURS = ("k2-",)


@pytest.mark.parametrize("name", feed_names())
def test_a_shipped_feed_is_described(name: str) -> None:
    feed = load_feed(name).feed
    assert feed.description
    if not name.startswith(OURS):
        assert feed.documentation.startswith("https://")
        assert feed.conditions is None or load_conditions(feed.conditions)


@pytest.mark.parametrize(
    ("name", "file", "says"),
    [
        ("binance-trades", "BTCUSDT-trades-2025-01-01.csv", {"symbol": "BTCUSDT"}),
        ("binance-trades", "BTCUSDT-trades-2025-01.zip", {"symbol": "BTCUSDT"}),
        ("binance-trades", "币安人生USDT-trades-2025-10-08.zip", {"symbol": "币安人生USDT"}),
        ("binance-aggtrades", "1000SATSFDUSD-aggTrades-2025-01-01.csv.gz", {"symbol": "1000SATSFDUSD"}),
        ("binance-futures-trades", "BTCUSD_PERP-trades-2024-12-31.zip", {"symbol": "BTCUSD_PERP"}),
        ("binance-futures-aggtrades", "BTCUSDT_250328-aggTrades-2025-03-01.zip", {"symbol": "BTCUSDT_250328"}),
        ("nyse-taq", "EQY_US_ALL_TRADE_20240102.gz", {"date": "20240102"}),
        ("lean", "20131007_spy_Trade_Tick.csv", {"date": "20131007", "symbol": "spy"}),
        ("lean", "20131007_brk.b_tick_trade.csv", {"date": "20131007", "symbol": "brk.b"}),
        ("lobster", "AAPL_2012-06-21_34200000_57600000_message_10.csv", {"date": "2012-06-21", "symbol": "AAPL"}),
    ],
)
def test_the_name_of_a_venues_file_says_what_its_lines_leave_out(name: str, file: str, says: dict[str, str]) -> None:
    found = re.match(load_feed(name).feed.source.file_name or "", file)
    assert found is not None
    assert found.groupdict() == says


def test_codes_that_a_feed_makes_up_mean_nothing_to_the_tape_of_its_exchange() -> None:
    tape = load_conditions("us-tape")
    denied = {code for what in ("high_low", "last", "only", "volume") for code in tape.without(what)}  # type: ignore[arg-type]
    for name in ("lobster", "massive-flatfiles", "massive-websocket", "lean"):
        made_up = re.findall(r"'([a-z]{2,4})'", load_feed(name).feed.trade.trade_conditions or "")
        assert made_up
        assert not denied & set("".join(made_up)), name
