"""What `k2ctl query` shows of rows: as many columns as fit, whole."""

import io
from decimal import Decimal

import pyarrow as pa
import pytest
from rich.console import Console

from k2ctl.panels.query import rows_table

ROWS = pa.table(
    {
        "symbol": ["BHP", "RIO"],
        "close": pa.array([Decimal("4"), Decimal("4.18")], pa.decimal128(18, 8)),
        **{f"column_{number}": [number, 10 * number] for number in range(18)},
    }
)


def lines(width: int) -> list[str]:
    canvas = Console(width=width, file=io.StringIO())
    with canvas.capture() as captured:
        canvas.print(rows_table(ROWS, width).table)
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [40, 80, 120, 160, 300])
def test_a_row_is_a_line_and_what_does_not_fit_is_counted(width: int) -> None:
    heading, *rows = lines(width)
    assert len(rows) == 2
    shown = sum(name in heading.split() for name in ROWS.column_names)
    assert shown == 20 or heading.rstrip().endswith(f"+ {20 - shown} more")
    assert "…" not in heading


def test_prices_have_the_same_number_of_digits() -> None:
    assert [row.split()[1] for row in lines(80)[1:]] == ["4.00", "4.18"]
