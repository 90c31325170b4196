"""Panels of one height, side by side, and lines of a page that is longer than its panel."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.panel import Panel
from rich.segment import Segment, Segments
from rich.table import Table


def panel(content: RenderableType, title: str, height: int, style: str = "dim", subtitle: str = "") -> Panel:
    """A frame of a fixed height with its title; what is too long for it is cut."""
    return Panel(
        content,
        title=title,
        title_align="left",
        subtitle=subtitle or None,
        subtitle_align="right",
        box=box.ROUNDED,
        height=height,
        border_style=style,
        padding=(0, 1),
    )


def side_by_side(*parts: tuple[int, RenderableType]) -> Table:
    """Things beside each other, each with its width in columns."""
    table = Table.grid()
    for width, _ in parts:
        table.add_column(width=width)
    table.add_row(*(part for _, part in parts))
    return table


@dataclass
class Scroll:
    """Which line of a page is the first to be seen. Drawing keeps it within the page."""

    first: int = 0
    # How many lines there was room for when it was drawn last.
    room: int = field(default=1, compare=False)

    def window(self, total: int, room: int) -> range:
        """The lines to show."""
        self.room = room
        self.first = max(0, min(self.first, total - room))
        return range(self.first, min(total, self.first + room))


@dataclass(frozen=True)
class Scrolled:
    """A framed page, of which as many lines are shown as there is room for."""

    content: RenderableType
    title: str
    height: int
    scroll: Scroll
    # From the end: new lines of a log come at its foot.
    is_log: bool = False
    # Lines at the top that stay.
    headings: int = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        inner = options.update(width=options.max_width - 4, height=None)
        lines = console.render_lines(self.content, inner, pad=False)
        kept, lines = lines[: self.headings], lines[self.headings :]
        room = max(1, self.height - 2 - len(kept))
        window = self.scroll.window(len(lines), room)
        if self.is_log:
            window = range(len(lines) - window.stop, len(lines) - window.start)
        more = f"{window.start + 1}–{window.stop} of {len(lines)}, ↑ ↓" if len(lines) > room else ""
        shown = Segments(_joined([*kept, *lines[window.start : window.stop]]))
        yield panel(shown, self.title, self.height, subtitle=more)


def _joined(lines: Iterable[list[Segment]]) -> list[Segment]:
    return [segment for line in lines for segment in (*line, Segment.line())]
