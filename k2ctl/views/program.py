"""The demo between what it has to show: the acts with how they ended, what arrives in Kafka, what was asserted."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from k2ctl.demo.checks import DemoCheck
from k2ctl.demo.result import ActResult, Tick
from k2ctl.demo.story import ACTS, FINALE, Act
from k2ctl.views.style import Cell, count, counted, facts, seconds


def program_view(acts: Sequence[ActResult], tick: Tick | None, *, ended: bool = False) -> Group:
    """All acts of the story. acts: those that were begun; the last one is being played unless it has `ended`."""
    arrives = [] if tick is None else list(_arriving(tick))
    checks = [] if ended or not acts else acts[-1].checks
    return Group(
        _panel("the story", _acts(acts, ended=ended)),
        *([_panel("into Kafka", facts(arrives))] if arrives else []),
        *([_panel("asserted, on live figures", Group(*map(_claim, checks)))] if checks else []),
    )


def _acts(acts: Sequence[ActResult], *, ended: bool) -> Table:
    begun = {act.billing.number: act for act in acts}
    now = None if ended or not acts else acts[-1]
    table = Table.grid(padding=(0, 2, 0, 0))
    for act in (*ACTS, FINALE):
        result = begun.get(act.billing.number)
        sign, style = ("▶", "bold cyan") if result is now is not None else ("✓", "green") if result else ("·", "dim")
        table.add_row(Text(sign, style), Text(_name(act), style), _outcome(None if result is now else result))
    return table


def _name(act: Act) -> str:
    number = act.billing.number
    return f"act {number}  {act.billing.title}" if number else f"       {act.billing.title}"


def _outcome(result: ActResult | None) -> Text:
    """How an act ended; nothing of one that has not."""
    if result is None:
        return Text("")
    held = sum(check.held for check in result.checks)
    style = "green" if held == len(result.checks) else "bold red"
    return Text(f"{held} of {counted(len(result.checks), 'check')} held, {seconds(result.seconds)}", style)


def _arriving(tick: Tick) -> Iterator[tuple[str, Cell]]:
    for load in tick.overview.loaders:
        if not load.stopped:
            yield "a load has sent", f"{load.sent:,} trades; now {count(load.rate)} trades/s"


def _claim(check: DemoCheck) -> Text:
    return Text(f"{'✓' if check.held else '✗'} {check.claim}", "green" if check.held else "bold red")


def _panel(title: str, content: RenderableType) -> Panel:
    return Panel(content, title=title, title_align="left", box=box.ROUNDED, border_style="cyan", padding=(0, 1))
