"""A chart of braille dots on a logarithmic scale, with threshold lines: two samples to a column, four dots to a row."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.text import Text

DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The braille pattern's bits by row and column of dots."""

EMPTY: Final = 0x2800
LABEL_WIDTH: Final = 8


@dataclass(frozen=True)
class Threshold:
    """A horizontal line with its label and colour."""

    value: float
    label: str
    style: str
    # Seen also where something is drawn, and where another line would be in the same row.
    stands_out: bool = False


def log_chart(
    values: Sequence[float | None], thresholds: Sequence[Threshold], width: int, height: int, style: str
) -> list[Text]:
    """`height` lines of `width` columns; the newest value is at the right, what is unknown leaves a gap.

    The scale runs from a tenth of the lowest threshold to twice the highest, or further up where a value does.
    """
    columns = max(1, width - LABEL_WIDTH)
    shown = list(values)[-columns * 2 :]
    positive = [line.value for line in thresholds if line.value > 0] or [1.0]
    bottom = max(1.0, min(positive) / 10)
    top = max(max(positive) * 2, max((value for value in shown if value), default=0.0) * 1.1)
    scale = _Scale(bottom, top, height * 4)
    cells = [[EMPTY] * columns for _ in range(height)]
    for number, value in enumerate(shown):
        column, side = divmod(number + columns * 2 - len(shown), 2)
        if value is not None and value >= bottom:
            for dot in range(scale.dot(value) + 1):
                row, within = divmod(height * 4 - 1 - dot, 4)
                cells[row][column] |= DOTS[within][side]
    lines = _in_rows([line for line in thresholds if bottom <= line.value <= top], scale, height)
    return [_row(cells[row], lines.get(row), style) for row in range(height)]


def _in_rows(thresholds: Sequence[Threshold], scale: "_Scale", height: int) -> dict[int, Threshold]:
    """Row → its line. Of two that stand out and fall into one row, the lower one is a row further down."""
    lines: dict[int, Threshold] = {}
    for line in sorted(thresholds, key=lambda line: (line.stands_out, -line.value)):
        row = height - 1 - scale.dot(line.value) // 4
        if line.stands_out and row in lines and lines[row].stands_out:
            row = min(row + 1, height - 1)
        lines[row] = line
    return lines


def _row(cells: Sequence[int], line: Threshold | None, style: str) -> Text:
    """One line of the chart. A threshold shows where nothing is drawn over it, and by its label."""
    text = Text(no_wrap=True)
    for column, cell in enumerate(cells):
        if line and line.stands_out and (cell == EMPTY or column % 2):
            text.append("─", style=line.style)
        elif cell == EMPTY:
            text.append("╌" if line else " ", style=f"{line.style} dim" if line else "")
        else:
            text.append(chr(cell), style=style)
    text.append(
        f" {line.label}"[:LABEL_WIDTH].ljust(LABEL_WIDTH) if line else " " * LABEL_WIDTH, line.style if line else ""
    )
    return text


@dataclass(frozen=True)
class _Scale:
    bottom: float
    top: float
    dots: int

    def dot(self, value: float) -> int:
        """The number of the dot, counted from the bottom, that a value reaches."""
        share = math.log(max(value, self.bottom) / self.bottom) / math.log(self.top / self.bottom)
        return min(self.dots - 1, max(0, int(share * (self.dots - 1))))
