"""Forms that follow the width of a terminal, so that no word and no figure is broken."""

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Column
from rich.text import Text

from k2ctl.views.style import Cell, Row, listing

_BOUNDLESS: Final = 10_000
_INDENT: Final = 2
_GAP: Final = 2
"""Cells between two columns of a listing."""


class Widest:
    """The first of several forms that is whole in the terminal's width; the last one where none is."""

    def __init__(self, *forms: RenderableType) -> None:
        self._forms = forms

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        boundless = options.update(max_width=_BOUNDLESS)
        fits = (f for f in self._forms if Measurement.get(console, boundless, f).maximum <= options.max_width)
        yield next(fits, self._forms[-1])


class Grouped:
    """A `listing` whose rows stand below the headings that they share; the columns of all are aligned."""

    def __init__(
        self, rows: Iterable[Row], heading: Callable[[Row], str], *columns: tuple[str, Callable[[Row], Cell]]
    ) -> None:
        self._titles = listing((), *columns)
        self._groups = [(name, listing(run, *columns)) for name, run in groupby(rows, heading)]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self._align(options.max_width - _INDENT)
        yield Padding(self._titles, (0, 0, 0, _INDENT))
        for name, table in self._groups:
            table.show_header = False
            yield Text(name, style="cyan", overflow="fold")
            yield Padding(table, (0, 0, 0, _INDENT))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """As wide as its columns are, or a heading."""
        self._align(_BOUNDLESS)
        columns = [cell for column in self._titles.columns for cell in (column.width or 0, _GAP)]
        widest = max(_INDENT + sum(columns[:-1]), *(cell_len(name) for name, _ in self._groups), 0)
        return Measurement(widest, widest)

    def _align(self, width: int) -> None:
        """Columns that are whole are as wide as their widest cell; the others share what is left."""
        tables = [self._titles, *(table for _, table in self._groups)]
        natural = [max(map(_widest, columns)) for columns in zip(*(table.columns for table in tables), strict=True)]
        whole = [column.no_wrap for column in self._titles.columns]
        left, flexible = width - _GAP * (len(whole) - 1), 0
        for cells, is_whole in zip(natural, whole, strict=True):
            left, flexible = (left - cells, flexible) if is_whole else (left, flexible + cells)
        for table in tables:
            for column, cells, is_whole in zip(table.columns, natural, whole, strict=True):
                column.width = cells if is_whole or flexible <= left else max(1, left * cells // flexible)


def _widest(column: Column) -> int:
    """Of a column with its title, in cells of the terminal."""
    return max(cell_len(line) for cell in (column.header, *column.cells) for line in (*str(cell).splitlines(), ""))
