"""Bars: which prints count, whose days they follow, and exact figures at the ends of the range."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2ctl.domain.conditions import CONDITIONS_TYPE
from k2ctl.domain.days import UTC_DAYS, BarLength, DayRule
from k2ctl.domain.decimals import DECIMAL_TYPE
from k2ctl.profiles import load_profile
from k2ctl.profiles.conditions import conditions_of, load_conditions, tables_of_exchanges
from k2ctl.query.bars import PIECES, TOO_WIDE, BarRules, bars_sql, with_vwap

BASE_US = 1_767_225_600_000_000
MINUTE = BarLength(us=60_000_000)
DAY = BarLength(days=1)
Print = tuple[str, str, int, str]
"""Price, quantity, µs since `BASE_US`, codes with spaces between."""


def prints(trades: Sequence[Print]) -> pa.Table:
    prices, quantities, times, codes = zip(*trades, strict=True)
    count = len(trades)
    return pa.table(
        {
            "symbol": ["S"] * count,
            "timestamp": pa.array([BASE_US + time for time in times], pa.timestamp("us", "UTC")),
            "timestamp_nanos": pa.array([0] * count, pa.int32()),
            "price": pa.array(map(Decimal, prices), DECIMAL_TYPE),
            "quantity": pa.array(map(Decimal, quantities), DECIMAL_TYPE),
            "trade_conditions": pa.array([each.split() for each in codes], CONDITIONS_TYPE),
            "kafka_partition": pa.array([0] * count, pa.int32()),
            "kafka_offset": pa.array(range(count), pa.int64()),
            "kafka_index": pa.array([0] * count, pa.int32()),
        }
    )


def bars(trades: pa.Table, rules: BarRules) -> list[dict[str, Any]]:
    """The bars, which are the same whether turnover is counted in parts or not, if it can be."""
    with duckdb.connect() as connection:
        connection.execute("SET timezone = 'UTC'")
        connection.register("prints", trades)
        if rules.by_days:
            times = trades["timestamp"].cast(pa.int64()).to_pylist()
            connection.register(PIECES, rules.pieces(min(times), max(times)))
        found = [_run(connection, rules, in_parts=in_parts) for in_parts in (True, False)]
    assert found[1] in (found[0], [])
    return found[0]


def _run(connection: duckdb.DuckDBPyConnection, rules: BarRules, *, in_parts: bool) -> list[dict[str, Any]]:
    try:
        table = connection.sql(bars_sql("SELECT * FROM prints", rules, in_parts=in_parts)).to_arrow_table()
    except duckdb.OutOfRangeException as error:
        if in_parts or TOO_WIDE not in str(error):
            raise
        return []
    return with_vwap(table).to_pylist()


def one(trades: Sequence[Print], table: str | None, length: BarLength = MINUTE) -> dict[str, Any]:
    """The one bar of some prints, numbers as texts."""
    (bar,) = bars(prints(trades), BarRules(length, conditions=load_conditions(table) if table else None))
    return {name: f"{value.normalize():f}" if isinstance(value, Decimal) else value for name, value in bar.items()}


def ohlcv(trades: Sequence[Print], table: str | None) -> tuple[object, ...]:
    bar = one(trades, table)
    return tuple(bar[name] for name in ("open", "high", "low", "close", "volume"))


@pytest.mark.parametrize(
    ("exchange", "asset_class", "high"),
    [
        ("ASX", "equities", "12"),  # 3 is an off-market crossing there
        ("CXA", "equities", "12"),
        ("XNAS", "equities", "50"),  # I is an odd lot there, and 3 nothing
        ("FINN", "equities", "50"),
        ("TSE", "equities", "99"),
        ("BINANCE", "crypto", "99"),
    ],
)
def test_prints_of_another_exchange_in_the_topic_of_a_market_obey_their_own_table(
    exchange: str, asset_class: str, high: str
) -> None:
    market = load_profile("laptop").market
    trades = prints([("10", "1", 10, "I" if exchange != "ASX" else ""), ("12", "1", 20, ""), ("50", "1", 30, "3")])
    trades = pa.concat_tables([trades, prints([("99", "1", 40, "I 3")])])
    for name, value in (("exchange", exchange), ("asset_class", asset_class)):
        trades = trades.append_column(name, pa.array([value] * len(trades)))
    rules = BarRules(
        MINUTE,
        conditions=conditions_of(market),
        exchange=market.exchange,
        of_exchanges=tables_of_exchanges(market),
    ).among(["CXA", "XNAS", "FINN", "TSE", "BINANCE"])
    assert f"{bars(trades, rules)[0]['high'].normalize():f}" == high


def test_a_table_that_a_market_names_is_that_of_all_its_trades() -> None:
    market = load_profile("laptop").market
    assert tables_of_exchanges(market.model_copy(update={"conditions": "us-tape"})) == {}
    assert tables_of_exchanges(market.model_copy(update={"asset_class": "crypto"})) == {}


LATE = [("10", "1", 10, "@"), ("12", "1", 20, "@"), ("99", "1", 5, "@ZT")]


def test_a_late_print_of_extended_hours_is_in_the_volume_alone() -> None:
    assert ohlcv(LATE, "us-tape") == ("10", "12", "10", "12", "3")
    assert one(LATE, "us-tape")["vwap"] == "40.333333333333"
    assert one(LATE, "us-tape")["trades"] == 3


def test_a_text_of_several_characters_is_several_codes_on_the_us_tape_and_one_elsewhere() -> None:
    codes = [(price, quantity, time, "XT" if code == "@ZT" else code) for price, quantity, time, code in LATE]
    assert ohlcv(codes, "us-tape") == ("10", "12", "10", "12", "3")
    assert ohlcv(codes, "asx") == ("99", "99", "10", "12", "3")


def test_all_prints_count_where_no_table_says_otherwise() -> None:
    assert ohlcv(LATE, None) == ohlcv(LATE, "all") == ("99", "99", "10", "12", "3")


def test_a_print_out_of_sequence_sets_high_and_low_and_the_last_price_only_if_it_is_alone() -> None:
    assert ohlcv([("10", "1", 1, ""), ("12", "1", 2, "Z")], "us-tape") == ("10", "12", "10", "10", "2")
    assert ohlcv([("13", "1", 1, "Z"), ("12", "1", 2, "Z")], "us-tape") == ("13", "13", "12", "13", "2")


def test_an_official_close_is_in_no_figure_and_only_such_prints_make_a_bar_without_prices() -> None:
    assert ohlcv([("10", "1", 1, "@"), ("11", "500", 2, "M")], "us-tape") == ("10", "10", "10", "10", "1")
    assert ohlcv([("11", "500", 2, "M")], "us-tape") == (None, None, None, None, "0")
    assert one([("11", "500", 2, "M")], "us-tape")["vwap"] is None


def test_an_off_market_crossing_on_asx_is_in_the_volume_alone() -> None:
    assert ohlcv([("38.50", "100", 1, "0"), ("37", "500000", 2, "3 X"), ("38.51", "10", 3, "25")], "asx") == (
        *("38.5", "38.51", "38.5", "38.51"),
        "500110",
    )


def test_trades_of_one_time_count_in_the_order_of_their_arrival() -> None:
    same = [(str(price), "1", 7, "") for price in (5, 4, 6, 3)]
    assert ohlcv(same, None)[:4] == ("5", "6", "3", "3")
    assert one(same, None, BarLength(days=3))["close"] == "3"


def test_a_price_at_the_end_of_the_range_has_a_bar() -> None:
    bar = one([("9999999999.99999999", "1", 1, "")], None)
    assert bar["vwap"] == bar["open"] == "9999999999.99999999"


def test_quantities_and_prices_at_the_ends_of_the_range_give_exact_figures() -> None:
    largest = [
        ("1000000000000000", "1000000000000000", 1, ""),
        ("999999999999999.999999999999", "1000000000000000", 2, ""),
    ]
    bar = one(largest, None)
    assert bar["volume"] == "2000000000000000"
    assert bar["vwap"] == "1000000000000000"  # a half of the last digit is rounded to the even one
    assert one([("0.0000000001", "1000000000000", 1, ""), ("0.0000000003", "1", 2, "")], None)["vwap"] == "0.0000000001"
    assert one([("0.000000000001", "0.000000000001", 1, "")], None)["vwap"] == "0.000000000001"
    assert one([("-40.32", "3", 1, ""), ("10.01", "1", 2, "")], None)["vwap"] == "-27.7375"


def test_bars_of_fixed_length_before_1970_begin_at_or_before_their_trades() -> None:
    table = prints([("1", "1", -BASE_US - 1, "")])
    assert bars(table, BarRules(DAY))[0]["bar_start"] == datetime(1969, 12, 31, tzinfo=UTC)


def test_bars_of_a_day_follow_the_zone_or_the_session_and_name_the_date() -> None:
    evening = 12 * 3_600_000_000  # noon of 2026-01-01 in UTC, 23:00 in Sydney
    table = prints([("1", "1", evening, ""), ("2", "1", evening + 3_600_000_000, "")])
    sydney = bars(table, BarRules(DAY, DayRule("Australia/Sydney")))
    assert [(bar["day"], bar["open"]) for bar in sydney] == [(date(2026, 1, 1), 1), (date(2026, 1, 2), 2)]
    assert sydney[1]["bar_start"] == datetime(2026, 1, 1, 13, tzinfo=UTC)
    (venue,) = bars(table, BarRules(DAY, DayRule(session="XASX")))  # the first of January is a holiday
    assert (venue["day"], venue["open"], venue["close"]) == (date(2026, 1, 2), 1, 2)
    assert "day" not in bars(table, BarRules(DAY))[0]


@pytest.mark.parametrize(
    ("length", "day"), [("1w", date(2025, 12, 29)), ("1mo", date(2026, 1, 1)), ("2d", date(2026, 1, 1))]
)
def test_weeks_and_months_hold_all_trades_of_theirs(length: str, day: date) -> None:
    table = prints([("1", "1", 0, ""), ("2", "1", 86_399_999_999, "")])
    found = bars(table, BarRules(BarLength.parse(length), UTC_DAYS))
    assert [bar["volume"] for bar in found] == [2]
    assert found[0]["bar_start"].date() <= day


def test_parts_of_a_day_are_counted_from_the_start_of_the_day_that_is_asked_for() -> None:
    table = prints([("1", "1", 3_600_000_000, "")])  # 01:00 in UTC, 06:30 in India
    found = bars(table, BarRules(BarLength.parse("4h"), DayRule("Asia/Kolkata")))
    assert found[0]["bar_start"] == datetime(2025, 12, 31, 22, 30, tzinfo=UTC)
    before = bars(prints([("1", "1", 79_200_000_000, "")]), BarRules(BarLength.parse("4h"), DayRule(session="XASX")))
    assert before[0]["bar_start"] == datetime(2026, 1, 1, 19, tzinfo=UTC)  # it opens at 23:00


def test_bars_of_days_begin_before_1970_and_at_any_hour() -> None:
    table = prints([("1", "1", -BASE_US - 7_200_000_001, ""), ("2", "1", -BASE_US - 1, ""), ("3", "1", 0, "")])
    found = bars(table, BarRules(DAY, DayRule("Europe/Athens")))  # two hours before UTC
    assert [(str(bar["day"]), bar["close"]) for bar in found] == [
        ("1969-12-31", 1),
        ("1970-01-01", 2),
        ("2026-01-01", 3),
    ]


decimals = st.integers(1, 10**27).map(lambda mantissa: Decimal(mantissa).scaleb(-12, Context(prec=60)))
amounts = decimals | st.integers(1, 10**6).map(lambda cents: Decimal(cents).scaleb(-2))
signed = st.tuples(amounts, st.sampled_from((1, 1, 1, -1))).map(lambda pair: pair[0].copy_sign(pair[1]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(signed, amounts), min_size=1, max_size=20))
def test_every_figure_of_a_bar_is_that_of_exact_fractions(trades: list[tuple[Decimal, Decimal]]) -> None:
    (bar,) = bars(prints([(str(p), str(q), at, "") for at, (p, q) in enumerate(trades)]), BarRules(MINUTE))
    turnover = sum(Fraction(price) * Fraction(quantity) for price, quantity in trades)
    volume = sum(Fraction(quantity) for _, quantity in trades)
    mantissa = round(turnover / volume * 10**12)  # half to even
    with localcontext(prec=60):
        assert bar["vwap"] == Decimal(mantissa).scaleb(-12)
    assert Fraction(bar["volume"]) == volume
    prices = [price for price, _ in trades]
    assert (bar["open"], bar["high"], bar["low"], bar["close"]) == (prices[0], max(prices), min(prices), prices[-1])
