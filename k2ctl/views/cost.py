"""What `k2ctl cost` shows: an estimate at a glance, its unit costs, range and levers; one line explained."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from k2ctl.cost.estimate import Difference, Estimate
from k2ctl.cost.lines import Line
from k2ctl.cost.measured import Replaced
from k2ctl.cost.scenarios import Lever
from k2ctl.views.cost_compared import clipped, difference_table
from k2ctl.views.style import count

BAR_WIDTH = 10
LEVERS_SHOWN = 3
_FIGURES = {
    "wire_bytes_per_trade": "bytes on the wire per trade",
    "parquet_bytes_per_trade": "Parquet bytes per trade",
    "cpu_s_per_million_trades": "lake writer, CPU-seconds per million trades",
    "shed_share": "share deferred",
}


def whole_estimate(
    found: Estimate,
    months_usd: tuple[float, float],
    levers: Sequence[Lever],
    replaced: Sequence[Replaced],
    what_if: Difference | None,
    *,
    every_line: bool,
) -> RenderableType:
    """The estimate, then what a what-if changes and what measurements replaced, where there are such."""
    parts: list[RenderableType] = [estimate_panel(found, months_usd, levers, every_line=every_line)]
    if replaced:
        parts += [Text(), replaced_table(replaced)]
    if what_if:
        parts += [Text(), difference_table(what_if)]
    return Group(*parts)


def estimate_panel(
    found: Estimate, months_usd: tuple[float, float], levers: Sequence[Lever], *, every_line: bool = False
) -> RenderableType:
    """Components with their shares, the total with its range, unit costs, months, levers."""
    parts: list[RenderableType] = [_title(found), _lines_table(found) if every_line else _components(found)]
    parts += [_total(found), Text(), _units(found), _months(found, months_usd)]
    if found.not_found:
        parts.append(Text(f"Not found, so the total is a lower bound: {', '.join(found.not_found)}", style="yellow"))
    if levers:
        parts += [Text(), *_levers(levers)]
    return Group(*parts)


def _title(found: Estimate) -> Text:
    when = "steady state" if found.month is None else f"month {found.month}"
    rate = f"{count(found.trades_per_second)} trades/s"
    title = Text(rate if found.profile.endswith("/s") else f"{found.profile}: {rate}", style="bold")
    return title.append(f"  {found.region}, {when}, list prices of {found.prices_collected}", style="dim")


def _components(found: Estimate) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    table.add_column("component", no_wrap=True)
    table.add_column("largest part")
    table.add_column("USD/month", justify="right", no_wrap=True)
    table.add_column("share", no_wrap=True)
    for component, usd in found.by_component().items():
        own = [line for line in found.lines if line.component == component]
        largest = max(own, key=lambda line: line.monthly_usd or 0.0)
        missing = any(line.monthly_usd is None for line in own)
        shown = "not found" if missing and not usd else f"{'≥ ' if missing else ''}{usd:,.0f}"
        table.add_row(component, clipped(largest.title), shown, share_bar(usd, found.total_monthly_usd))
    return table


def share_bar(part: float, whole: float) -> Text:
    """A bar and a percentage of the whole."""
    share = part / whole if whole else 0.0
    bar = Text("█" * round(BAR_WIDTH * share), style="cyan")
    return bar.append("░" * (BAR_WIDTH - round(BAR_WIDTH * share)), style="dim").append(f"{share:5.0%}", style="")


def _lines_table(found: Estimate) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("line", no_wrap=True)
    table.add_column("what")
    for name in ("quantity", "× USD", "USD/month"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in found.lines:
        price = "not found" if line.unit_price is None else f"{line.unit_price:.4g}"
        amount = "not found" if line.monthly_usd is None else f"{line.monthly_usd:,.2f}"
        table.add_row(line.name, clipped(line.title), _quantity(line.quantity), price, amount)
    return table


def _quantity(value: float) -> str:
    return count(value) if value >= 1000 else f"{value:.3g}"


def _total(found: Estimate) -> Text:
    bound = "at least " if found.not_found else ""
    text = Text(f"Total {bound}${found.total_monthly_usd:,.0f} a month", style="bold")
    if found.high_usd is None:
        return text.append("  without what has no price", style="dim")
    return text.append(f"  between ${found.low_usd:,.0f} and ${found.high_usd:,.0f}", style="dim")


def _units(found: Estimate) -> Text:
    bound = "At least " if found.not_found else ""
    return Text(
        f"{bound}${found.usd_per_million_messages:.4f} per million messages, ${found.usd_per_gb:.4f} per GB, "
        f"${found.usd_per_symbol_month:,.2f} per symbol"
    )


def _months(found: Estimate, months_usd: tuple[float, float]) -> Text:
    first_usd, twelfth_usd = months_usd
    return Text(
        f"Month 1 ${first_usd:,.0f}, month 12 ${twelfth_usd:,.0f}, once retention is full "
        f"${found.total_monthly_usd:,.0f}",
        style="dim",
    )


def _levers(levers: Sequence[Lever]) -> list[RenderableType]:
    open_ones = [lever for lever in levers if not lever.in_use][:LEVERS_SHOWN]
    used = [f"{lever.title} save ${lever.saves_usd:,.0f}" for lever in levers if lever.in_use]
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right", style="green", no_wrap=True)
    table.add_column()
    table.add_column(style="dim", no_wrap=True)
    for lever in open_ones:
        table.add_row(f"-${lever.saves_usd:,.0f}", clipped(lever.title, ""), f"--set {lever.setting}")
    parts: list[RenderableType] = [Text("Largest levers", style="bold"), table] if open_ones else []
    return [*parts, *([Text(f"In use already: {'; '.join(used)}.", style="dim")] if used else [])]


def explanations(lines: Sequence[Line], total_usd: float) -> RenderableType:
    """Each line explained."""
    return Group(*(explanation(line, total_usd) for line in lines))


def explanation(line: Line, total_usd: float) -> RenderableType:
    """One line: formula in words and numbers, range, source, date, confidence."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    amount = "not found" if line.monthly_usd is None else f"${line.monthly_usd:,.2f} a month"
    share = f", {(line.monthly_usd or 0) / total_usd:.1%} of the total" if total_usd else ""
    table.add_row("cost", Text(f"{amount}{share}", style="bold"))
    table.add_row("what", line.title)
    table.add_row("formula", line.words)
    table.add_row("numbers", f"{line.numbers} = {amount}")
    table.add_row("quantity", f"{line.quantity:,.6g} {line.unit}")
    table.add_row("range", f"${line.low_usd:,.2f} to ${line.high_usd:,.2f}")
    table.add_row("price", f"of {line.date}, confidence {line.confidence}")
    for source in line.sources or ("no source",):
        table.add_row("source", source)
    if line.note:
        table.add_row("note", line.note)
    return Group(Text(f"{line.component}: {line.name}", style="bold cyan"), Padding(table, (0, 0, 0, 2)))


def replaced_table(replaced: Sequence[Replaced]) -> Table:
    """What `--measured` put in place of assumptions, and what each figure alone does to the total."""
    title = Text("Measured, in place of assumed", style="bold")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("figure")
    for name in ("assumed", "measured", "USD/month"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in replaced:
        usd = "cannot work" if each.usd is None else f"{each.usd:+,.0f}"
        table.add_row(clipped(_FIGURES[each.figure], ""), f"{each.assumed:,.4g}", f"{each.measured:,.4g}", usd)
    return table
