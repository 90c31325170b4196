"""Values as texts: to the last digit."""

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.domain.decimals import DECIMAL, DECIMAL_LIMIT, DECIMAL_ONE, of_int, of_text, to_arrow
from k2ctl.query.formats import text_column
from k2ctl.query.texts import with_nanoseconds


def column_of(mantissas: list[int]) -> pa.ChunkedArray:
    return pa.chunked_array([to_arrow(np.array([of_int(mantissa) for mantissa in mantissas], DECIMAL))])


def test_decimals_keep_every_digit_that_counts_and_no_exponent() -> None:
    values = ["45.12", "100", "0.000000000001", "-0.000000000001", "0", "-10.5", "999999999999999.999999999999"]
    column = pa.chunked_array([to_arrow(np.array([of_text(value) for value in values], DECIMAL))])
    assert text_column(column) == values


@given(st.lists(st.integers(-DECIMAL_LIMIT, DECIMAL_LIMIT)))
def test_decimal_texts_are_equal_to_the_decimals(mantissas: list[int]) -> None:
    texts = text_column(column_of(mantissas))
    assert [Fraction(text or "") for text in texts] == [Fraction(mantissa, DECIMAL_ONE) for mantissa in mantissas]


def test_missing_decimals_stay_missing_also_in_a_slice() -> None:
    column = pa.array([Decimal("1.5"), None, Decimal("2")], pa.decimal128(18, 8))
    assert text_column(pa.chunked_array([column])) == ["1.5", None, "2"]
    assert text_column(pa.chunked_array([column.slice(1)])) == [None, "2"]


def test_times_are_utc_with_microseconds() -> None:
    column = pa.chunked_array([pa.array([1_394_410_202_000_001], pa.timestamp("us", "UTC"))])
    assert text_column(column) == ["2014-03-10T00:10:02.000001Z"]


def test_ids_are_canonical_uuids_also_in_a_slice() -> None:
    ids = [uuid.UUID(int=number) for number in (1, 2**127 + 5, 77)]
    array = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([i.bytes for i in ids], pa.binary(16)))
    assert text_column(pa.chunked_array([array])) == [str(i) for i in ids]
    assert text_column(pa.chunked_array([array.slice(1, 1)])) == [str(ids[1])]


def test_columns_that_sql_computes_are_texts_too() -> None:
    wide = pa.chunked_array([pa.array([Decimal("12345678901234567890.50000000"), None], pa.decimal128(38, 8))])
    assert text_column(wide) == ["12345678901234567890.5", None]
    assert text_column(pa.chunked_array([pa.array([1.5, None])])) == ["1.5", None]
    assert text_column(pa.chunked_array([pa.array([[1, 2], None])])) == ["[1,2]", None]


NANOSECONDS = st.integers(631_152_000 * 10**9, 2**63 - 1)


def instants(nanoseconds: list[int]) -> pa.Table:
    """Times as the table has them."""
    numbers = np.array(nanoseconds, np.int64)
    whole = pa.array(numbers // 1000).cast(pa.timestamp("us", "UTC"))
    return pa.table({"timestamp": whole, "timestamp_nanos": pa.array((numbers % 1000).astype(np.int32))})


@given(st.lists(NANOSECONDS | NANOSECONDS.map(lambda time: time // 1000 * 1000), min_size=1))
def test_a_time_has_nine_digits_where_six_do_not_say_all(nanoseconds: list[int]) -> None:
    rows = with_nanoseconds(instants(nanoseconds))
    texts = text_column(rows["timestamp"])
    assert rows.schema.names == ["timestamp"]
    assert texts == [record_time(time) for time in nanoseconds]
    assert text_column(rows.slice(1)["timestamp"]) == texts[1:]


def record_time(nanoseconds: int) -> str:
    """By whole seconds and digits alone."""
    moment = datetime.fromtimestamp(nanoseconds // 10**9, UTC).isoformat().removesuffix("+00:00")
    digits = f"{nanoseconds % 10**9:09d}"
    return f"{moment}.{digits.removesuffix('000') if digits.endswith('000') else digits}Z"


def test_rows_without_times_and_rows_of_microseconds_stay_as_they_are() -> None:
    rows = instants([1_767_225_600_000_001_000])
    assert text_column(with_nanoseconds(rows)["timestamp"]) == ["2026-01-01T00:00:00.000001Z"]
    assert with_nanoseconds(rows.slice(0, 0)).schema.names == ["timestamp"]
    assert with_nanoseconds(pa.table({"a": [1]})) == pa.table({"a": [1]})
