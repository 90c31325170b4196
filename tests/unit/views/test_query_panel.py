"""What `k2ctl query` shows of rows: as many columns as fit, whole."""

import io
from dataclasses import fields
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from k2ctl.query.answer import Evidence
from k2ctl.views.query import footer, rows_table

ROWS = pa.table(
    {
        "symbol": ["BHP", "RIO"],
        "close": pa.array([Decimal("4"), Decimal("4.18")], pa.decimal128(18, 8)),
        **{f"column_{number}": [number, 10 * number] for number in range(18)},
    }
)


def lines(width: int, rows: pa.Table = ROWS) -> list[str]:
    canvas = Console(width=width, file=io.StringIO())
    with canvas.capture() as captured:
        canvas.print(rows_table(rows, width).table)
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [40, 80, 120, 160, 300])
def test_a_row_is_a_line_and_what_does_not_fit_is_counted(width: int) -> None:
    heading, *rows = lines(width)
    assert len(rows) == 2
    shown = sum(name in heading.split() for name in ROWS.column_names)
    assert shown == 20 or heading.rstrip().endswith(f"+ {20 - shown} more")
    assert "…" not in heading


def test_columns_that_fit_to_the_last_cell_are_all_shown() -> None:
    rows = pa.table({"timestamp": ["x" * 27], "symbol": ["APA"], "note": ["y" * 33], "exchange": ["ASX"]})
    assert lines(80, rows)[0].split() == rows.column_names


def test_prices_have_the_same_number_of_digits() -> None:
    assert [row.split()[1] for row in lines(80)[1:]] == ["4.00", "4.18"]


def test_a_value_and_a_name_with_control_codes_are_shown_escaped_and_whole() -> None:
    rows = pa.table({"symbol\x1b[2J": ["B\x1b[31mHP", "R\nIO"], "price": ["\x9b1m4", "5"]})
    heading, first, second = lines(80, rows)
    assert heading.split() == ["symbol\\x1b[2J", "price"]
    assert first.split() == ["B\\x1b[31mHP", "\\x9b1m4"]
    assert second.split() == ["R\\nIO", "5"]


def evidence(newest_us: int, asked_at_us: int, answered_at_us: int) -> Evidence:
    """Of an answer without anything else to say."""
    numbers = dict.fromkeys((field.name for field in fields(Evidence)), 0)
    texts = {"topics": ("t",), "spans": (), "missing": (), "notes": (), "more": False, "snapshot_id": None}
    maps: dict[str, Any] = {name: {} for name in ("last_trade_us", "stages_ms")}
    times = {"newest_us": newest_us, "asked_at_us": asked_at_us, "answered_at_us": answered_at_us}
    return Evidence(**{**numbers, **texts, **maps, **times})


def test_a_row_that_came_while_the_question_was_answered_is_not_ahead_of_the_clock() -> None:
    [rows, *_] = footer(evidence(newest_us=1_500_000, asked_at_us=1_000_000, answered_at_us=2_000_000), 1)
    assert "newest 500 ms old" in rows.plain


def test_a_row_that_is_ahead_of_the_clock_is_said_to_be() -> None:
    [rows, *_] = footer(evidence(newest_us=2_500_000, asked_at_us=1_000_000, answered_at_us=2_000_000), 1)
    assert "ahead of this clock" in rows.plain


def test_complete_is_never_said_alone_of_what_is_cut() -> None:
    lines = [line.plain for line in footer(evidence(1, 2, 3), 20, ["3 columns left out"])]
    assert "not all is shown: 3 columns left out" in lines
    assert "complete" not in lines
