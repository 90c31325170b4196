"""Lake rows and tail rows as one table."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.domain.rows import Rows, arrow_schema
from k2ctl.query.unite import unite
from tests.made_trades import make_rows, make_trades


def table_of(rows: Rows) -> pa.Table:
    return rows.to_arrow().cast(arrow_schema())


def offsets(table: pa.Table) -> list[int]:
    column: list[int] = table.column("kafka_offset").to_pylist()
    return column


def test_both_sides_come_newest_first() -> None:
    trades = make_trades(10)
    united = unite(table_of(make_rows(trades[:6])), [make_rows(trades[6:], offset=6)])
    assert offsets(united.rows) == list(range(9, -1, -1))
    assert united.from_tail.tolist() == [True] * 4 + [False] * 6
    assert united.duplicates == 0


def test_the_lakes_row_wins_over_the_tails_even_with_a_higher_offset() -> None:
    trades = make_trades(3)
    united = unite(table_of(make_rows(trades, offset=100)), [make_rows(trades, offset=0)])
    assert offsets(united.rows) == [102, 101, 100]
    assert not united.from_tail.any()
    assert united.duplicates == 3


def test_of_copies_in_the_tail_the_lowest_offset_wins() -> None:
    trades = make_trades(2)
    tail = make_rows(np.concatenate([trades, trades, trades[:1]]), offset=5)
    united = unite(arrow_schema().empty_table(), [tail])
    assert offsets(united.rows) == [6, 5]
    assert united.duplicates == 3


def test_trades_that_differ_only_in_their_id_are_two() -> None:
    trades = make_trades(1).repeat(2)
    trades["message_id"] = make_trades(2, start=50)["message_id"]
    assert len(unite(arrow_schema().empty_table(), [make_rows(trades)]).rows) == 2


def test_nothing_and_nothing_is_an_empty_table_of_the_right_columns() -> None:
    united = unite(arrow_schema().empty_table(), [Rows.empty("t", "e")])
    assert united.rows.schema.names == arrow_schema().names
    assert len(united.rows) == 0


def made(ids: list[int], times: list[int], offset: int) -> Rows:
    """Trades with the given numbers as ids; a copy has the time of its trade."""
    trades = make_trades(len(times))[ids] if ids else make_trades(0)
    trades["event_ns"] = np.array(times, np.int64)[np.array(ids, np.int64)] * 1000
    return make_rows(trades, offset=offset)


@given(
    times=st.lists(st.integers(1_000, 1_012), min_size=1, max_size=20),
    data=st.data(),
    limit=st.integers(1, 8),
    count=st.integers(1, 24),
)
def test_what_is_cut_before_it_is_united_never_changes_the_newest_rows(
    times: list[int], data: st.DataObject, limit: int, count: int
) -> None:
    one = st.integers(0, len(times) - 1)
    in_lake, in_tail = (data.draw(st.lists(one, max_size=30)) for _ in range(2))
    lake, tail = made(in_lake, times, 0), made(in_tail, times, 1_000)
    at = data.draw(st.integers(0, len(tail)))
    tails = [tail.take(np.arange(at)), tail.take(np.arange(at, len(tail)))]
    order = np.lexsort((-lake.offset, lake.partition, -lake.trades["event_ns"]))
    newest = table_of(lake.take(order[:count]))
    united = unite(newest, tails, count)
    everything = unite(table_of(lake), [tail])
    if united.whole or united.sure > limit:
        assert united.rows.slice(0, limit).equals(everything.rows.slice(0, limit))
    if count >= len(lake) + 1 and count >= len(tail):
        assert united.whole


def test_a_cut_that_leaves_enough_is_sure_of_it() -> None:
    lake, tail = made(list(range(50)), list(range(100)), 0), made(list(range(50, 100)), list(range(100)), 1_000)
    newest = table_of(lake.take(np.arange(49, 29, -1)))
    united = unite(newest, [tail], 20)
    assert not united.whole
    assert united.sure == int(united.from_tail.sum()) == 20
