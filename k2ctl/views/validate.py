"""What `validate` found: one row for each target; where the terminal is narrow, the command stands below the figure."""

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from k2ctl.checks.validate.targets import Result, Step, TargetVerdict
from k2ctl.checks.validate.validation import Validation
from k2ctl.views.style import seconds

WIDE: Final = 140
"""Columns from which on the command has a column of its own."""

SIGNS: Final = {
    TargetVerdict.PASS: ("✓", "green"),
    TargetVerdict.SHORT: ("✗", "bold red"),
    TargetVerdict.NOT_MEASURED: ("–", "yellow"),
}


def validate_panel(found: Validation, width: int) -> RenderableType:
    """The table and the sum. width: of the terminal, in columns."""
    return Group(_wide(found) if width >= WIDE else _narrow(found), Text(), verdict_line(found))


def _wide(found: Validation) -> Table:
    table = _table("target", "goal", "measured", "verdict", "command")
    for result in found.results:
        target = result.target
        table.add_row(target.name, target.goal, result.measured, _verdict(result), Text(target.command, style="dim"))
    return table


def _narrow(found: Validation) -> Table:
    """Two lines for each target: the goal below its name, the command below what was measured."""
    table = _table("", "target and goal", "measured, and by what")
    for result in found.results:
        target = result.target
        goal, command = Text(target.goal, style="dim"), Text(target.command, style="dim")
        sign, style = SIGNS[result.verdict]
        measured = Text(result.measured, style="" if result.verdict is TargetVerdict.PASS else style)
        short = Text("short: ", style=style) if result.verdict is TargetVerdict.SHORT else Text()
        table.add_row(Text(sign, style=style), _below(Text(target.name), goal), _below(short + measured, command))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=name == "verdict")
    return table


def _below(first: Text, second: Text) -> Text:
    return Text("\n").join((first, second))


def _verdict(result: Result) -> Text:
    sign, style = SIGNS[result.verdict]
    return Text(f"{sign} {result.verdict}", style=style)


def verdict_line(found: Validation) -> Text:
    """The sum: how many passed, fell short, were not measured; on what, how thoroughly, in what time."""
    style = "bold green" if found.held and not found.interrupted else "bold red"
    parts = [f"{found.count(TargetVerdict.PASS)} of {len(found.results)} targets pass"]
    parts += [
        f"{found.count(verdict)} {verdict}"
        for verdict in (TargetVerdict.SHORT, TargetVerdict.NOT_MEASURED)
        if found.count(verdict)
    ]
    size = "full" if found.full else "quick"
    ended = "; interrupted" if found.interrupted else ""
    if found.others_load > found.cpus / 2:
        ended += f"; the machine was busy when it began: load average {found.others_load:.1f} on {found.cpus} cores"
    return Text(f"{', '.join(parts)}; {found.engine}, {size}, {seconds(found.seconds)}{ended}", style=style)


def step_line(step: Step, results: Sequence[Result], elapsed_s: float) -> Text:
    """A step that has ended: the worst verdict's sign, its name, how many passed, and the time that it took."""
    worst = next(
        verdict
        for verdict in (TargetVerdict.SHORT, TargetVerdict.NOT_MEASURED, TargetVerdict.PASS)
        if _any(results, verdict)
    )
    sign, style = SIGNS[worst]
    passed = sum(result.verdict is TargetVerdict.PASS for result in results)
    rest = f"  {step.name:<9} {passed} of {len(results)}  {seconds(elapsed_s):>8}  {step.title}"
    return Text.assemble((sign, style), rest)


def _any(results: Sequence[Result], verdict: TargetVerdict) -> bool:
    return any(result.verdict is verdict for result in results)
