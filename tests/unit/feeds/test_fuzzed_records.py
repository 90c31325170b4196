"""Whatever bytes a topic holds: no exception, every trade stored or refused with a reason, and the bytes kept."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.domain.checkpoint import Tally
from k2ctl.domain.trade import HEADER, TRADE
from k2ctl.domain.wire import JSON, SBE, RecordFormat
from k2ctl.feeds.decode import decode_batch
from k2ctl.kafka.reader import Fetched
from tests.made_trades import BASE_US, make_trades
from tests.support.any_trades import NOW_US, any_trades
from tests.support.decoders import decoder_for

PYTHONS_WORDS = re.compile(
    r"Error|Exception|Traceback|<class|object at|unhashable|NoneType|codec can't|invalid literal|expected .* got"
    r"|recursion|int\(\)|str\b.*\bint\b|\(char \d+\)",
    re.IGNORECASE,
)

FIELDS = [*json.loads(JSON.encode(make_trades(1), 1)[0]), "action", "refers_to"]
ODD_NUMBERS = ["1_000", "+5", "0x10", "NaN", "Infinity", "-0", "1e5", "１２", " 5 ", "", "1" * 5000, "-", "1.", ".5"]
ODD = st.one_of(
    st.none() | st.booleans() | st.floats() | st.text(max_size=40),
    st.integers() | st.integers(-(2**70), 2**70) | st.just(10**4000),
    st.sampled_from(ODD_NUMBERS),
    st.sampled_from(["{00000000-0000-1b58-0000-000000000001}", "2014-02-30T10:00:00Z", "2014-03-10", "\0", "\ud800"]),
)
VALUES = st.recursive(
    ODD, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


def check(values: list[bytes], written: RecordFormat) -> None:
    """Decode, and hold the counts and the dead letters to the records."""
    fetched, tally = Fetched(values, np.zeros(len(values), np.int32), np.arange(len(values)), 0, 0), Tally()
    rows, dead_letters = decode_batch(fetched, "t", "e", NOW_US, tally, decoder_for(written))
    counts = tally.of(0)
    assert counts.seen == len(rows) + counts.dead_lettered
    assert len(dead_letters) == counts.dead_lettered + counts.undecodable
    for one in dead_letters:
        assert one.reason
        assert not PYTHONS_WORDS.search(re.sub(r'"[^"]*"?|\'[^\']*\'?', "", one.reason)), one.reason
        assert one.value in values[one.offset]
        assert len(one.reason) < 400
    assert rows.to_arrow(NOW_US).num_rows == len(rows)


@pytest.mark.parametrize("written", [SBE, JSON], ids=["sbe", "json"])
@given(values=st.lists(st.binary(max_size=450), max_size=5))
def test_random_bytes(written: RecordFormat, values: list[bytes]) -> None:
    check(values, written)


@pytest.mark.parametrize("written", [SBE, JSON], ids=["sbe", "json"])
@given(trades=any_trades(), per_frame=st.integers(1, 4), data=st.data())
def test_flipped_and_cut_bytes(written: RecordFormat, trades: np.ndarray, per_frame: int, data: st.DataObject) -> None:
    values = []
    for value in written.encode(trades, per_frame):
        damaged = bytearray(value)
        for _ in range(data.draw(st.integers(0, 3))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        values.append(bytes(damaged[: data.draw(st.integers(len(damaged) - 3, len(damaged)))]))
    check(values, written)


@given(blocks=st.lists(st.binary(min_size=TRADE.block_length, max_size=TRADE.block_length), min_size=1, max_size=4))
def test_messages_of_random_fields(blocks: list[bytes]) -> None:
    header = np.array([TRADE.header], HEADER.descr).tobytes()
    check([b"".join(header + block for block in blocks), *(header + block for block in blocks)], SBE)


@given(changes=st.lists(st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), VALUES, max_size=3), max_size=4))
def test_objects_with_odd_fields(changes: list[dict[str, object]]) -> None:
    trades = make_trades(len(changes))
    trades["received_ns"] = BASE_US * 1000
    items = [json.loads(value) | change for value, change in zip(JSON.encode(trades, 1), changes, strict=True)]
    check([json.dumps(items).encode(), *(json.dumps(item).encode() for item in items)], JSON)


@given(value=VALUES)
def test_documents_that_are_no_trades(value: object) -> None:
    check([json.dumps(value).encode(), json.dumps([value, value]).encode()], JSON)


@pytest.mark.parametrize("value", [b"[" * 100_000, b'{"a":' * 100_000, b'[{"a":' + b"[" * 1020 + b"]" * 1020 + b"}]"])
def test_documents_of_great_depth(value: bytes) -> None:
    check([value], JSON)
