"""The quick way of the oracle says yes where the slow one does, and to nothing else."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.clock import SystemClock
from k2ctl.domain.trade import frames
from tests.made_trades import make_rows, make_varied
from tests.support.independent_columns import copies_if_equal, is_plain
from tests.support.independent_reader import row_by_row

Records = list[tuple[int, int, bytes]]


def sent_and_stored(count: int = 40, frame: int = 1) -> tuple[Records, pa.Table]:
    """Trades of every kind, each to its offset or framed, and their rows."""
    trades = make_varied(count)
    rows = make_rows(trades)
    rows.index[:], rows.offset[:] = rows.offset % frame, rows.offset // frame
    stored = rows.to_arrow(SystemClock().now_us())
    plain = [
        column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        for column in stored.columns
    ]
    records = [(0, at, value) for at, value in enumerate(frames(trades, frame))]
    assert all(is_plain(value) for *_, value in records)
    return records, pa.table(plain, stored.column_names)


def changed(stored: pa.Table, column: str, change: Callable[[Any], Any], row: int = 7) -> pa.Table:
    values = stored[column].to_pylist()
    values[row] = change(values[row])
    return stored.set_column(stored.column_names.index(column), column, pa.array(values, stored[column].type))


@pytest.mark.parametrize("frame", [1, 7])
def test_what_is_all_there_is_found_so(frame: int) -> None:
    records, stored = sent_and_stored(frame=frame)
    assert copies_if_equal(records, stored) == row_by_row(records, stored.to_pylist(), "t") == 0
    mixed = stored.take(list(range(len(stored)))[::-1])
    assert copies_if_equal(records, mixed) == 0


def test_copies_are_counted() -> None:
    records, stored = sent_and_stored()
    twice = [*records, *((1, at, value) for _, at, value in records[:3])]
    assert copies_if_equal(twice, stored) == row_by_row(twice, stored.to_pylist(), "t") == 3


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("message_id", lambda _: UUID(int=5)),
        ("trade_id", lambda value: value + 1),
        ("symbol", lambda value: value + "X"),
        ("exchange", lambda value: value + "X"),
        ("asset_class", lambda value: "crypto" if value != "crypto" else "options"),
        ("timestamp", lambda value: value + timedelta(microseconds=1)),
        ("timestamp_nanos", lambda value: value + 1),
        ("ingestion_timestamp", lambda value: value + timedelta(microseconds=1)),
        ("ingestion_timestamp_nanos", lambda value: value + 1),
        ("price", lambda value: value + Decimal("1e-12")),
        ("price", lambda value: -value),
        ("quantity", lambda value: value * 2 + 1),
        ("currency", lambda value: value + "X"),
        ("side", lambda value: "BUY" if value != "BUY" else "SELL"),
        ("trade_conditions", lambda value: [*value, "X"]),
        ("action", lambda value: "CANCEL" if value != "CANCEL" else "CORRECT"),
        ("refers_to", lambda value: UUID(int=5) if value is None else None),
        ("refers_to", lambda value: UUID(int=0) if value is None else None),
        ("source_sequence", lambda value: 0 if value is None else None),
        ("kafka_partition", lambda value: value + 1),
        ("kafka_offset", lambda value: value + 1),
        ("kafka_index", lambda value: value + 1),
        ("committed_at", lambda _: None),
        ("committed_at", lambda value: value + timedelta(days=1)),
    ],
)
@pytest.mark.parametrize("row", [0, 7])
def test_an_altered_value_is_left_to_the_way_row_by_row(column: str, change: Callable[[Any], Any], row: int) -> None:
    records, stored = sent_and_stored()
    altered = changed(stored, column, change, row)
    assert copies_if_equal(records, altered) is None
    with pytest.raises(AssertionError):
        row_by_row(records, altered.to_pylist(), "t")


def test_what_is_missing_doubled_or_not_sent_is_left_to_it_too() -> None:
    records, stored = sent_and_stored()
    assert copies_if_equal(records, stored.slice(1)) is None
    assert copies_if_equal(records, pa.concat_tables([stored, stored.slice(5, 1)])) is None
    assert copies_if_equal(records[:-1], stored) is None
    assert copies_if_equal([], stored) is None


@given(st.integers(0, 40 * 200 - 1), st.integers(1, 255))
def test_of_records_with_a_flipped_byte_both_ways_say_the_same(at: int, flip: int) -> None:
    records, stored = sent_and_stored()
    number, position = divmod(at, 200)
    value = bytearray(records[number][2])
    value[position] ^= flip
    records[number] = (0, number, bytes(value))
    try:
        expected: int | None = row_by_row(records, stored.to_pylist(), "t")
    except AssertionError:
        expected = None
    if is_plain(records[number][2]):
        assert copies_if_equal(records, stored) in (expected, None)
    assert expected is not None or copies_if_equal(records, stored) is None
