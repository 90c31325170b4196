"""Benchmark figures as a table."""

from rich.table import Table
from rich.text import Text

from k2ctl.checks.figures import Figure


def figures_table(figures: list[Figure]) -> Table:
    """One row per figure: value, ceiling, ratio, goal."""
    table = Table(box=None, pad_edge=False)
    for column in ("case", "metric"):
        table.add_column(column)
    for column in ("value", "ceiling", "ratio", "goal"):
        table.add_column(column, justify="right")
    table.add_column("")
    for figure in figures:
        goal = "" if figure.goal is None else f"{'≤' if figure.at_most else '≥'} {_number(figure.goal)}"
        table.add_row(
            f"{figure.benchmark}, {figure.case}",
            figure.metric,
            f"{_number(figure.value)} {figure.unit}",
            "" if figure.ceiling is None else _number(figure.ceiling),
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            goal,
            _mark(figure),
        )
    return table


def _mark(figure: Figure) -> Text:
    if figure.met is None:
        return Text("")
    return Text("met", style="green") if figure.met else Text("short", style="red")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
