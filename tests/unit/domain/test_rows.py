"""Rows: the order of the table's files, and copies that are the same."""

import io
import weakref

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.domain.rows import HOUR_US, Rows, symbol_order
from tests.made_trades import BASE_US, make_rows, make_trades

TIMES = st.one_of(st.integers(0, 50), st.integers(0, 3 * HOUR_US), st.integers(0, 200_000 * HOUR_US))


@given(
    found=st.lists(st.tuples(st.sampled_from([b"A", b"AB", b"B", b"ZZZZZZZZZ"]), TIMES), max_size=40),
    sort=st.booleans(),
)
def test_rows_are_ordered_by_hour_symbol_and_time_and_equals_stay_as_they_came(
    found: list[tuple[bytes, int]], sort: bool
) -> None:
    found = sorted(found, key=lambda row: row[1]) if sort else found
    trades = make_trades(len(found))
    trades["symbol"] = [symbol for symbol, _ in found]
    trades["event_ns"] = np.array([time_us for _, time_us in found], np.int64) * 1000
    expected = sorted(range(len(found)), key=lambda at: (found[at][1] // HOUR_US, *found[at]))
    assert symbol_order(make_rows(trades)).tolist() == expected


@given(parts=st.lists(st.integers(0, 5), min_size=1, max_size=4), data=st.data())
def test_rows_that_are_joined_and_taken_are_the_same_bytes(parts: list[int], data: st.DataObject) -> None:
    trades = make_trades(sum(parts))
    trades["received_ns"] = BASE_US * 1000
    starts = np.cumsum([0, *parts]).tolist()
    rows = Rows.concatenate(
        [make_rows(trades[start : start + size], start) for start, size in zip(starts, parts, strict=False)]
    )
    assert rows.trades.dtype == trades.dtype
    assert rows.trades.tobytes() == trades.tobytes()
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), np.bool_)
    for taken in (rows.take(mask), rows.take(np.flatnonzero(mask))):
        assert taken.trades.tobytes() == trades[mask].tobytes()
        assert taken.offset.tolist() == np.flatnonzero(mask).tolist()


def test_batches_that_are_joined_are_held_no_longer() -> None:
    parts = [make_rows(make_trades(3)), make_rows(make_trades(2))]
    gone = [weakref.ref(part.trades) for part in parts]
    joined = Rows.joined(parts)
    assert (len(joined), parts, [ref() for ref in gone]) == (5, [], [None, None])


def test_every_column_of_a_file_has_its_field_id_and_the_elements_of_lists_too() -> None:
    file = io.BytesIO()
    pq.write_table(make_rows(make_trades(3)).to_arrow(1), file)
    fields = list(pq.read_schema(file))
    elements = [field.type.value_field for field in fields if pa.types.is_list(field.type)]
    assert [int(field.metadata[b"PARQUET:field_id"]) for field in fields + elements] == list(range(1, 29))
