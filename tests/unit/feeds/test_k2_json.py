"""K2's own records of JSON: the same trades as SBE's, and a clear reason for everything else."""

import json
import math
import time
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.domain.conditions import unpack
from k2ctl.domain.decimals import as_decimal
from k2ctl.domain.json_trade import encode_json
from k2ctl.domain.trade import NO_SEQUENCE, Decoded
from k2ctl.domain.wire import JSON
from k2ctl.kafka.reader import Fetched
from tests.made_trades import make_trades
from tests.support.decoders import decoder_for, refusals

DECODER = decoder_for(JSON)


def decode_json(values: list[bytes]) -> Decoded:
    return DECODER.decode(Fetched.of_values(values))


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


def decoded_with(**change: object) -> np.ndarray:
    """The trade with some fields changed; it has to be good."""
    decoded = decode_json([json.dumps({**TRADE, **change}).encode()])
    assert (decoded.broken, decoded.refused) == ([], [])
    return decoded.trades


def refusal_of(value: bytes) -> str:
    """Why a record is refused; it has to be."""
    (reason,) = refusals(DECODER, [value])
    return reason


def test_fields_mean_what_they_say() -> None:
    trade = decoded_with()[0]
    assert as_decimal(trade["price"]) == Decimal("35.67")
    assert as_decimal(trade["quantity"]) == 100
    assert trade["event_ns"] == 1_394_406_000_123_456_000
    assert trade["source_sequence"] == NO_SEQUENCE


@pytest.mark.parametrize(
    "price",
    ["0.1", "34.095", "1234567890.12345678", "90071992.54740993", "-0.000000000001", "1e15", "1E-12", "6.984e-6"],
)
def test_a_number_is_the_decimal_that_its_digits_say(price: str) -> None:
    value = json.dumps(TRADE).replace('"35.67"', price)
    (trade,) = decode_json([value.encode()]).trades
    assert as_decimal(trade["price"]) == Decimal(price)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("2026-01-01T00:00:00.000001900Z", 1_767_225_600_000_001_900),
        ("2026-01-01 02:00:00.5+02:00", 1_767_225_600_500_000_000),
        ("2026-01-01T00:00:00-0530", 1_767_245_400_000_000_000),
        ("2026-01-01T00:00:00.0000000000Z", 1_767_225_600_000_000_000),
        (1_767_225_600_000_001, 1_767_225_600_000_001_000),
    ],
)
def test_a_time_is_exact_to_the_nanosecond(text: object, nanoseconds: int) -> None:
    assert decoded_with(timestamp=text)["event_ns"].tolist() == [nanoseconds]


@pytest.mark.parametrize("codes", [["3", "X"], "3 X", "3;X", "3,X", [3, "X"]])
def test_conditions_are_a_list_or_a_text_of_codes(codes: object) -> None:
    assert unpack(bytes(decoded_with(trade_conditions=codes)["trade_conditions"][0])) == ["3", "X"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"symbol": None}, "symbol is missing"),
        ({"symbol": {"a": 1}}, "not a text"),
        ({"symbol": "X" * 33}, f'symbol is "{"X" * 33}", longer than 32 bytes'),
        ({"symbol": "é" * 17}, "longer than 32 bytes"),
        ({"exchange": "X" * 17}, "longer than 16 bytes"),
        ({"currency": "X" * 9}, "longer than 8 bytes"),
        ({"price": "abc"}, 'price is "abc", not a decimal'),
        ({"price": "1.1234567890123"}, "more than 12 decimal places"),
        ({"price": "NaN"}, "not a decimal"),
        ({"price": 1e300}, 'price is "1e300", beyond 10^15'),
        ({"price": math.nan}, 'price is "NaN", not a decimal'),
        ({"price": math.inf}, 'price is "Infinity", not a decimal'),
        ({"price": 10**400}, "beyond 10^15"),
        ({"price": True}, "not a decimal"),
        ({"price": "Infinity"}, "not a decimal"),
        ({"price": "1e999999999"}, 'price is "1e999999999", beyond 10^15'),
        ({"price": "1e-999999999"}, "more than 12 decimal places"),
        ({"price": "1.0000000000000000000000000000000000000000001"}, "more than 12 decimal places"),
        ({"price": "1000000000000001"}, "beyond 10^15"),
        ({"price": 10**15 + 1}, "price is 1000000000000001, beyond 10^15"),
        ({"price": "1_000"}, 'price is "1_000", not a decimal'),
        ({"price": "\uff11\uff12"}, "not a decimal"),
        ({"price": " 5 "}, "not a decimal"),
        ({"price": "0x10"}, "not a decimal"),
        ({"price": "5\n"}, "not a decimal"),
        ({"price": ""}, "not a decimal"),
        ({"price": []}, "not a decimal"),
        ({"trade_id": -1}, 'trade_id is "-1", not a whole number'),
        ({"trade_id": 7.0}, 'trade_id is "7.0", not a whole number'),
        ({"side": "LONG"}, 'side is "LONG", none of BUY'),
        ({"side": []}, 'side is "[]", none of BUY'),
        ({"message_id": []}, 'message_id is "[]", not a UUID'),
        ({"message_id": "x"}, "not a UUID"),
        ({"message_id": "{00000000-0000-1b58-0000-000000000001}"}, "not a UUID"),
        ({"message_id": "00000000000001b580000000000000001"}, "not a UUID"),
        ({"refers_to": "urn:uuid:00000000-0000-1b58-0000-000000000001"}, "refers_to is"),
        ({"timestamp": "2014-03-10T10:00:00"}, "neither a time with an offset"),
        ({"timestamp": "2014-03-10"}, "neither a time with an offset"),
        ({"timestamp": "2014-02-30T10:00:00Z"}, "neither a time with an offset"),
        ({"timestamp": "2014-02-20T10:00:00.0000000001Z"}, "neither a time with an offset"),
        ({"timestamp": 1.0005}, "neither"),
        ({"timestamp": 10**30}, 'timestamp is "1000000000000000000000000000000"'),
        ({"timestamp": 2**63}, 'timestamp is "9223372036854775808"'),
        ({"timestamp": "9999-01-01T00:00:00Z"}, "neither a time with an offset"),
        ({"trade_id": 2**63}, 'trade_id is "9223372036854775808", above 9223372036854775807'),
        ({"trade_id": 2**64}, "above 9223372036854775807"),
        ({"source_sequence": 2**64 - 1}, 'source_sequence is "18446744073709551615", above 9223372036854775807'),
        ({"trade_conditions": ["12345"]}, "trade_conditions has the code"),
        ({"trade_conditions": ["1"] * 9}, "trade_conditions has 9 codes, more than 8"),
    ],
)
def test_a_bad_field_is_named_with_its_value_and_limit(change: dict[str, object], reason: str) -> None:
    assert reason in refusal_of(json.dumps({**TRADE, **change}).encode())


@pytest.mark.parametrize("number", ["0x10", "+5", "1_000", ".5", "5.", "01"])
def test_a_number_that_is_none_of_json_s_is_refused(number: str) -> None:
    assert refusal_of(json.dumps(TRADE).replace('"35.67"', number).encode()).startswith("not JSON from character ")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", "not JSON: it ends too early, after 1 characters"),
        (b"\xff", "not JSON: not UTF-8"),
        (b"", "empty value"),
        (b"[]", "an array without a trade"),
        (b"7", 'neither a JSON object nor an array of them: "7"'),
        (b"[7]", 'neither a JSON object nor an array of them: "7"'),
        (b'{"symbol": "\\ud800"}', 'not JSON from character 12 on: "\\\\ud800\\"}"'),
    ],
)
def test_what_is_no_json_is_refused_in_words_of_ours(value: bytes, reason: str) -> None:
    assert refusal_of(value) == reason


@pytest.mark.parametrize("second", ['"1"', "1", '"35.67"', "1.5"])
def test_a_key_that_is_there_twice_is_refused(second: str) -> None:
    value = json.dumps(TRADE)[:-1] + f', "price": {second}}}'
    assert refusal_of(value.encode()) == "price is there twice"


@pytest.mark.parametrize("price", ["999999999999999.999999999999", "1000000000000000", "0.000000000001"])
def test_the_largest_and_the_smallest_decimal_are_exact(price: str) -> None:
    assert as_decimal(decoded_with(price=price)[0]["price"]) == Decimal(price)


def test_a_short_text_that_means_a_million_digits_costs_nothing() -> None:
    value = json.dumps({**TRADE, "price": "1e900000", "quantity": "-1e999999"}).encode()
    started_s = time.process_time()
    assert "beyond 10^15" in refusal_of(value)
    assert time.process_time() - started_s < 1


def test_a_missing_field_is_named() -> None:
    without = {name: value for name, value in TRADE.items() if name != "price"}
    assert refusal_of(json.dumps(without).encode()) == "price is missing"


def test_a_broken_record_leaves_the_others_alone() -> None:
    good = json.dumps(TRADE).encode()
    decoded = decode_json([good, b"", b"{", b"[]", b"[1]", b"7", json.dumps([TRADE, TRADE]).encode()])
    assert decoded.record.tolist() == [0, 6, 6]
    assert [number for number, _ in decoded.broken] == [1, 2, 3, 5]
    assert [(one.record, one.index) for one in decoded.refused] == [(4, 0)]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(TRADE)), inner, max_size=4),
    max_leaves=5,
)


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing(value: bytes) -> None:
    decoded = decode_json([value])
    assert len(decoded.trades) or decoded.broken or decoded.refused


@given(st.sampled_from(sorted(TRADE)), JSON_VALUES)
def test_random_fields_raise_nothing(name: str, value: object) -> None:
    decoded = decode_json([json.dumps({**TRADE, name: value}).encode()])
    assert len(decoded.trades) == 1 or decoded.broken or decoded.refused
    assert isinstance(decoded.trades, np.ndarray)
