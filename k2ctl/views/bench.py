"""Benchmark figures as a table, as Markdown, and beside those of before."""

from rich.table import Table
from rich.text import Text

from k2ctl.checks.bench.figures import Figure
from k2ctl.checks.bench.results import Compared, Machine, Results
from k2ctl.views.style import seconds, size

HEADINGS = ("benchmark", "measured", "value", "spread", "against", "ratio", "goal")


def figures_table(figures: list[Figure]) -> Table:
    """One row per figure: value, spread, its baseline, ratio, goal."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("case", "metric"):
        table.add_column(column)
    for column in ("value", "spread", "against", "ratio", "goal"):
        table.add_column(column, justify="right")
    table.add_column("", no_wrap=True)
    for figure in figures:
        table.add_row(*_cells(figure), _mark(figure))
    return table


def figures_markdown(results: Results) -> str:
    """A line that says when, where and with what, and a table of what has a goal or something to compare with."""
    compared = [figure for figure in results.figures if figure.goal is not None or figure.ratio is not None]
    rows = [HEADINGS, ("---", "---", *["---:"] * 5), *map(_cells, compared)]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"{machine_line(results)}\n\n{table}"


def machine_line(results: Results) -> str:
    """When, where and with what, in one line."""
    machine = results.machine
    version = f"k2ctl {machine.k2ctl}" + (f" ({machine.commit})" if machine.commit else "")
    return (
        f"`k2ctl bench {results.asked}`, {machine.started[:10]}, {seconds(results.seconds)}: {machine.cpu}, "
        f"{machine.cores} cores, {size(machine.memory_bytes)}, {machine.system}, Python {machine.python}, {version}; "
        f"load at the start {machine.load_average:.1f}."
    )


def busy_warning(machine: Machine) -> Text:
    """Shown before a run on a busy machine."""
    return Text(
        f"This machine is busy (load {machine.load_average:.1f} on {machine.cores} cores): figures may be too low.",
        style="yellow",
    )


def comparison_table(compared: list[Compared]) -> Table:
    """Before and after, the change, what of it is noise, and the verdict."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("case", "metric"):
        table.add_column(column)
    for column in ("before", "after", "change", "noise"):
        table.add_column(column, justify="right")
    table.add_column("", no_wrap=True)
    for pair in compared:
        style = {"worse": "bold red", "better": "green", "same": "dim"}[pair.verdict]
        unit = pair.after.unit if pair.after.ratio is None else "×"
        table.add_row(
            f"{pair.after.benchmark}, {pair.after.case}",
            pair.after.metric,
            *(f"{_number(figure.measured)} {unit}" for figure in (pair.before, pair.after)),
            f"{pair.change:+.0%}",
            f"±{pair.band:.0%}",
            Text(pair.verdict, style=style),
        )
    return table


def _cells(figure: Figure) -> tuple[str, str, str, str, str, str, str]:
    return (
        f"{figure.benchmark}, {figure.case}",
        figure.metric,
        f"{_number(figure.value)} {figure.unit}",
        "" if figure.spread is None else f"{figure.spread:.0%}",
        "" if figure.baseline is None else _number(figure.baseline),
        "" if figure.ratio is None else f"{figure.ratio:.2f}",
        "" if figure.goal is None else f"{'≤' if figure.at_most else '≥'} {_number(figure.goal)}",
    )


def _mark(figure: Figure) -> Text:
    if figure.met is None:
        return Text("")
    return Text("met", style="green") if figure.met else Text("short", style="red")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
