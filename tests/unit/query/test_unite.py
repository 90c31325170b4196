"""Lake rows and tail rows as one table."""

import numpy as np
import pyarrow as pa

from k2ctl.query.unite import unite
from k2ctl.schema.rows import Rows, arrow_schema
from tests.made_trades import make_rows, make_trades


def table_of(rows: Rows) -> pa.Table:
    return rows.to_arrow().cast(arrow_schema())


def offsets(table: pa.Table) -> list[int]:
    column: list[int] = table.column("kafka_offset").to_pylist()
    return column


def test_both_sides_come_newest_first() -> None:
    trades = make_trades(10)
    united = unite(table_of(make_rows(trades[:6])), make_rows(trades[6:], offset=6).to_arrow())
    assert offsets(united.rows) == list(range(9, -1, -1))
    assert united.from_tail.tolist() == [True] * 4 + [False] * 6
    assert united.duplicates == 0


def test_the_lakes_row_wins_over_the_tails_even_with_a_higher_offset() -> None:
    trades = make_trades(3)
    united = unite(table_of(make_rows(trades, offset=100)), make_rows(trades, offset=0).to_arrow())
    assert offsets(united.rows) == [102, 101, 100]
    assert not united.from_tail.any()
    assert united.duplicates == 3


def test_of_copies_in_the_tail_the_lowest_offset_wins() -> None:
    trades = make_trades(2)
    tail = make_rows(np.concatenate([trades, trades, trades[:1]]), offset=5)
    united = unite(arrow_schema().empty_table(), tail.to_arrow())
    assert offsets(united.rows) == [6, 5]
    assert united.duplicates == 3


def test_trades_that_differ_only_in_their_id_are_two() -> None:
    trades = make_trades(1).repeat(2)
    trades["message_id"] = make_trades(2, start=50)["message_id"]
    assert len(unite(arrow_schema().empty_table(), make_rows(trades).to_arrow()).rows) == 2


def test_nothing_and_nothing_is_an_empty_table_of_the_right_columns() -> None:
    united = unite(arrow_schema().empty_table(), Rows.empty("t", "e").to_arrow())
    assert united.rows.schema.names == arrow_schema().names
    assert len(united.rows) == 0
