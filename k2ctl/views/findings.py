"""What the demo findings, as panels for a terminal and as plain lines for a pipe."""

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from k2ctl.demo.result import Bars, Facts, Finding_, Grid

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
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    numeric = all(cell.replace(",", "").replace(".", "").isdigit() for row in grid.rows for cell in row[1:])
    for number, name in enumerate(grid.header):
        table.add_column(name, style="cyan" if not number else "", justify="right" if number and numeric else "left")
    for row in grid.rows:
        table.add_row(*map(Text, row))
    return table
