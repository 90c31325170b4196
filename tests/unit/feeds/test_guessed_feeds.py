"""A feed guessed from a sample makes the right trades of it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from k2ctl.domain.texts import instant_text
from k2ctl.domain.wire import JSON
from k2ctl.feeds.foreign import Foreign
from k2ctl.feeds.guess.columns import SampleColumn
from k2ctl.feeds.guess.document import Concluded, FeedSample, NoTrades, document_of
from k2ctl.feeds.guess.json_layout import layout_of
from k2ctl.feeds.guess.topic_sample import sample_of_topic
from k2ctl.kafka.reader import Fetched
from k2ctl.profiles.feed import Feed, feed_of

BINANCE = {"e": "trade", "E": 1735689600011, "s": "BTCUSDT", "t": 12345, "p": "0.001", "q": "100", "T": 1735689600010,
           "m": True, "M": True}  # fmt: skip
COINBASE = {"type": "match", "trade_id": 10, "sequence": 50, "time": "2025-01-01T00:00:00.028459Z", "size": "5.23512",
            "price": "400.23", "side": "sell", "product_id": "BTC-USD"}  # fmt: skip
KRAKEN_V2 = {"channel": "trade", "type": "update", "data": [
    {"symbol": "MATIC/USD", "side": "sell", "price": 0.5117, "qty": 40.0, "ord_type": "market", "trade_id": 4665906,
     "timestamp": "2023-09-25T07:49:37.708706Z"}]}  # fmt: skip
KRAKEN_V1 = [0, [["5541.20000", "0.15850568", "1735689600.321597", "s", "l", ""],
                 ["5541.30000", "0.2", "1735689600.4", "b", "l", ""]], "trade", "XBT/USD"]  # fmt: skip
KRAKEN_V1_ONE = [0, ["5541.20000", "0.15850568", "1735689600.321597", "s", "l", ""], "trade", "XBT/USD"]
BYBIT = {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": 1672304486868, "data": [
    {"T": 1672304486865, "s": "BTCUSDT", "S": "Buy", "v": "0.001", "p": "16578.50", "L": "PlusTick",
     "i": "20f43950-d8dd-5b31-9112-a178eb6023af", "BT": False, "seq": 1783284617}]}  # fmt: skip
OKX = {"arg": {"channel": "trades", "instId": "BTC-USDT"}, "data": [
    {"instId": "BTC-USDT", "tradeId": "130639474", "px": "42219.9", "sz": "0.12060306", "side": "buy",
     "ts": "1630048897897", "count": "3"}]}  # fmt: skip
HYPERLIQUID = {"channel": "trades", "data": [
    {"coin": "BTC", "side": "A", "px": "65000.0", "sz": "0.1", "hash": "0xab", "time": 1700000000000,
     "tid": 118906512037719, "users": ["0x1", "0x2"]}]}  # fmt: skip
MASSIVE = [{"ev": "T", "sym": "MSFT", "x": 4, "i": "12345", "z": 3, "p": 114.125, "s": 100, "c": [0, 12],
            "t": 1536036818784, "q": 3681328}]  # fmt: skip
OWN = {"meta": {"venue": "HOME", "seq": 3}, "trade": {"instrument": "BHP", "px": "45.10", "shares": 7, "dir": "B",
       "when": {"at": "2025-01-02T03:04:05.123456789+10:00"}}}  # fmt: skip
SIGNED = {"pair": "ETH/BTC", "rate": "0.05", "amount": "-3.5", "ts": 1735689600.25, "uuid":
          "31f9c2bf-89d6-580d-8e3e-afbb4dd1906b"}  # fmt: skip


def sampled(*records: Any, topic: str = "trades.raw", keys: list[bytes] | None = None) -> FeedSample:
    values = [json.dumps(record).encode() for record in records]
    beside = {"kafka_key": keys or [None] * len(values)}
    return sample_of_topic(topic, replace(Fetched.of_values(values), beside=beside))


def guessed(*records: Any, topic: str = "trades.raw") -> Concluded:
    return document_of(sampled(*records, topic=topic))


def feed(*records: Any) -> Feed:
    return feed_of("guess", "guess.yaml", guessed(*records).text).feed


def trades_by(text: str, *records: Any) -> list[dict[str, Any]]:
    """What the guessed feed makes of records, none of which fails."""
    decoder = Foreign(feed_of("guess", "guess.yaml", text), ())
    decoded = decoder.decode(Fetched.of_values([json.dumps(record).encode() for record in records]))
    assert (decoded.broken, decoded.refused) == ([], [])
    made = [json.loads(value) for value in JSON.encode(decoded.trades, 1)]
    return [
        {**one, "timestamp": instant_text(at)}
        for one, at in zip(made, decoded.trades["event_ns"].tolist(), strict=True)
    ]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (BINANCE, {"symbol": "BTCUSDT", "price": "0.001", "quantity": "100", "side": "SELL", "trade_id": 12345,
                   "timestamp": "2025-01-01T00:00:00.010000Z", "currency": "USDT", "asset_class": "crypto"}),
        (COINBASE, {"symbol": "BTC-USD", "price": "400.23", "quantity": "5.23512", "side": "SELL", "trade_id": 10,
                    "source_sequence": 50, "timestamp": "2025-01-01T00:00:00.028459Z", "currency": "USD"}),
        (KRAKEN_V2, {"symbol": "MATIC/USD", "price": "0.5117", "quantity": "40", "side": "SELL", "trade_id": 4665906}),
        (KRAKEN_V1, {"symbol": "XBT/USD", "price": "5541.2", "quantity": "0.15850568", "side": "SELL",
                     "timestamp": "2025-01-01T00:00:00.321597Z"}),
        (KRAKEN_V1_ONE, {"symbol": "XBT/USD", "price": "5541.2", "quantity": "0.15850568", "side": "SELL"}),
        (BYBIT, {"symbol": "BTCUSDT", "price": "16578.5", "quantity": "0.001", "side": "BUY",
                 "source_sequence": 1783284617, "timestamp": "2022-12-29T09:01:26.865000Z"}),
        (OKX, {"symbol": "BTC-USDT", "price": "42219.9", "quantity": "0.12060306", "side": "BUY"}),
        (HYPERLIQUID, {"symbol": "BTC", "price": "65000", "quantity": "0.1", "side": "SELL"}),
        (MASSIVE, {"symbol": "MSFT", "price": "114.125", "quantity": "100", "source_sequence": 3681328,
                   "trade_conditions": ["0", "12"], "asset_class": "equities"}),
        (OWN, {"symbol": "BHP", "exchange": "HOME", "price": "45.1", "quantity": "7", "side": "BUY",
               "source_sequence": 3, "timestamp": "2025-01-01T17:04:05.123456789Z"}),
        (SIGNED, {"symbol": "ETH/BTC", "price": "0.05", "quantity": "3.5", "side": "SELL", "currency": "BTC",
                  "timestamp": "2025-01-01T00:00:00.250000Z"}),
    ],
    ids=["binance", "coinbase", "kraken-v2", "kraken-v1", "kraken-v1-one", "bybit", "okx", "hyperliquid", "massive",
         "nested", "signed"],
)  # fmt: skip
def test_the_trades_of_a_layout_come_out_right(record: Any, expected: dict[str, Any]) -> None:
    made = trades_by(guessed(record).text, record)[0]
    assert {name: made[name] for name in expected} == expected


def test_every_trade_of_a_record_is_one() -> None:
    assert [one["price"] for one in trades_by(guessed(KRAKEN_V1).text, KRAKEN_V1)] == ["5541.2", "5541.3"]


def test_records_that_are_no_trades_are_distinguished_by_the_column_that_says_so() -> None:
    others = [{"type": "heartbeat", "sequence": 90, "product_id": "BTC-USD", "time": "2025-01-01T00:00:01Z"}]
    first = {**COINBASE, "type": "last_match", "trade_id": 9}
    text = guessed(first, COINBASE, *others).text
    assert "where: \"type IN ('last_match', 'match')\"" in text
    assert [one["trade_id"] for one in trades_by(text, first, *others, COINBASE)] == [9, 10]


def test_what_nothing_says_is_asked() -> None:
    assert guessed(BINANCE).open == ("exchange",)
    assert "exchange: \"'BINANCE'\"" in guessed(BINANCE, topic="md.binance.trades").text


def test_ids_that_are_dense_are_the_numbers() -> None:
    numbered = feed(*({**BINANCE, "t": number} for number in range(20)))
    assert numbered.sequence is not None
    assert (numbered.trade.source_sequence, numbered.sequence.numbers) == ("trade_id", "dense-per-symbol")


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ([(symbol, at) for at in range(20) for symbol in ("AAA", "BBB")], "dense-per-symbol"),
        ([(("AAA", "BBB")[at % 2], at) for at in range(40)], "dense-per-channel"),
        ([(("AAA", "BBB")[at % 2], 7 * at) for at in range(40)], "ordered"),
        ([("AAA", 1), ("AAA", 2)], "ordered"),
    ],
)
def test_numbers_are_what_their_steps_say(numbers: list[tuple[str, int]], kind: str) -> None:
    records = [
        {**COINBASE, "product_id": symbol, "sequence": at, "trade_id": 3 * place}
        for place, (symbol, at) in enumerate(numbers)
    ]
    sequence = feed(*records).sequence
    assert sequence is not None
    assert sequence.numbers == kind


def test_a_number_that_is_always_the_same_is_none() -> None:
    assert feed(*({**COINBASE, "trade_id": at, "sequence": 0} for at in range(5))).trade.source_sequence is None


def test_what_does_not_tell_trades_apart_is_no_identity() -> None:
    same = [{**COINBASE, "trade_id": 1, "sequence": 1, "price": str(at)} for at in range(1, 4)]
    assert feed(*same).identity == "look-alikes"
    assert feed(*(COINBASE, COINBASE)).identity == ("trade_id",)  # one trade, sent twice


def test_the_key_of_a_record_is_the_symbol_where_nothing_else_is() -> None:
    record = {"price": "1.5", "size": 3, "time": 1735689600010}
    text = document_of(sampled(record, record, keys=[b"BHP", b"CBA"])).text
    assert feed_of("guess", "guess", text).feed.trade.symbol == "decode(kafka_key)"


def test_what_has_no_price_is_said_with_the_columns_that_there_are() -> None:
    with pytest.raises(NoTrades, match=r"looks like a price.*\$\.temperature"):
        guessed({"temperature": "warm", "time": 1735689600010})


def test_records_that_are_no_json_are_remarked_upon() -> None:
    values = [json.dumps(BINANCE).encode(), b"not json", json.dumps(BINANCE).encode()]
    assert layout_of(values).broken == 1
    assert "1 records or lines are no JSON" in document_of(sample_of_topic("t", Fetched.of_values(values))).text


def test_lines_in_a_record_are_several_records() -> None:
    value = b"\xef\xbb\xbf" + b"\n".join(json.dumps({**BINANCE, "t": at}).encode() for at in range(3))
    assert {len(column.values) for column in layout_of([value]).columns} == {3}


def rows(names: list[str], *values: list[str]) -> FeedSample:
    columns = [SampleColumn(name, column) for name, column in zip(names, zip(*values, strict=True), strict=True)]
    return FeedSample("trades.csv", "csv", columns)


def test_a_day_and_a_clock_are_one_time_in_a_zone() -> None:
    names = ["Date", "Time", "Symbol", "Price", "Size"]
    concluded = document_of(rows(names, ["01/31/2024", "9:30:00.123", "SPY", "480.1", "100"]))
    fields = feed_of("guess", "guess", concluded.text).feed
    assert fields.source.zone == "UTC"
    assert "zone" in concluded.open
    assert "strptime(Date, '%m/%d/%Y')" in fields.trade.timestamp


def test_headers_with_spaces_get_plain_names() -> None:
    names = ["Trade Time", "Ticker Symbol", "order", "Trade Price", "Trade Volume"]
    source = feed_of("guess", "guess", document_of(
        rows(names, ["2024-01-02T03:04:05Z", "SPY", "1", "480.1", "100"])
    ).text).feed.source  # fmt: skip
    assert source.columns == ("trade_time", "ticker_symbol", "order_", "trade_price", "trade_volume")
    assert source.aliases["Trade Price"] == "trade_price"
