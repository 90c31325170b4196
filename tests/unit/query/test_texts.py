"""Values as texts: to the last digit."""

import uuid
from decimal import Decimal

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.domain.rows import decimals
from k2ctl.domain.validity import MANTISSA_LIMIT
from k2ctl.query.formats import text_column


def test_decimals_keep_every_digit_that_counts_and_no_exponent() -> None:
    import numpy as np

    mantissas = np.array([4512000000, 10000000000, 1, -1, 0, -1050000000], np.int64)
    texts = text_column(pa.chunked_array([decimals(mantissas)]))
    assert texts == ["45.12", "100", "0.00000001", "-0.00000001", "0", "-10.5"]


@given(st.lists(st.integers(1 - MANTISSA_LIMIT, MANTISSA_LIMIT - 1)))
def test_decimal_texts_are_equal_to_the_decimals(mantissas: list[int]) -> None:
    import numpy as np

    texts = text_column(pa.chunked_array([decimals(np.array(mantissas, np.int64))]))
    assert [Decimal(text or "") for text in texts] == [Decimal(m).scaleb(-8) for m in mantissas]


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
