"""How numbers, levels and tables look, everywhere alike."""

from collections.abc import Callable, Iterable
from typing import Final, Literal, TypeAlias, TypeVar

from rich.table import Table
from rich.text import Text

Cell: TypeAlias = str | Text
Row = TypeVar("Row")

LEVEL_STYLES: Final = {
    "NORMAL": "bold green",
    "SOFT": "bold cyan",
    "GRACEFUL": "bold yellow",
    "AGGRESSIVE": "bold dark_orange",
    "CIRCUIT_BREAK": "bold red",
}

ACTION_SIGNS: Final = {"process": ("●", "green"), "spill": ("▪", "yellow"), "shed": ("○", "dark_orange")}
"""Priority × action as one sign and a colour; the sign alone is enough where there is no colour."""


def bar(share: float, width: int, style: str = "") -> Text:
    """A share from 0 to 1 as a bar; where no style is given, a share of something that should not be used up."""
    filled = min(width, max(0, round(share * width)))
    style = style or ("red" if share >= 0.9 else "yellow" if share >= 0.7 else "green")
    return Text.assemble(("█" * filled, style), ("░" * (width - filled), "dim"))


def count(value: float) -> str:
    """A count in four characters or so: 950, 12.3k, 4.56M."""
    for limit, divisor, suffix in ((1_000, 1, ""), (1_000_000, 1_000, "k"), (1_000_000_000, 1_000_000, "M")):
        if abs(value) < limit:
            scaled = value / divisor
            return f"{scaled:.0f}{suffix}" if divisor == 1 or scaled >= 100 else f"{scaled:.3g}{suffix}"
    return f"{value / 1e9:.3g}G"


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 file, 2,000 files."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def seconds(value: float) -> str:
    """A duration: 340 ms, 4.2 s, 3 min 20 s, 2 h 5 min."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    if value < 3600:
        return f"{value // 60:.0f} min {value % 60:.0f} s"
    return f"{value // 3600:.0f} h {value % 3600 // 60:.0f} min"


def size(value: float) -> str:
    """Bytes: 512 B, 12.3 KB, 4.5 MB; powers of ten."""
    for limit, divisor, suffix in ((1e3, 1, "B"), (1e6, 1e3, "KB"), (1e9, 1e6, "MB")):
        if value < limit:
            return f"{value / divisor:.3g} {suffix}"
    return f"{value / 1e9:.3g} GB"


def listing(
    rows: Iterable[Row],
    *columns: tuple[str, Callable[[Row], Cell]],
    title: Cell = "",
) -> Table:
    """A line for each of `rows`. A column is a title and what it shows of a row.

    A title that begins with `>` is of numbers, set to the right; these columns, and those that begin with `=`, are
    whole where the terminal is narrow.
    """
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name, _ in columns:
        justify: Literal["left", "right"] = "right" if name.startswith(">") else "left"
        table.add_column(name.lstrip(">="), justify=justify, no_wrap=name.startswith((">", "=")), overflow="fold")
    for row in rows:
        table.add_row(*(cell(row) for _, cell in columns))
    return table


def facts(rows: Iterable[tuple[str, Cell | None]], *, title: Cell = "", numbers: bool = False) -> Table:
    """A line for each label and value, but for values that are None."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=not numbers)
    table.add_column(justify="right" if numbers else "left", overflow="fold")
    for label, value in rows:
        if value is not None:
            table.add_row(label, value)
    return table


def marked(text: str, style: str, when: object, otherwise: str = "") -> Text:
    """A cell that has a style when something is the case."""
    return Text(text, style=style if when else otherwise)


def clipped(text: str, style: str = "dim") -> Text:
    """A cell that gives way where the terminal is narrow: its column is cut, the others are not."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def usd(amount: float | None) -> str:
    """Whole dollars."""
    return "not found" if amount is None else f"${amount:,.0f}"
