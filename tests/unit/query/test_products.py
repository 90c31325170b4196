"""Prices and quantities that SQL can multiply, with as many places as rows have."""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

import duckdb
import pytest

from k2ctl.query.products import AS_STORED, DOUBLES, Places, may_overflow, multiplies, places_of, too_wide

TRADES = [
    ("BHP", "36.667", "20000"),
    ("BHP", "36.5", "1"),
    ("PEPE", "0.000006984", "23640926208"),
    ("BIGV", "9999999999.99999999", "1000000000000"),
]


@pytest.fixture
def trades() -> Iterator[duckdb.DuckDBPyRelation]:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (symbol VARCHAR, price DECIMAL(38, 12), quantity DECIMAL(38, 12))")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", TRADES)
        relation = connection.table("t")
        relation.create_view("trades_raw")
        yield relation


def test_places_are_those_that_symbols_have_and_those_of_all_together(trades: duckdb.DuckDBPyRelation) -> None:
    with duckdb.connect() as connection:
        connection.register("trades_raw", trades.to_arrow_table())
        assert places_of(connection, "trades_raw") == [Places(3, 0), Places(8, 0), Places(9, 0)]


def test_a_row_with_more_places_ends_a_query_that_reads_it_and_no_other(trades: duckdb.DuckDBPyRelation) -> None:
    shown = Places(3, 0).shown(trades)
    assert shown.filter("symbol = 'BHP'").aggregate("sum(price * quantity)").fetchall() == [(Decimal("733376.500"),)]
    assert shown.aggregate("count(symbol)").fetchall() == [(4,)]
    with pytest.raises(duckdb.Error) as raised:
        shown.aggregate("sum(price * quantity)").fetchall()
    assert too_wide(raised.value)


def test_with_the_places_of_all_a_sum_is_exact_where_38_digits_are_enough(trades: duckdb.DuckDBPyRelation) -> None:
    ((found,),) = Places(9, 0).shown(trades).aggregate("sum(price * quantity)").fetchall()
    assert Fraction(found) == sum(Fraction(price) * Fraction(quantity) for _, price, quantity in TRADES)
    with pytest.raises(duckdb.Error) as raised:
        AS_STORED.shown(trades).aggregate("sum(price * quantity)").fetchall()
    assert too_wide(raised.value)


def test_doubles_hold_every_product(trades: duckdb.DuckDBPyRelation) -> None:
    ((found,),) = DOUBLES.shown(trades).aggregate("sum(price * quantity)").fetchall()
    assert found == pytest.approx(1e22)


def test_only_products_of_the_largest_price_and_quantity_may_overflow() -> None:
    small, none = (Decimal("36"), Decimal("1"), Decimal("20000"), Decimal("1")), (None,) * 4
    assert not may_overflow([small, none])
    assert not may_overflow([none])
    assert may_overflow([small, (Decimal("1"), Decimal("-1e11"), Decimal("3"), Decimal("3"))])


def test_a_query_that_names_no_product_is_run_as_it_is() -> None:
    assert not multiplies("SELECT * FROM trades")
    assert not multiplies("SELECT sum(price), count(*) FROM trades")
    assert multiplies("select sum(PRICE*quantity) from trades")
