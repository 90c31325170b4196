"""What `k2ctl doctor`, `verify`, `validate` and `bench` show."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from k2ctl.checks.bench.figures import Figure
from k2ctl.checks.validate.targets import Result, Step, TargetVerdict
from k2ctl.stack.preflight import Check, Verdict
from k2ctl.views.forms import Grouped, Widest
from k2ctl.views.style import Cell, listing, seconds, size

if TYPE_CHECKING:
    from k2ctl.checks.bench.results import Compared, Machine, Results
    from k2ctl.checks.validate.validation import Validation


WIDE: Final = 140
"""Columns from which on the command of a target has a column of its own."""

_HEALTH: Final = {Verdict.OK: ("✓", "green"), Verdict.NOTE: ("!", "yellow"), Verdict.WRONG: ("✗", "bold red")}
_SIGNS: Final = {
    TargetVerdict.PASS: ("✓", "green"),
    TargetVerdict.SHORT: ("✗", "bold red"),
    TargetVerdict.NOT_MEASURED: ("–", "yellow"),
}
_WORST_FIRST: Final = (TargetVerdict.SHORT, TargetVerdict.NOT_MEASURED, TargetVerdict.PASS)


def checks_panel(checks: Sequence[Check]) -> Group:
    """A row per check, what helps below what is not well, and what it all comes to."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=1)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        sign, style = _HEALTH[check.verdict]
        table.add_row(Text(sign, style=style), check.name, Text(check.found, style=_LOUDNESS[check.verdict]))
        if check.help:
            table.add_row("", "", Text(f"→ {check.help}", style="bold"))
    return Group(table, Text(), health_text(checks))


def check_lines(checks: Sequence[Check]) -> Iterator[str]:
    """The same for a pipe: a line per check, unbroken."""
    for check in checks:
        yield f"{_HEALTH[check.verdict][0]} {check.name}: {check.found}"
        if check.help:
            yield f"  → {check.help}"
    yield health_text(checks).plain


_LOUDNESS: Final = {Verdict.OK: "dim", Verdict.NOTE: "", Verdict.WRONG: "red"}


def health_text(checks: Sequence[Check]) -> Text:
    """How many things are wrong."""
    wrong, notes = (sum(check.verdict is verdict for check in checks) for verdict in (Verdict.WRONG, Verdict.NOTE))
    noted = f" Good to know: {notes}." if notes else ""
    if not wrong:
        return Text(f"Nothing is wrong.{noted}", style="green")
    return Text(f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong.{noted}", style="bold red")


def validate_panel(found: "Validation", width: int) -> RenderableType:
    """The targets and the sum. width: of the terminal, in columns."""
    return Group(_wide(found) if width >= WIDE else _narrow(found), Text(), verdict_line(found))


def _wide(found: "Validation") -> Table:
    return listing(
        found.results,
        ("target", lambda result: result.target.name),
        ("goal", lambda result: result.target.goal),
        ("measured", lambda result: result.measured),
        ("=verdict", lambda result: Text(f"{_sign(result)} {result.verdict}", _sign(result).style)),
        ("command", lambda result: Text(result.target.command, style="dim")),
    )


def _narrow(found: "Validation") -> Table:
    """Two lines for each target: the goal below its name, the command below what was measured."""
    return listing(
        found.results,
        ("", _sign),
        ("target and goal", lambda result: Text.assemble(result.target.name, "\n", (result.target.goal, "dim"))),
        (
            "measured, and by what",
            lambda result: Text.assemble(
                ("short: ", _sign(result).style) if result.verdict is TargetVerdict.SHORT else "",
                (result.measured, "" if result.verdict is TargetVerdict.PASS else _sign(result).style),
                ("\n" + result.target.command, "dim"),
            ),
        ),
    )


def _sign(result: Result) -> Text:
    sign, style = _SIGNS[result.verdict]
    return Text(sign, style=style)


def verdict_line(found: "Validation") -> Text:
    """The sum: how many passed, fell short, were not measured; on what, how thoroughly, in what time."""
    style = "bold green" if found.held and not found.interrupted else "bold red"
    parts = [f"{found.count(TargetVerdict.PASS)} of {len(found.results)} targets pass"]
    parts += [
        f"{found.count(verdict)} {verdict}"
        for verdict in (TargetVerdict.SHORT, TargetVerdict.NOT_MEASURED)
        if found.count(verdict)
    ]
    sizes = "full" if found.full else "quick"
    ended = "; interrupted" if found.interrupted else ""
    if found.others_load > found.cpus / 2:
        ended += f"; the machine was busy when it began: load average {found.others_load:.1f} on {found.cpus} cores"
    return Text(f"{', '.join(parts)}; {found.engine}, {sizes}, {seconds(found.seconds)}{ended}", style=style)


def step_line(step: Step, results: Sequence[Result], elapsed_s: float) -> Text:
    """A step that has ended: the worst verdict's sign, its name, how many passed, and the time that it took."""
    verdicts = [result.verdict for result in results]
    worst = next(
        one for one in (TargetVerdict.SHORT, TargetVerdict.NOT_MEASURED, TargetVerdict.PASS) if one in verdicts
    )
    passed = verdicts.count(TargetVerdict.PASS)
    rest = f"  {step.name:<9} {passed} of {len(results)}  {seconds(elapsed_s):>8}  {step.title}"
    return Text.assemble(_SIGNS[worst], rest)


FIGURE_COLUMNS: Final[tuple[tuple[str, Callable[[Figure], str]], ...]] = (
    ("benchmark", lambda figure: f"{figure.benchmark}, {figure.case}"),
    ("measured", lambda figure: figure.metric),
    (">value", lambda figure: f"{_number(figure.value)} {figure.unit}"),
    (">spread", lambda figure: "" if figure.spread is None else f"{figure.spread:.0%}"),
    (">against", lambda figure: "" if figure.baseline is None else _number(figure.baseline)),
    (">ratio", lambda figure: "" if figure.ratio is None else f"{figure.ratio:.2f}"),
    (
        ">goal",
        lambda figure: "" if figure.goal is None else f"{'≤' if figure.at_most else '≥'} {_number(figure.goal)}",
    ),
)
"""Of a figure, on screen and in Markdown."""


def figures_table(figures: Sequence[Figure]) -> Widest:
    """One row per figure: value, spread, its baseline, ratio, goal; below their benchmarks where it is narrow."""
    columns = dict(FIGURE_COLUMNS)
    against = columns[">against"]

    def measured(figure: Figure) -> Text:
        return Text.assemble(figure.metric, (f"\nagainst {against(figure)}" if against(figure) else "", "dim"))

    whole = [(name, columns[name]) for name in (">value", ">spread", ">ratio", ">goal")]
    return Widest(
        listing(figures, *FIGURE_COLUMNS, ("", _mark)),
        Grouped(figures, columns["benchmark"], ("measured", measured), *whole, ("=", _mark)),
    )


CURVE_WIDTH: Final = 30
CURVES: Final = ("growth", "day")
"""The benchmarks whose figures are points of curves."""


def curves(figures: Sequence[Figure]) -> Table | None:
    """The benchmarks `growth` and `day` as bars, a group of them for each metric; None where neither was run."""
    grown = [figure for figure in figures if figure.benchmark in CURVES and figure.unit != "share"]
    table = Table.grid(padding=(0, 2, 0, 0))
    for metric in dict.fromkeys(figure.metric for figure in grown):
        points = [figure for figure in grown if figure.metric == metric]
        most = max(figure.value for figure in points) or 1.0
        table.add_row(Text(metric, style="bold"))
        for figure in points:
            value = Text(f"{_number(figure.value)} {figure.unit}", justify="right")
            table.add_row(
                Text(f"  {figure.case}"), Text("█" * round(CURVE_WIDTH * figure.value / most), style="cyan"), value
            )
    return table if grown else None


def figures_markdown(results: "Results") -> str:
    """A line that says when, where and with what, and a table of what has a goal or something to compare with."""
    compared = [figure for figure in results.figures if figure.goal is not None or figure.ratio is not None]
    rows = [
        [name.removeprefix(">") for name, _ in FIGURE_COLUMNS],
        ["---:" if name.startswith(">") else "---" for name, _ in FIGURE_COLUMNS],
        *([cell(figure) for _, cell in FIGURE_COLUMNS] for figure in compared),
    ]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"{machine_line(results)}\n\n{table}"


def machine_line(results: "Results") -> str:
    """When, where and with what, in one line."""
    machine = results.machine
    version = f"k2ctl {machine.k2ctl}" + (f" ({machine.commit})" if machine.commit else "")
    return (
        f"`k2ctl bench {results.asked}`, {machine.started[:10]}, {seconds(results.seconds)}: {machine.cpu}, "
        f"{machine.cores} cores, {size(machine.memory_bytes)}, {machine.system}, Python {machine.python}, {version}; "
        f"load at the start {machine.load_average:.1f}."
    )


def busy_warning(machine: "Machine") -> Text:
    """Shown before a run on a busy machine."""
    return Text(
        f"This machine is busy (load {machine.load_average:.1f} on {machine.cores} cores): figures may be too low.",
        style="yellow",
    )


def comparison_table(compared: "Sequence[Compared]") -> Widest:
    """Before and after, the change, what of it is noise, and the verdict."""
    styles = {"worse": "bold red", "better": "green", "same": "dim"}

    def value(pair: "Compared", figure: Figure) -> str:
        return f"{_number(figure.measured)} {pair.after.unit if pair.after.ratio is None else '×'}"

    def benchmark(pair: "Compared") -> str:
        return f"{pair.after.benchmark}, {pair.after.case}"

    columns: list[tuple[str, Callable[[Compared], Cell]]] = [
        ("measured", lambda pair: pair.after.metric),
        (">before", lambda pair: value(pair, pair.before)),
        (">after", lambda pair: value(pair, pair.after)),
        (">change", lambda pair: f"{pair.change:+.0%}"),
        (">noise", lambda pair: f"±{pair.band:.0%}"),
        ("=", lambda pair: Text(pair.verdict, style=styles[pair.verdict])),
    ]
    return Widest(listing(compared, ("benchmark", benchmark), *columns), Grouped(compared, benchmark, *columns))


def _mark(figure: Figure) -> Text:
    if figure.met is None:
        return Text("")
    return Text("met", style="green") if figure.met else Text("short", style="red")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
