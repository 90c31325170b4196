"""The wire format: what is encoded decodes, and nothing that arrives can raise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.domain.decimals import DECIMAL_LIMIT, of_int
from k2ctl.domain.trade import HEADER, NO_SEQUENCE, REFERENCE, TRADE, decode, frames
from k2ctl.domain.validity import EARLIEST_US, FUTURE_TOLERANCE_US, invalid
from tests.made_trades import make_trades

NOW_US = 1_800_000_000_000_000


@given(count=st.integers(1, 50), per_frame=st.integers(1, 60))
def test_frames_of_any_size_decode_to_the_same_trades(count: int, per_frame: int) -> None:
    trades = make_trades(count)
    decoded = decode(frames(trades, per_frame))
    assert decoded.trades.tobytes() == trades.tobytes()
    assert decoded.broken == []
    number = np.arange(count)
    assert decoded.record.tolist() == (number // per_frame).tolist()
    assert decoded.index.tolist() == (number % per_frame).tolist()


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_random_bytes_are_broken_records_and_never_an_exception(values: list[bytes]) -> None:
    decoded = decode(values)
    assert len(decoded.broken) + len(set(decoded.record.tolist())) == len(values)


@given(st.data())
def test_a_flipped_byte_never_raises_and_never_touches_another_record(data: st.DataObject) -> None:
    trades = make_trades(9)
    values = frames(trades, 3)
    which = data.draw(st.integers(0, 2))
    at = data.draw(st.integers(0, len(values[which]) - 1))
    damaged = bytearray(values[which])
    damaged[at] ^= data.draw(st.integers(1, 255))
    values[which] = bytes(damaged)
    decoded = decode(values)
    invalid(decoded.trades, NOW_US)
    others = decoded.trades[decoded.record != which]
    expected = trades[[n for n in range(9) if n // 3 != which]]
    assert others.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "empty value"),
        (b"\x01\x02", "shorter than an SBE header"),
        (make_trades(1).tobytes()[:-1], "not whole messages"),
        (REFERENCE.empty(1).tobytes(), "not a trade"),
        (b"\xc0\x00\x01\x00\xff\xff\x01\x00" + bytes(192), "schema id"),
        (b"\x10\x00\x01\x00\x23\x1c\x01\x00" + bytes(16), "shorter than version 1"),
    ],
)
def test_a_damaged_record_says_what_is_wrong_with_it(value: bytes, reason: str) -> None:
    (broken,) = decode([value]).broken
    assert reason in broken[1]


def test_a_longer_block_of_a_newer_version_decodes_by_its_length() -> None:
    trades = make_trades(5)
    wide = np.zeros(5, TRADE.with_block_length(TRADE.block_length + 24))
    for name in wide.dtype.names or ():
        wide[name] = trades[name]
    wide["block_length"], wide["version"] = TRADE.block_length + 24, 2
    decoded = decode([wide.tobytes(), trades[:2].tobytes()])
    assert decoded.broken == []
    assert decoded.trades["trade_id"].tolist() == [0, 1, 2, 3, 4, 0, 1]
    assert decoded.trades["price"][:5].tolist() == trades["price"].tolist()


def test_the_dtype_has_the_offsets_of_the_schema() -> None:
    assert TRADE.message.itemsize == HEADER.itemsize + 192
    assert TRADE.message.fields is not None
    assert TRADE.message.fields["source_sequence"][1] == HEADER.itemsize + 72
    assert np.uint64(NO_SEQUENCE) == np.iinfo(np.uint64).max


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("symbol", b"", "symbol"),
        ("symbol", "BÉ".encode("latin-1"), "symbol"),
        ("symbol", b"A\x00B", "symbol"),
        ("exchange", b"\x01", "exchange"),
        ("currency", b"\xff", "currency"),
        ("asset_class", 9, "asset_class"),
        ("side", 9, "side"),
        (
            "event_ns",
            EARLIEST_US * 1000 - 1,
            "timestamp is 1989-12-31T23:59:59.999999999Z, before 1990-01-01T00:00:00Z",
        ),
        ("event_ns", -(2**63), "before 1990-01-01T00:00:00Z"),
        ("event_ns", 2**63 - 1, "more than 5 minutes ahead"),
        (
            "event_ns",
            (NOW_US + FUTURE_TOLERANCE_US) * 1000 + 1,
            "timestamp is 2027-01-15T08:05:00.000000001Z, more than",
        ),
        ("received_ns", 0, "ingestion_timestamp is 1970-01-01T00:00:00Z, before 1990-01-01T00:00:00Z"),
        ("price", of_int(-1), "price is -0.000000000001, negative"),
        ("quantity", of_int(-1), "quantity is -0.000000000001, negative"),
        ("price", of_int(DECIMAL_LIMIT + 1), "price is 1000000000000000.000000000001, beyond 10^15"),
        ("quantity", of_int(2**127 - 1), "beyond 10^15"),
        ("trade_conditions", b"A\0B", "trade_conditions"),
        ("action", 3, "action is 3, none of NEW, CORRECT, CANCEL"),
        ("action", 1, "refers_to is missing"),
    ],
)
def test_an_impossible_value_is_named_and_the_others_pass(field: str, value: object, reason: str) -> None:
    trades = make_trades(3)
    trades[field][1] = value
    found = invalid(trades, NOW_US)
    assert list(found) == [1]
    assert reason in found[1]


def test_a_future_may_have_a_negative_price() -> None:
    trades = make_trades(1)
    trades["price"], trades["asset_class"] = of_int(-37_630_000_000_000), 2
    assert invalid(trades, NOW_US) == {}


@pytest.mark.parametrize("field", ["trade_id", "source_sequence"])
def test_a_number_over_the_table_s_limit_is_named_with_its_field_value_and_limit(field: str) -> None:
    trades = make_trades(3)
    trades[field][:2] = 2**63 - 1, 2**63
    limit = "above 9223372036854775807 (2^63 − 1)"
    assert invalid(trades, NOW_US) == {1: f"{field} is 9223372036854775808, {limit}"}


def test_no_sequence_number_is_not_one_over_the_limit() -> None:
    trades = make_trades(1)
    trades["source_sequence"] = NO_SEQUENCE
    assert invalid(trades, NOW_US) == {}
