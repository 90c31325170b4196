"""The layouts that JSON records may have: nested, several trades to a record, paths; and numbers by their digits."""

from decimal import Decimal

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.domain.conditions import unpack
from k2ctl.domain.decimals import as_decimal
from k2ctl.domain.trade import Decoded
from k2ctl.feeds.foreign import Foreign
from k2ctl.feeds.formats.json_parts import parts_of, steps_of
from k2ctl.feeds.formats.json_texts import by_digits, joined
from k2ctl.kafka.reader import Fetched
from k2ctl.profiles.feed import feed_of

TRADE = """
trade:
  symbol: symbol
  exchange: "'V'"
  asset_class: "'crypto'"
  timestamp: time
  ingestion_timestamp: time
  price: price
  quantity: "'1'"
  trade_id: id
identity: [id]
"""
NESTED = (
    b'{"channel":"trades","data":{"list":[{"x":{"s":"A"},"p":"1","t":[1735689600000,7]},'
    b'{"x":{"s":"B"},"p":2,"t":[1735689600000,8]}]}}'
)


def feed(source: str, more: str = "", trade: str = "trade_id: id") -> Foreign:
    fields = TRADE.replace("trade_id: id", f"{trade}")
    text = f"description: test\nsource:\n  format: json\n{source}\n{fields}{more}"
    return Foreign(feed_of("test", "test.yaml", text), ())


FLAT = feed("  columns: {symbol: $.s, price: $.p, time: $.T, id: $.t}")
LIST = feed(
    """  trades: $.data.list
  record: {channel: $.channel}
  columns: {symbol: $.x.s, price: $.p, time: "$.t[0]", id: "$.t[1]"}""",
    "where: channel = 'trades'\n",
)


def decoded(by: Foreign, *values: bytes) -> Decoded:
    return by.decode(Fetched.of_values(list(values)))


def flat(number: int, **fields: object) -> bytes:
    shown = {"s": '"A"', "p": '"1"', "T": "1735689600000", "t": number, **fields}
    return ("{" + ",".join(f'"{key}":{value}' for key, value in shown.items()) + "}").encode()


def places(found: Decoded) -> list[tuple[int, int, int]]:
    """(record, index, trade_id) of each trade."""
    return list(zip(found.record.tolist(), found.index.tolist(), found.trades["trade_id"].tolist(), strict=True))


def reasons(found: Decoded) -> list[tuple[int, int | None, str]]:
    alone = [(one.record, one.index, one.reason) for one in found.refused]
    return sorted([*((at, None, reason) for at, reason in found.broken), *alone], key=str)


def test_a_list_under_a_path_has_a_trade_for_each_element_with_what_is_around_it() -> None:
    found = decoded(LIST, NESTED)
    assert places(found) == [(0, 0, 7), (0, 1, 8)]
    assert found.trades["symbol"].tolist() == [b"A", b"B"]


def test_a_record_without_the_list_is_left_out_by_where_and_refused_without() -> None:
    beat, empty = b'{"channel":"heartbeat"}', b'{"channel":"trades","data":{"list":[]}}'
    found = decoded(LIST, beat, NESTED, empty)
    assert found.filtered.tolist() == [0]
    assert places(found) == [(1, 0, 7), (1, 1, 8)]
    assert reasons(found) == [(2, 0, "symbol is missing")]


def test_one_object_where_a_list_is_expected_is_one_trade() -> None:
    one = b'{"channel":"trades","data":{"list":{"x":{"s":"A"},"p":"1","t":[1735689600000,9]}}}'
    assert places(decoded(LIST, one)) == [(0, 0, 9)]


def test_lists_in_a_list_are_taken_apart() -> None:
    by = feed('  trades: "$.events[*].trades[*]"\n  columns: {symbol: $.s, price: $.p, time: $.T, id: $.t}')
    value = b'{"events":[{"trades":[' + flat(1) + b"," + flat(2) + b']},{"trades":[' + flat(3) + b"]}]}"
    assert places(decoded(by, value)) == [(0, 0, 1), (0, 1, 2), (0, 2, 3)]
    assert by.alone(value) is None


def test_an_array_that_is_one_trade() -> None:
    by = feed('  trades: $\n  columns: {symbol: "$[2]", price: "$[1][0]", time: "$[1][1]", id: "$[0]"}')
    value = b'[5,["1.5","1735689600.25"],"XBT/USD"]'
    found = decoded(by, value)
    assert places(found) == [(0, 0, 5)]
    assert found.trades["event_ns"].tolist() == [1_735_689_600_250_000_000]


def test_a_list_of_values_is_a_list() -> None:
    by = feed(
        '  columns: {symbol: $.s, price: $.p, time: $.T, id: $.t, codes: "$.c[*]"}', trade="trade_conditions: codes"
    )
    found = decoded(by, flat(1, c='["14","T"]'), flat(2), flat(3, c="[]"), flat(4, c="[37,41]"))
    assert [unpack(bytes(one)) for one in found.trades["trade_conditions"]] == [["14", "T"], [], [], ["37", "41"]]


def test_lines_arrays_and_objects_may_come_in_one_batch_and_a_bad_part_is_refused_alone() -> None:
    lines = flat(1) + b"\r\n" + flat(2)[:-3] + b"\n\n" + flat(3) + b"\n"
    array = b" [" + flat(4) + b", 7, " + flat(5, p='"x"') + b"," + flat(6) + b"]"
    found = decoded(FLAT, flat(0), lines, array, b"\xef\xbb\xbf" + flat(7))
    assert places(found) == [(0, 0, 0), (1, 0, 1), (1, 2, 3), (2, 0, 4), (2, 3, 6), (3, 0, 7)]
    assert [(record, index) for record, index, _ in reasons(found)] == [(1, 1), (2, 1), (2, 2)]


def test_an_object_on_several_lines_is_one_trade() -> None:
    assert places(decoded(FLAT, flat(1).replace(b",", b",\n"), flat(2).replace(b",", b"\n,"))) == [(0, 0, 1), (1, 0, 2)]


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (NESTED.replace(b'"p":"1"', b'"p":"1","p":"1"'), "p"),
        (NESTED.replace(b'{"s":"A"}', b'{"s":"A","s":"B"}'), "s"),
        (NESTED.replace(b'"data"', b'"data":[],"data"'), "data"),
        (NESTED.replace(b'"list"', b'"list":[],"list"'), "list"),
        (NESTED.replace(b'"channel"', b'"channel":1,"\\u0063hannel"'), "channel"),
    ],
)
def test_a_key_that_is_there_twice_on_the_way_of_a_path_is_refused(value: bytes, key: str) -> None:
    assert f"{key} is there twice" in {reason for _, _, reason in reasons(decoded(LIST, value))}


def test_a_set_of_keys_that_was_good_before_does_not_hide_another() -> None:
    for _ in range(2):
        found = decoded(FLAT, flat(1), flat(2, z=1), flat(3)[:-1] + b',"s":"B"}', flat(4, y=1))
        assert places(found) == [(0, 0, 1), (1, 0, 2), (3, 0, 4)]
        assert reasons(found) == [(2, None, "s is there twice")]


@pytest.mark.parametrize("around", ["{}", "[1,{}]", '{{"a":{}}}'])
@given(digits=st.from_regex(r"-?(0|[1-9][0-9]{0,16})(\.[0-9]{1,16})?([eE][+-]?[0-9]{1,4})?", fullmatch=True))
def test_numbers_become_texts_only_where_a_float_may_not_hold_them(around: str, digits: str) -> None:
    (text,) = by_digits(joined([b'{"a":' + around.format(digits).encode() + b"}"])).to_pylist()
    plain, quoted = around.format(digits), around.format(f'"{digits}"')
    assert text in ('{"a":' + plain + "}", '{"a":' + quoted + "}")
    if text == '{"a":' + plain + "}" and any(sign in digits for sign in ".eE"):
        assert Decimal(repr(float(digits))) == Decimal(digits) or abs(Decimal(digits)) > Decimal("1e300")


@given(text=st.text(st.sampled_from('ab:, []{}"\\1234567890.eE-'), max_size=60))
def test_a_text_with_numbers_stays_as_it_is(text: str) -> None:
    value = orjson.dumps({"a": text, "b": [1, text]})
    assert by_digits(joined([value, b'{"p":1.2345678901234567}']))[0].as_py().encode() == value


def test_a_long_number_is_exact_in_every_layout() -> None:
    long = "123456789.123456789012"
    object_, array = flat(1, p=long), b"[" + flat(2, p=long) + b"]"
    lines = flat(3, p=long) + b"\n" + flat(4, p=f'"{long}"')
    prices = decoded(FLAT, object_, array, lines).trades["price"]
    assert [as_decimal(price) for price in prices] == [Decimal(long)] * 4


def test_batches_of_large_records_are_read_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("k2ctl.feeds.formats.json_records._SLICE_BYTES", 200)
    values = [flat(number) for number in range(20)]
    values[3] = b"[" + flat(3) + b"," + flat(99, p='"x"') + b"]"
    values[7] = b"x" * 500
    found = decoded(FLAT, *values)
    assert found.record.tolist() == [at for at in range(20) if at != 7]
    assert [(record, index) for record, index, _ in reasons(found)] == [(3, 1), (7, None)]


def test_batches_of_other_columns_do_not_disturb_each_other() -> None:
    array = b"[" + flat(1) + b"," + flat(2) + b"]"
    for values, numbers in [
        ([flat(5)], [5]),
        ([array], [1, 2]),
        ([flat(6), flat(7)], [6, 7]),
        ([array, flat(8)], [1, 2, 8]),
    ]:
        assert decoded(FLAT, *values).trades["trade_id"].tolist() == numbers


def test_a_record_that_is_too_large_is_refused_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("k2ctl.feeds.formats.json_records._LARGEST_BYTES", 100)
    found = decoded(FLAT, flat(1), flat(2, x='["' + "x" * 100 + '"]'), flat(3))
    assert found.record.tolist() == [0, 2]
    assert reasons(found) == [(1, None, "150 bytes of JSON, more than 100")]


def test_no_records_are_no_trades() -> None:
    assert len(decoded(FLAT).trades) == len(decoded(LIST).trades) == 0


def test_what_a_dead_letter_of_one_trade_holds_is_read_as_that_trade() -> None:
    for at, value in enumerate(parts_of(NESTED, "$.data.list") or []):
        assert decoded(LIST, value).trades["trade_id"].tolist() == [7 + at]
    lines = flat(1) + b"\n" + flat(2)
    assert parts_of(lines, None) == [flat(1), flat(2)]
    assert parts_of(b'[{"a":[1,2]} , 7,"x]"]', None) == [b'{"a":[1,2]}', b"7", b'"x]"']


def test_a_path_that_is_none_is_refused() -> None:
    assert [step.key for step in steps_of('$.a."b c"[3][*].d')] == ["a", "b c", 3, None, "d"]
    with pytest.raises(ValueError, match="is no step of a path"):
        steps_of("$.a[-1]")


def test_columns_of_the_records_follow_their_trades() -> None:
    by = feed("  columns: {symbol: $.s, price: $.p, time: $.T, id: $.t}", trade="trade_id: kafka_offset")
    array = b"[" + flat(1) + b"," + flat(2) + b"]"
    fetched = Fetched([b"no", array, flat(3)], np.zeros(3, np.int32), np.array([10, 11, 12]), 0, 0)
    assert by.decode(fetched).trades["trade_id"].tolist() == [11, 11, 12]
