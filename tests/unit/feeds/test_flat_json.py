"""Flat JSON, read many records at once, holds the same trades as the exact path reads one by one."""

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2ctl.domain.trade import Decoded
from k2ctl.domain.wire import JSON
from k2ctl.feeds.foreign import Foreign
from k2ctl.feeds.formats.flat_layout import layout_of
from k2ctl.feeds.records import own_decoder
from k2ctl.kafka.reader import Fetched
from k2ctl.profiles import load_profile
from k2ctl.profiles.feed import feed_of
from tests.made_trades import make_trades
from tests.support.any_trades import any_trades
from tests.support.decoders import decoder_for

VENDOR = """
description: A vendor's trades
source:
  format: json
  columns: {event: $.e, symbol: $.s, price: $.p, quantity: $.q, time: $.T, number: $.t, is_maker: $.m}
  zone: Europe/London
where: event = 'trade'
trade:
  symbol: upper(symbol)
  exchange: "'VENUE'"
  asset_class: "'crypto'"
  timestamp: time
  ingestion_timestamp: time
  price: price
  quantity: quantity
  side: CASE is_maker WHEN 'true' THEN 'SELL' WHEN 'false' THEN 'BUY' ELSE is_maker END
  trade_id: number
  source_sequence: number
identity: [number]
"""


@cache
def vendor() -> Foreign:
    return Foreign(feed_of("vendor", "vendor.yaml", VENDOR), ())


@cache
def own() -> Foreign:
    decoder = decoder_for(JSON)
    assert isinstance(decoder, Foreign)
    return decoder


def comparable(decoded: Decoded) -> tuple[Any, ...]:
    places = list(zip(decoded.record.tolist(), decoded.index.tolist(), strict=True))
    refused = sorted((one.record, one.index, one.reason) for one in decoded.refused)
    filtered = sorted(decoded.filtered.tolist())
    return decoded.trades.tobytes(), places, sorted(decoded.broken), refused, filtered


def read_at_once(feed: Foreign, values: list[bytes]) -> np.ndarray:
    """bool[n]: which records are read so, once what they say is known; they have to be what the exact path reads."""
    fetched = Fetched.of_values(values)
    exact = comparable(feed._exact(fetched))
    assert comparable(feed.decode(fetched)) == exact
    assert comparable(feed.decode(fetched)) == exact
    assert feed._flat is not None
    return feed._flat.read(values)[1]


TRADE = {"e": "trade", "s": "btcusdt", "t": 7, "p": "101.5", "q": "2", "T": 1_700_000_000_123, "m": True, "M": True}


def record(**change: object) -> bytes:
    return json.dumps(TRADE | change).encode()


NUMBERS = (
    st.sampled_from(["0", "1", "-1", "1.", ".5", "00.5", "007", "1e5", "NaN", "1_0", "", " 5", "null", "1.2.3", "+1"])
    | st.decimals(0, 10**16, allow_nan=False, places=9).map(lambda number: f"{number:f}")
    | st.integers(0, 2**70).map(str)
    | st.text("0123456789.-", max_size=26)
)
TIMES = (
    st.integers(0, 2**66)
    | st.datetimes().map(lambda moment: f"{moment.isoformat()}Z")
    | st.datetimes().map(lambda moment: f"{moment.isoformat(sep=' ')}+00:00")
    | st.from_regex(r"20\d\d-\d\d-[0-3]\dT[0-2]\d:[0-6]\d:[0-6]\d(\.\d{1,10})?(Z|\+01:00)?", fullmatch=True)
    | NUMBERS
)
TEXTS = st.sampled_from(["btcusdt", "ethusdt", "é", 'a"b', "x" * 33, "", "\n", "[]", None, 1.5, ["a"], {"a": 1}])
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "s": TEXTS,
        "p": NUMBERS,
        "q": NUMBERS | st.floats(allow_nan=False) | st.integers(-5, 10**18),
        "t": st.integers(-1, 2**65) | NUMBERS,
        "T": TIMES,
        "m": st.booleans() | TEXTS,
        "M": st.floats() | TEXTS,
        "e": st.sampled_from(["trade", "quote", None]),
    },
)


@settings(max_examples=40)
@given(changes=st.lists(CHANGES, min_size=1, max_size=8))
def test_any_values_are_read_as_by_the_exact_path(changes: list[dict[str, object]]) -> None:
    read_at_once(vendor(), [record(), *(record(**change) for change in changes), record()])


@settings(max_examples=40)
@given(numbers=st.lists(st.tuples(NUMBERS, NUMBERS, TIMES), min_size=1, max_size=6))
def test_values_without_quotes_are_read_as_by_the_exact_path(numbers: list[tuple[str, str, object]]) -> None:
    template = '{"e":"trade","s":"btcusdt","t":%s,"p":%s,"q":"2","T":%s,"m":true,"M":%s}'
    read_at_once(vendor(), [record(), *((template % (p, q, t, p)).encode() for p, q, t in numbers)])


@settings(max_examples=30)
@given(trades=any_trades(), damaged=st.booleans(), data=st.data())
def test_own_trades_are_read_as_by_the_exact_path(trades: np.ndarray, damaged: bool, data: st.DataObject) -> None:
    values = [bytearray(value) for value in JSON.encode(trades, 1)]
    if damaged:
        for value in values:
            value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    read_at_once(own(), [bytes(value) for value in values])


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["dense", "spaced"])
def test_records_of_one_layout_take_the_fast_path(separators: tuple[str, str]) -> None:
    values = [json.dumps(TRADE | {"t": at, "m": at % 2 == 0}, separators=separators).encode() for at in range(50)]
    assert read_at_once(vendor(), values).all()
    assert read_at_once(own(), JSON.encode(make_trades(50), 1)).all()


def test_records_of_several_layouts_keep_their_order() -> None:
    values = [record(t=at, **({} if at % 3 else {"x": "y"})) for at in range(60)]
    assert read_at_once(vendor(), values).all()


def test_a_text_that_is_nearly_always_the_same_may_differ() -> None:
    values = [record(t=at, M=at != 70, s="ethusdt" if at == 50 else "btcusdt") for at in range(100)]
    assert read_at_once(vendor(), values).all()


def test_a_filtered_record_that_is_no_json_is_broken() -> None:
    filtered = record(e="quote")
    values = [record(), filtered, filtered.replace(b'"m": true', b'"m": tru'), filtered.replace(b": 7", b": 7.")]
    assert read_at_once(vendor.__wrapped__(), values).tolist() == [True, True, False, False]


def test_own_records_are_read_without_duckdb(monkeypatch: pytest.MonkeyPatch) -> None:
    for room in ("formats.json_records", "mapping.mapping"):
        monkeypatch.setattr(f"k2ctl.feeds.{room}.connect", lambda _: pytest.fail("DuckDB is asked"))
    feed, trades = own_decoder(load_profile("laptop"), "json"), make_trades(50)
    feed.check("topic")
    assert feed.decode(Fetched.of_values(JSON.encode(trades, 1))).trades.tobytes() == trades.tobytes()


def test_what_is_filtered_is_known_by_its_text() -> None:
    assert read_at_once(vendor(), [record(e="quote" if at % 2 else "trade", t=at) for at in range(40)]).all()


@pytest.mark.parametrize(
    "odd",
    [
        record(s="é"),
        record(s='a"b'),
        record(p="-1.5"),
        record(m=[1, 2]),
        record(M={"inner": 1}),
        b"[" + record() + b"]",
        record()[:-1],
        record() + b" x",
        record().replace(b'"e"', b'"p": "1", "e"'),
        record().replace(b"true}", b"01}"),
        record().replace(b"true}", b"tru}"),
        record().replace(b"1700000000123", b"1700000000123,"),
        b"",
    ],
    ids=repr,
)
def test_an_odd_record_is_left_to_the_exact_path_and_the_others_are_not(odd: bytes) -> None:
    is_read = read_at_once(vendor(), [record(t=1), odd, record(t=2)])
    assert is_read.tolist() == [True, False, True]


def test_a_list_that_is_shorter_by_a_key_and_its_text_is_not_taken_for_a_longer_one() -> None:
    """Both records have as many quotes, and the same bytes around what stands where the list does."""
    mapped = VENDOR.replace("is_maker: $.m}", "is_maker: $.m, codes: $.c}")
    mapped = mapped.replace("  trade_id: number\n", "  trade_id: number\n  trade_conditions: codes\n")
    template = b'{"e":"trade","s":"btcusdt","p":"1","q":"2","T":1700000000123,"c":%s,"t":%d}'
    lists = [b'["a","b","c"]'] * 20 + [b'["a"],"m":"BUY"']
    values = [template % (one, at) for at, one in enumerate(lists)]
    feed = Foreign(feed_of("vendor", "vendor.yaml", mapped), ())
    assert read_at_once(feed, values).tolist() == [True] * 20 + [False]


def test_a_text_is_not_read_by_the_layout_of_a_list_in_its_place() -> None:
    feed = Foreign(feed_of("vendor", "vendor.yaml", VENDOR), ())
    lists, texts = [record(s=["a"])], [record(e="quote", t=at) for at in range(4)]
    feed.decode(Fetched.of_values([*texts, *lists]))
    feed.decode(Fetched.of_values(lists))
    assert read_at_once(feed, texts).all()


def test_texts_that_never_repeat_are_left_to_the_exact_path() -> None:
    values = [record(s=f"s{at}", t=at) for at in range(300)]
    assert not read_at_once(vendor(), values).any()


def test_an_expression_over_a_number_leaves_a_feed_to_the_exact_path() -> None:
    text = VENDOR.replace("price: price", "price: price::DECIMAL(20, 8) * 2")
    feed = Foreign(feed_of("vendor", "vendor.yaml", text), ())
    assert feed._flat is None
    assert feed.decode(Fetched.of_values([record()])).trades["price"]["low"].tolist() == [203 * 10**12]


@pytest.mark.parametrize("text", [b"[1]", b'{"a":{"b":1}}', b'{"a":1,"a":2}', b'{"a":1} x', b"{}", b"", b'{"a"'])
def test_a_record_that_is_not_flat_has_no_layout(text: bytes) -> None:
    assert layout_of(text) is None
