"""What an act of the demo shows: its findings, two consumers side by side, a presenter's talking points."""

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from k2ctl.demo.cleanup import STARTING
from k2ctl.demo.result import Bars, Facts, Finding_, Grid, Sample, Tick
from k2ctl.demo.story import ACTS, FINALE, Act
from k2ctl.views.chart import Threshold, log_chart
from k2ctl.views.style import count, seconds

BAR_WIDTH = 24


def finding_panel(finding: Finding_) -> Panel:
    """The finding in a frame."""
    note = [Text(finding.note, style="dim")] if finding.note else []
    return Panel(
        Group(_body(finding), *note),
        title=finding.title,
        title_align="left",
        box=box.ROUNDED,
        border_style="cyan",
        padding=(0, 1),
    )


def finding_lines(finding: Finding_) -> Iterator[str]:
    """The finding as lines without frame or colour."""
    yield f"  {finding.title}"
    if isinstance(finding, Facts):
        width = max(len(name) for name, _ in finding.rows)
        yield from (f"    {name:<{width}}  {value}" for name, value in finding.rows)
    elif isinstance(finding, Bars):
        width = max(len(name) for name, _, _ in finding.rows)
        yield from (f"    {name:<{width}}  {read}" for name, _, read in finding.rows)
    else:
        widths = [max(map(len, column)) for column in zip(finding.header, *finding.rows, strict=True)]
        for row in (finding.header, *finding.rows):
            yield "    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    if finding.note:
        yield f"    {finding.note}"


def _body(finding: Finding_) -> RenderableType:
    if isinstance(finding, Facts):
        return _facts(finding)
    return _bars(finding) if isinstance(finding, Bars) else _grid(finding)


def _facts(facts: Facts) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.rows:
        table.add_row(name, Text(value))
    return table


def _bars(bars: Bars) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    most = max((value for _, value, _ in bars.rows), default=0.0) or 1.0
    for label, value, read in bars.rows:
        table.add_row(
            Text(label, style="cyan"), Text("█" * max(1, round(value / most * BAR_WIDTH)), "green"), Text(read)
        )
    return table


def _grid(grid: Grid) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    numeric = all(cell.replace(",", "").replace(".", "").isdigit() for row in grid.rows for cell in row[1:])
    for number, name in enumerate(grid.header):
        justify: Literal["left", "right"] = "right" if number and numeric else "left"
        table.add_column(
            name, style="cyan" if not number else "", justify=justify, no_wrap=number < len(grid.header) - 1
        )
    for row in grid.rows:
        table.add_row(*map(Text, row))
    return table


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
        "naive: one queue" if naive else "naive: one queue, not there yet",
        [sample.naive_critical_s for sample in samples],
        f"{count(_number(naive.get('lag_records')))} trades wait, {count(_number(naive.get('rate')))}/s handled",
        (half, height, "red"),
    )
    ours = _side(
        f"K2: priorities, level {overview.level}" if overview.consumers else "K2: priorities, not there yet",
        [sample.critical_s for sample in samples],
        f"{count(overview.lag_trades or 0)} trades wait, {count(overview.outstanding)} deferred",
        (width - half, height, "green"),
    )
    table.add_row(theirs, ours)
    return table


def _side(title: str, values: Sequence[float | None], line: str, shape: tuple[int, int, str]) -> Panel:
    width, height, style = shape
    now = next((value for value in reversed(values[-4:]) if value is not None), None)
    waits = "not known yet" if now is None else seconds(now)
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


def act_of(number: int) -> Act | None:
    """The act by its number; None before the first."""
    return next((act for act in (*ACTS, FINALE) if act.billing.number == number), None)


def notes_lines(act: Act) -> Iterator[str]:
    """An act's talking points, for a pipe."""
    yield f"{act.billing.title}: {act.billing.headline}"
    yield from (f"  • {point}" for point in act.billing.notes)


def notes_view(number: int) -> Group:
    """The talking points of the act that is being played, and what comes next."""
    act = act_of(number)
    if number == STARTING or act is None:
        return Group(Text("The demo starts; its first act follows."), _next(ACTS[0]))
    after = (*ACTS, FINALE)[ACTS.index(act) + 1] if act in ACTS else None
    return Group(
        Text(f"Now: {act.billing.title}", style="bold cyan"),
        Text(act.billing.headline, style="bold"),
        Text(),
        *(Padding(Text(f"• {point}"), (0, 0, 1, 2)) for point in act.billing.notes),
        *([] if after is None else [_next(after)]),
        Text("This follows the demo, and ends with it; Ctrl-C ends it now.", style="dim"),
    )


def _next(act: Act) -> Text:
    return Text(f"Next: {act.billing.title}", style="dim")
