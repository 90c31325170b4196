"""What the demo exhibits, as panels for a terminal and as plain lines for a pipe."""

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from k2ctl.demo.result import Bars, Exhibit, Facts, Grid

BAR_WIDTH = 24


def exhibit_panel(exhibit: Exhibit) -> Panel:
    """The exhibit in a frame."""
    note = [Text(exhibit.note, style="dim")] if exhibit.note else []
    return Panel(
        Group(_body(exhibit), *note),
        title=exhibit.title,
        title_align="left",
        box=box.ROUNDED,
        border_style="cyan",
        padding=(0, 1),
    )


def exhibit_lines(exhibit: Exhibit) -> Iterator[str]:
    """The exhibit as lines without frame or colour."""
    yield f"  {exhibit.title}"
    if isinstance(exhibit, Facts):
        width = max(len(name) for name, _ in exhibit.rows)
        yield from (f"    {name:<{width}}  {value}" for name, value in exhibit.rows)
    elif isinstance(exhibit, Bars):
        width = max(len(name) for name, _, _ in exhibit.rows)
        yield from (f"    {name:<{width}}  {read}" for name, _, read in exhibit.rows)
    else:
        widths = [max(map(len, column)) for column in zip(exhibit.header, *exhibit.rows, strict=True)]
        for row in (exhibit.header, *exhibit.rows):
            yield "    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    if exhibit.note:
        yield f"    {exhibit.note}"


def _body(exhibit: Exhibit) -> RenderableType:
    if isinstance(exhibit, Facts):
        return _facts(exhibit)
    return _bars(exhibit) if isinstance(exhibit, Bars) else _grid(exhibit)


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
