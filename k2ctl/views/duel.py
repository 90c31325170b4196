"""Two consumers on the same load, side by side: how long CRITICAL trades wait with each."""

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from k2ctl.demo.result import Sample, Tick
from k2ctl.views.chart import Threshold, log_chart
from k2ctl.views.style import count, seconds

LINES: Final = (Threshold(1.0, "1 s", "green"), Threshold(10.0, "10 s", "red"))
"""Of both charts alike, so that they can be compared."""

FRAME: Final = 4
"""Lines of a side that are not its chart: the frame and two lines of text."""


def duel_view(tick: Tick, samples: Sequence[Sample], width: int, height: int) -> Table:
    """Left the naive consumer, right K2; `height` lines."""
    table = Table.grid(expand=True)
    table.add_column(ratio=1)
    table.add_column(ratio=1)
    half, naive, overview = width // 2, tick.naive or {}, tick.overview
    theirs = _side(
        "naive: one queue",
        [sample.naive_critical_s for sample in samples],
        f"{count(_number(naive.get('lag_records')))} trades wait, {count(_number(naive.get('rate')))}/s handled",
        (half, height, "red"),
    )
    ours = _side(
        f"K2: priorities, level {overview.level}",
        [sample.critical_s for sample in samples],
        f"{count(overview.lag_trades or 0)} trades wait, {count(overview.outstanding)} deferred for later",
        (width - half, height, "green"),
    )
    table.add_row(theirs, ours)
    return table


def _side(title: str, values: Sequence[float | None], line: str, shape: tuple[int, int, str]) -> Panel:
    width, height, style = shape
    now = next((value for value in reversed(values[-4:]) if value is not None), None)
    waits = "unknown" if now is None else seconds(now)
    figure = Text.assemble("CRITICAL trades wait ", (waits, f"bold {style}"))
    chart = log_chart(values, LINES, width - 4, max(1, height - FRAME), style)
    return Panel(
        Group(figure, Text(line, style="dim", no_wrap=True, overflow="ellipsis"), *chart),
        title=title,
        title_align="left",
        box=box.ROUNDED,
        border_style=style,
        height=height,
        padding=(0, 1),
    )


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
