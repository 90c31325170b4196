"""A feed's expressions over a batch: what they may be, what they may give, and what fails for one record alone."""

import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from k2ctl.domain.conditions import unpack
from k2ctl.domain.decimals import as_decimal
from k2ctl.domain.trade import CANCEL, LATEST_ALIKE, NO_SEQUENCE
from k2ctl.errors import ProfileError
from k2ctl.feeds.mapping.mapping import Mapped, Mapping, Prepared
from k2ctl.profiles.feed import DeclaredFeed, feed_of

BASE = {
    "symbol": "'BHP'", "exchange": "'ASX'", "asset_class": "'equities'", "timestamp": "1767225600000000001",
    "price": "'1.5'", "quantity": "1", "trade_id": "7",
}  # fmt: skip


def declared(trade: dict[str, str], *, source: str = "", more: str = "", identity: str = "[trade_id]") -> DeclaredFeed:
    """A feed over the columns a, b, trade_id and so on, of any types."""
    fields = "\n".join(f"  {name}: {text!r}" for name, text in {**BASE, **trade}.items())
    text = f"description: d\nsource: {{format: avro{source}}}\ntrade:\n{fields}\nidentity: {identity}\n{more}"
    return feed_of("mine", "mine.yaml", text)


def mapped(feed: DeclaredFeed, **columns: Any) -> Mapped:
    """The trades of some columns of equal length."""
    arrays = {name: column if isinstance(column, pa.Array) else pa.array(column) for name, column in columns.items()}
    count = len(next(iter(arrays.values())))
    arrays.setdefault("trade_id", pa.array(np.arange(count)))
    places = {"_record": np.arange(count), "_index": np.zeros(count, np.int32), "_bad": np.zeros(count, np.bool_)}
    return Mapping(feed).trades(Prepared(pa.table({**places, **arrays})))


def only(trade: dict[str, str], *, source: str = "", **columns: Any) -> np.ndarray:
    """The trades, all of which are good."""
    found = mapped(declared(trade, source=source), **columns)
    assert found.refused == []
    return found.trades


def refusal(trade: dict[str, str], *, source: str = "", **columns: Any) -> str:
    """Why the one record is no trade."""
    found = mapped(declared(trade, source=source), **columns)
    assert len(found.trades) == 0
    (one,) = found.refused
    return one.reason


def mistake(trade: dict[str, str], **more: Any) -> str:
    with pytest.raises(ProfileError) as raised:
        mapped(declared(trade, **more), a=["1"], b=[1.5])
    return str(raised.value)


def test_what_fails_for_one_record_leaves_its_batch_alone() -> None:
    found = mapped(declared({"price": "CAST(a AS DECIMAL(10, 2)) / 2"}), a=["3", "x", "5"])
    assert [as_decimal(price) for price in found.trades["price"]] == [Decimal("1.5"), Decimal("2.5")]
    assert [(one.record, one.reason) for one in found.refused] == [(1, 'price is missing (a = "x")')]


@pytest.mark.parametrize(
    ("column", "price"),
    [
        (["0.000000000001"], "0.000000000001"),
        (["42313.10000000000000000"], "42313.1"),
        (["-40.32"], "-40.32"),
        (["1e-7"], "0.0000001"),
        ([5], "5"),
        ([0.1], "0.1"),
        (pa.array([Decimal("1.2345")]), "1.2345"),
        (pa.array([Decimal("1.5000000000000000")]), "1.5"),
    ],
)
def test_a_decimal_is_exact_whatever_it_came_as(column: Any, price: str) -> None:
    assert as_decimal(only({"price": "a", "asset_class": "'futures'"}, a=column)["price"][0]) == Decimal(price)


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (["1.1234567890123"], 'price is "1.1234567890123", of more than 12 decimal places'),
        ([0.1 + 0.2], 'price is "0.30000000000000004", of more than 12 decimal places'),
        (["1e999999"], 'price is "1e999999", beyond 10^15'),
        (["1_000"], 'price is "1_000", not a decimal'),
        (["0x10"], 'price is "0x10", not a decimal'),
        (pa.array([None], pa.string()), "price is missing"),
    ],
)
def test_a_decimal_that_is_not_exact_is_refused_with_its_digits(column: Any, reason: str) -> None:
    assert reason in refusal({"price": "a"}, a=column)


NANOSECONDS = 1_767_225_600_123_456_789


@pytest.mark.parametrize(
    ("source", "column"),
    [
        ("", [NANOSECONDS]),
        ("", [str(NANOSECONDS)]),
        (", time_unit: ns", [str(NANOSECONDS)]),
        ("", ["1767225600.123456789"]),
        ("", ["1767225600123.456789"]),
        ("", ["2026-01-01T00:00:00.123456789Z"]),
        ("", ["2026-01-01 01:00:00.1234567890+01:00"]),
        (", zone: Australia/Sydney", ["2026-01-01T11:00:00.123456789"]),
        (", zone: Australia/Sydney", ["2026-01-01T00:00:00.123456789Z"]),
        ("", pa.array([NANOSECONDS], pa.timestamp("ns"))),
        (", zone: Australia/Sydney", pa.array([NANOSECONDS + 11 * 3_600 * 10**9], pa.timestamp("ns"))),
    ],
)
def test_a_time_is_exact_to_the_nanosecond_whatever_it_came_as(source: str, column: Any) -> None:
    assert only({"timestamp": "a"}, source=source, a=column)["event_ns"].tolist() == [NANOSECONDS]


@pytest.mark.parametrize("number", [1_767_225_600, 1_767_225_600_000, 1_767_225_600_000_000])
def test_the_unit_of_a_number_shows_in_its_size(number: int) -> None:
    for value in (number, str(number)):
        assert only({"timestamp": "a"}, a=[value])["event_ns"].tolist() == [1_767_225_600 * 10**9]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("", "2026-01-01T00:00:00"),
        ("", "2026-02-30T00:00:00Z"),
        ("", "2026-01-01T00:00:00.0000000001Z"),
        ("", "yesterday"),
        ("", ""),
        ("", "1_767_225_600"),
        (", zone: Australia/Sydney", "2026-10-04T02:30:00"),
    ],
)
def test_a_time_that_is_none_is_refused(source: str, text: str) -> None:
    assert refusal({"timestamp": "a"}, source=source, a=[text]).startswith(f'timestamp is "{text}", neither')


def test_clock_times_of_a_day_are_in_the_zone_of_the_venue() -> None:
    at = {"timestamp": "at_clock('20240701', hhmmss(a))"}
    trades = only(at, source=", zone: America/New_York, time_unit: ns", a=["093000123456789"])
    assert trades["event_ns"].tolist() == [1_719_840_600_123_456_789]
    seconds = {"timestamp": "at_clock(b, seconds(a))"}
    trades = only(seconds, source=", zone: America/New_York, time_unit: ns", a=["34200.000000001"], b=["2024-07-01"])
    assert trades["event_ns"].tolist() == [1_719_840_600_000_000_001]


def test_sides_and_conditions_are_taken_as_venues_write_them() -> None:
    trades = only({"side": "a", "trade_conditions": "b"}, a=["buy", "Sell", None], b=["@ TI", '["12",37]', None])
    assert trades["side"].tolist() == [0, 1, 3]
    assert [unpack(bytes(field)) for field in trades["trade_conditions"]] == [["@", "TI"], ["12", "37"], []]
    lists = only({"trade_conditions": "a"}, a=pa.array([[12, 37], []], pa.list_(pa.int32())))
    assert [unpack(bytes(field)) for field in lists["trade_conditions"]] == [["12", "37"], []]


def test_a_number_that_is_not_there_is_none() -> None:
    trades = only({"source_sequence": "a"}, a=pa.array([5, None], pa.int64()))
    assert trades["source_sequence"].tolist() == [5, NO_SEQUENCE]


def test_a_whole_number_is_the_id_within_venue_and_symbol_whatever_it_came_as() -> None:
    texts = only({"symbol": "b"}, trade_id=["7", "8", "7"], b=["A", "A", "B"])["message_id"]
    numbers = only({"symbol": "b"}, trade_id=[7, 8, 7], b=["A", "A", "B"])["message_id"]
    assert texts.tobytes() == numbers.tobytes()
    words = np.ascontiguousarray(texts).view(">u8").reshape(-1, 2)
    assert words[:, 1].tolist() == [7, 8, 7]
    assert words[0, 0] == words[1, 0] != words[2, 0]


def test_any_other_id_is_a_digest_of_what_it_is_made_of() -> None:
    ids = only({"symbol": "b"}, trade_id=["007", "7a", "7a", "7a"], b=["A", "A", "A", "B"])["message_id"]
    several = [uuid.UUID(bytes=bytes(one)) for one in ids]
    assert several[1] == several[2]
    assert len(set(several)) == 3
    assert {one.version for one in several} == {8}


def test_without_its_id_a_record_is_refused() -> None:
    assert refusal({}, trade_id=pa.array([None], pa.string())) in ("trade_id is missing", "identity is missing")
    found = mapped(declared({}, identity="[a, b]"), a=["x"], b=pa.array([None], pa.string()))
    assert [one.reason for one in found.refused] == ["identity is missing"]


def test_a_correction_refers_to_an_id_of_the_same_form() -> None:
    feed = declared({"action": "a"}, more="refers_to: [b]\n")
    original = mapped(declared({}), trade_id=[7], a=["NEW"]).trades["message_id"][0]
    found = mapped(feed, trade_id=[8, 9, 10], a=["CORRECT", "cancel", "CORRECT"], b=pa.array([7, None, None]))
    assert found.trades["refers_to"][0] == original
    assert (found.trades["action"][1], found.trades["refers_to"][1]) == (CANCEL, LATEST_ALIKE)
    assert [one.reason for one in found.refused] == ["refers_to is missing, though action is CORRECT"]


def test_what_where_says_is_no_trade_is_left_out_and_counted() -> None:
    found = mapped(declared({}, more="where: a = 'trade'\n"), a=["trade", "quote", None])
    assert (found.record.tolist(), found.filtered.tolist(), found.refused) == ([0], [1, 2], [])


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("nothing", 'Referenced column "nothing" not found'),
        ("a +", "syntax error"),
        ("a) FROM records, (SELECT 1", "not one expression"),
        ("a, b", "TUPLE(VARCHAR, DOUBLE), where a number"),
        ("row_number() OVER ()", "a window function"),
        ("(SELECT max(a) FROM records)", "a subquery"),
        ("max(a)", "aggregate"),
        ("random()", "volatile"),
        ("epoch_ns(now())", "now: it is another each time"),
        ("year(current_date)", "current_date: it is another each time"),
        ("year(age(a::TIMESTAMP))", "age: it is another each time"),
        ("getenv('HOME')", "getenv"),
        ("read_text('/etc/passwd')", "read_text"),
        ("a = '1'", "BOOLEAN, where a number or the text of one is needed"),
    ],
)
def test_an_expression_that_cannot_be_is_refused_with_its_line(expression: str, reason: str) -> None:
    said = mistake({"price": expression})
    assert said.startswith("mine.yaml:8: trade.price: ")
    assert reason.lower() in said.lower()


def test_a_comment_in_an_expression_ends_with_it() -> None:
    assert as_decimal(only({"price": "a -- the price"}, a=["2"])["price"][0]) == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("where: a", "mine.yaml:12: where: VARCHAR, where true or false is needed"),
        ("wher: a", "mine.yaml:12: wher: unknown key"),
        ("sequence: {numbers: ordered}", "mine.yaml:1: feed: sequence says what trade.source_sequence is"),
    ],
)
def test_a_mistake_names_its_line(line: str, reason: str) -> None:
    assert reason in mistake({}, more=line)


@pytest.mark.parametrize("columns", ["[t, T]", "{t: $.t, T: $.T}", "[a, b, a]"])
def test_columns_that_are_one_to_sql_are_refused(columns: str) -> None:
    text = f"description: d\nsource:\n  format: json\n  columns: {columns}\ntrade: {{}}\nidentity: [t]\n"
    with pytest.raises(ProfileError, match=r"mine\.yaml:2: source: .*are one to SQL"):
        feed_of("mine", "mine.yaml", text)
