"""JSON trades: the same trades as SBE's, and a clear reason for everything else."""

import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.domain.trade import DECIMAL_ONE, NO_SEQUENCE
from k2ctl.domain.wire import decode_json, encode_json
from tests.made_trades import make_trades

TRADE = {
    "message_id": "00000000-0000-1b58-0000-000000000001",
    "trade_id": 1,
    "symbol": "BHP",
    "exchange": "ASX",
    "asset_class": "equities",
    "timestamp": "2014-03-10T10:00:00.123456+11:00",
    "ingestion_timestamp": 1_394_409_600_000_000,
    "price": "35.67",
    "quantity": 100,
    "currency": "AUD",
    "side": "BUY",
}


@pytest.mark.parametrize("per_frame", [1, 7])
def test_trades_round_trip(per_frame: int) -> None:
    trades = make_trades(50)
    trades["source_sequence"][3] = NO_SEQUENCE
    decoded = decode_json(encode_json(trades, per_frame))
    assert decoded.broken == []
    assert decoded.trades.tobytes() == trades.tobytes()
    assert decoded.index.max() == per_frame - 1


def test_fields_mean_what_they_say() -> None:
    trade = decode_json([json.dumps(TRADE).encode()]).trades[0]
    assert trade["price"] == 3_567_000_000
    assert trade["quantity"] == 100 * DECIMAL_ONE
    assert trade["timestamp"] == 1_394_406_000_123_456
    assert trade["source_sequence"] == NO_SEQUENCE


@pytest.mark.parametrize("price", ["0.1", "34.095", "89999999.99999999", "-0.00000001"])
def test_a_number_is_the_decimal_that_its_digits_say(price: str) -> None:
    value = json.dumps(TRADE).replace('"35.67"', price)
    whole, _, digits = price.lstrip("-").partition(".")
    expected = int(whole + digits.ljust(8, "0")) * (-1 if price[0] == "-" else 1)
    assert decode_json([value.encode()]).trades["price"].tolist() == [expected]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"symbol": None}, "symbol is not a string"),
        ({"symbol": "X" * 17}, "symbol is longer than 16 bytes"),
        ({"price": "abc"}, "price is not a decimal"),
        ({"price": "1.123456789"}, "more than 8 decimal places"),
        ({"price": "NaN"}, "price is not a decimal"),
        ({"price": 1e300}, "18 digits"),
        ({"price": True}, "price is not a decimal"),
        ({"price": "Infinity"}, "price is not a decimal"),
        ({"price": "1e999999999"}, "18 digits"),
        ({"price": "1e-999999999"}, "more than 8 decimal places"),
        ({"price": "1.0000000000000000000000000000000000000000001"}, "more than 8 decimal places"),
        ({"price": "10000000000"}, "18 digits"),
        ({"trade_id": -1}, "trade_id is not a whole number"),
        ({"side": "LONG"}, "side is none of"),
        ({"side": []}, "unhashable"),
        ({"message_id": []}, "not a UUID"),
        ({"message_id": "x"}, "not a UUID"),
        ({"timestamp": "2014-03-10T10:00:00"}, "no UTC offset"),
        ({"timestamp": 1.5}, "neither microseconds"),
        ({"timestamp": 10**30}, "neither microseconds"),
        ({"source_sequence": "1"}, "source_sequence is not a whole number"),
        ({"trade_id": 2**63}, "trade_id is 9223372036854775808, above 9223372036854775807"),
        ({"trade_id": 2**64}, "above 9223372036854775807"),
        ({"source_sequence": 2**64 - 1}, "source_sequence is 18446744073709551615, above 9223372036854775807"),
        ({"timestamp": 2**63}, "timestamp is 9223372036854775808, above 9223372036854775807"),
    ],
)
def test_a_bad_field_is_named(change: dict[str, object], reason: str) -> None:
    decoded = decode_json([json.dumps({**TRADE, **change}).encode()])
    assert len(decoded.trades) == 0
    assert reason in decoded.broken[0][1]


def test_the_largest_decimal_is_exact() -> None:
    (trade,) = decode_json([json.dumps({**TRADE, "price": "9999999999.99999999"}).encode()]).trades
    assert trade["price"] == 10**18 - 1


def test_a_short_text_that_means_a_million_digits_costs_nothing() -> None:
    value = json.dumps({**TRADE, "price": "1e900000", "quantity": "-1e999999"}).encode()
    started_s = time.process_time()
    assert "18 digits" in decode_json([value]).broken[0][1]
    assert time.process_time() - started_s < 1


def test_a_missing_field_is_named() -> None:
    without = {name: value for name, value in TRADE.items() if name != "price"}
    assert decode_json([json.dumps(without).encode()]).broken == [(0, "price is missing")]


def test_a_broken_record_leaves_the_others_alone() -> None:
    good = json.dumps(TRADE).encode()
    decoded = decode_json([good, b"", b"{", b"[]", b"[1]", b"7", json.dumps([TRADE, TRADE]).encode()])
    assert decoded.record.tolist() == [0, 6, 6]
    assert [number for number, _ in decoded.broken] == [1, 2, 3, 4, 5]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(TRADE)), inner, max_size=4),
    max_leaves=5,
)


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing(value: bytes) -> None:
    decoded = decode_json([value])
    assert len(decoded.trades) or decoded.broken


@given(st.sampled_from(sorted(TRADE)), JSON_VALUES)
def test_random_fields_raise_nothing(name: str, value: object) -> None:
    decoded = decode_json([json.dumps({**TRADE, name: value}).encode()])
    assert len(decoded.trades) == 1 or decoded.broken
    assert isinstance(decoded.trades, np.ndarray)
