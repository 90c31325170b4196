"""Messages as venues document them, and the trades that the shipped feeds make of them."""

import json

import pytest

from k2ctl.feeds.foreign import Foreign
from k2ctl.profiles.feed import load_feed
from tests.support.foreign_trades import decoded, lines

BINANCE = (
    '{"e":"trade","E":1735689600011,"s":"BTCUSDT","t":12345,"p":"0.001","q":"100","T":1735689600010,"m":true,"M":true}'
)
COINBASE = (
    '{"type":"match","trade_id":10,"sequence":50,"maker_order_id":"ac928c66","taker_order_id":"132fb6ae",'
    '"time":"2025-01-01T00:00:00.028459Z","product_id":"BTC-USD","size":"5.23512","price":"400.23","side":"sell"}'
)
KRAKEN_TRADES = (
    '{"symbol":"MATIC/USD","side":"sell","qty":40.0,"price":0.5117,"ord_type":"market","trade_id":4665906,'
    '"timestamp":"2023-09-25T07:49:37.708706Z"}',
    '{"symbol":"MATIC/USD","side":"buy","qty":1234567890.12345678,"price":0.5118,"ord_type":"limit",'
    '"trade_id":4665907,"timestamp":"2023-09-25T07:49:37.708706Z"}',
)
KRAKEN = f'{{"channel":"trade","type":"update","data":[{",".join(KRAKEN_TRADES)}]}}'
KRAKEN_V1 = (
    '[0,[["5541.20000","0.15850568","1735689600.321597","s","l",""],'
    '["5541.3","1","1735689600.421597","b","m",""]],"trade","XBT/USD"]'
)
KRAKEN_V1_FLAT = '[0,["5541.20000","0.15850568","1735689600.321597","s","l",""],"trade","XBT/USD"]'
BYBIT = (
    '{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":[{"T":1672304486865,"s":"BTCUSDT",'
    '"S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick","i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false,'
    '"seq":1783284617},{"T":1672304486865,"s":"BTCUSDT","S":"Sell","v":"2","p":"16578","L":"ZeroMinusTick",'
    '"i":"2100000000007764767","BT":true,"seq":1783284617}]}'
)
OKX = (
    '{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"130639474",'
    '"px":"42219.9","sz":"0.12060306","side":"buy","ts":"1630048897897","count":"3","source":"0","seqId":1234},'
    '{"instId":"BTC-USD-231229-35000-C","tradeId":"4","px":"0.1525","sz":"21","side":"sell","ts":"1681473269025"}]}'
)
HYPERLIQUID = (
    '{"channel":"trades","data":[{"coin":"BTC","side":"A","px":"104320.0","sz":"0.01500","hash":"0x0",'
    '"time":1769916002000,"tid":877707108085800,"users":["0x1","0x2"]},{"coin":"PURR/USDC","side":"B","px":"0.1",'
    '"sz":"7","hash":"0x0","time":1769916002000,"tid":5,"users":["0x1","0x2"]}]}'
)
MASSIVE = (
    '[{"ev":"T","sym":"MSFT","x":4,"i":"52983525","z":3,"p":114.125,"s":100,"ds":"100.25","c":[0,12],'
    '"t":1536036818784,"q":3681328,"trfi":202,"trft":1536036818000},{"ev":"Q","sym":"MSFT","bp":114.1},'
    '{"ev":"T","sym":"BRK.B","x":10,"i":"7A","z":1,"p":5,"s":3,"t":1536036818784,"pt":1536036818700,"q":9}]'
)


@pytest.mark.parametrize(
    ("feed", "message", "trades"),
    [
        (
            "binance-websocket",
            BINANCE,
            ["BTCUSDT BINANCE USDT crypto SELL 100 @ 0.001 at 2025-01-01T00:00:00.010000Z #12345 seq 12345"],
        ),
        (
            "coinbase-matches",
            COINBASE,
            ["BTC-USD COINBASE USD crypto BUY 5.23512 @ 400.23 at 2025-01-01T00:00:00.028459Z #10 seq 10"],
        ),
        (
            "kraken-trades",
            KRAKEN,
            [
                "MATIC/USD KRAKEN USD crypto SELL 40 @ 0.5117 at 2023-09-25T07:49:37.708706Z #4665906 seq 4665906",
                "MATIC/USD KRAKEN USD crypto BUY 1234567890.12345678 @ 0.5118 at 2023-09-25T07:49:37.708706Z"
                " #4665907 seq 4665907",
            ],
        ),
        (
            "kraken-v1",
            KRAKEN_V1,
            [
                "XBT/USD KRAKEN USD crypto SELL 0.15850568 @ 5541.2 at 2025-01-01T00:00:00.321597Z",
                "XBT/USD KRAKEN USD crypto BUY 1 @ 5541.3 at 2025-01-01T00:00:00.421597Z",
            ],
        ),
        (
            "kraken-v1",
            KRAKEN_V1_FLAT,
            ["XBT/USD KRAKEN USD crypto SELL 0.15850568 @ 5541.2 at 2025-01-01T00:00:00.321597Z"],
        ),
        (
            "bybit-trades",
            BYBIT,
            [
                "BTCUSDT BYBIT USDT futures BUY 0.001 @ 16578.5 at 2022-12-29T09:01:26.865000Z seq 1783284617",
                "BTCUSDT BYBIT USDT crypto SELL 2 @ 16578 at 2022-12-29T09:01:26.865000Z #2100000000007764767"
                " seq 1783284617 [BT]",
            ],
        ),
        (
            "okx-trades",
            OKX,
            [
                "BTC-USDT OKX USDT crypto BUY 0.12060306 @ 42219.9 at 2021-08-27T07:21:37.897000Z"
                " #130639474 seq 130639474",
                "BTC-USD-231229-35000-C OKX USD options SELL 21 @ 0.1525 at 2023-04-14T11:54:29.025000Z #4 seq 4",
            ],
        ),
        (
            "hyperliquid-trades",
            HYPERLIQUID,
            [
                "BTC HYPERLIQUID USDC futures SELL 0.015 @ 104320 at 2026-02-01T03:20:02Z #877707108085800",
                "PURR/USDC HYPERLIQUID USDC crypto BUY 7 @ 0.1 at 2026-02-01T03:20:02Z #5",
            ],
        ),
        (
            "massive-websocket",
            MASSIVE,
            [
                "MSFT FINN USD equities UNKNOWN 100.25 @ 114.125 at 2018-09-04T04:53:38.784000Z #52983525 seq 3681328"
                " [@ T]",
                "BRK.B XNYS USD equities UNKNOWN 3 @ 5 at 2018-09-04T04:53:38.700000Z seq 9",
            ],
        ),
    ],
)
def test_a_message_of_a_venue_is_its_trades(feed: str, message: str, trades: list[str]) -> None:
    found = decoded(feed, [message])
    assert lines(found.trades) == trades
    assert (found.broken, found.refused) == ([], [])
    assert len({bytes(one) for one in found.trades["message_id"]}) == len(trades)


@pytest.mark.parametrize(
    ("feed", "messages"),
    [
        ("binance-websocket", ['{"result":null,"id":1}', '{"e":"aggTrade","s":"BTCUSDT","a":1,"p":"1","q":"1"}']),
        ("coinbase-matches", ['{"type":"subscriptions","channels":[]}', '{"type":"heartbeat","sequence":90}']),
        ("kraken-trades", ['{"channel":"heartbeat"}', '{"channel":"status","type":"update","data":[{"system":"on"}]}']),
        ("kraken-v1", ['{"event":"heartbeat"}', '[0,["5541.2","5541.3","1735689600.1","1","2"],"spread","XBT/USD"]']),
        ("bybit-trades", ['{"success":true,"ret_msg":"pong","op":"ping"}']),
        ("okx-trades", ['{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT"}}']),
        ("hyperliquid-trades", ['{"channel":"subscriptionResponse","data":{"method":"subscribe"}}']),
        ("massive-websocket", ['[{"ev":"status","status":"auth_success","message":"authenticated"}]']),
    ],
)
def test_messages_that_say_something_else_are_left_out_and_counted(feed: str, messages: list[str]) -> None:
    found = decoded(feed, messages)
    assert (len(found.trades), found.broken, found.refused) == (0, [], [])
    assert len(found.filtered) == len(messages)


@pytest.mark.parametrize(
    ("feed", "message", "key", "value", "reason"),
    [
        ("binance-websocket", BINANCE, "p", "12a", 'price is "12a", not a decimal'),
        ("binance-websocket", BINANCE, "T", "yesterday", "timestamp is"),
        ("binance-websocket", BINANCE, "t", None, "trade_id is missing"),
        ("binance-websocket", BINANCE, "m", "maybe", "side is"),
        ("coinbase-matches", COINBASE, "product_id", None, "symbol is missing"),
        ("coinbase-matches", COINBASE, "side", "short", "side is"),
    ],
)
def test_a_message_with_a_wrong_field_is_refused_by_the_name_of_the_field(
    feed: str, message: str, key: str, value: str | None, reason: str
) -> None:
    wrong = json.dumps({**json.loads(message), key: value})
    found = decoded(feed, [message, wrong, message])
    assert found.record.tolist() == [0, 2]
    assert [one.record for one in found.refused] == [1]
    assert found.refused[0].reason.startswith(reason)


def test_a_list_of_which_one_part_is_no_trade_still_gives_the_others() -> None:
    message = KRAKEN_V1.replace('[["5541.20000"', '[null,7,["5541.20000"')
    found = decoded("kraken-v1", [message, KRAKEN_V1_FLAT])
    assert (found.record.tolist(), found.index.tolist()) == ([0, 0, 1], [2, 3, 0])
    assert [(one.record, one.index) for one in found.refused] == [(0, 0), (0, 1)]


def test_a_dead_letter_of_a_trade_that_is_a_list_of_values_holds_the_record() -> None:
    decoder = Foreign(load_feed("kraken-v1"), ())
    value = KRAKEN_V1_FLAT.encode()
    assert decoder.alone(value) == [value]
    assert decoder.alone(KRAKEN_V1.encode()) == [
        b'[0,[["5541.20000","0.15850568","1735689600.321597","s","l",""]],"trade","XBT/USD"]',
        b'[0,[["5541.3","1","1735689600.421597","b","m",""]],"trade","XBT/USD"]',
    ]


def test_a_match_that_was_sent_again_on_a_new_subscription_is_the_same_trade() -> None:
    again = COINBASE.replace('"match"', '"last_match"')
    first, second = decoded("coinbase-matches", [COINBASE, again]).trades["message_id"]
    assert first == second


def test_a_trade_of_binance_is_the_same_in_the_stream_and_in_the_archive_by_symbol_and_number() -> None:
    one, other = decoded("binance-websocket", [BINANCE, BINANCE.replace("12345", "12346")]).trades["message_id"]
    assert (bytes(one)[:8], bytes(one)[8:]) == (bytes(other)[:8], (12345).to_bytes(8, "big"))
