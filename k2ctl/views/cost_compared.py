"""What `k2ctl cost` shows of several estimates: side by side, line against line, a tornado, months, the policy."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from k2ctl.cost.documents import comparison_sheet
from k2ctl.cost.estimate import Comparison, Difference, MonthCost
from k2ctl.cost.policy import PolicyCost
from k2ctl.cost.scenarios import Swing
from k2ctl.views.style import count, counted

TORNADO_HALF = 7
CURVE_WIDTH = 40


def comparison_table(comparison: Comparison) -> RenderableType:
    """Components by profile, then totals and unit costs; what cannot work is named below."""
    sheet = comparison_sheet(comparison)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("USD a month")
    for name in sheet.columns[1:]:
        table.add_column(name, justify="right")
    for number, row in enumerate(sheet.rows):
        table.add_row(*row, style="bold" if number in sheet.bold else None)
    reasons = [
        Text(f"{each.profile} cannot work: {reason}", style="red")
        for each in comparison.estimates
        for reason in each.infeasible
    ]
    return Group(table, *reasons)


def difference_table(found: Difference) -> RenderableType:
    """Only what changes, the largest first."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column("line", no_wrap=True)
    table.add_column("before → after")
    for name in ("before", "after", "more"):
        table.add_column(name, justify="right", no_wrap=True)
    for change in found.changes:
        if change.mark == " ":
            continue
        what = " → ".join(text for text in dict.fromkeys((change.before, change.after)) if text)
        style = "red" if change.usd > 0 else "green"
        table.add_row(
            change.mark,
            change.name,
            clipped(what),
            _usd(change.before_usd),
            _usd(change.after_usd),
            Text(f"{change.usd:+,.0f}", style=style),
        )
    before, after = found.before, found.after
    share = f" ({found.usd / before.total_monthly_usd:+.1%})" if before.total_monthly_usd else ""
    names = ("", "") if before.profile == after.profile else (f"{before.profile} ", f"{after.profile} ")
    verdict = Text(
        f"{names[0]}${before.total_monthly_usd:,.0f} → {names[1]}${after.total_monthly_usd:,.0f} a month: "
        f"{found.usd:+,.0f}{share}",
        style="bold",
    )
    return Group(table, verdict, Text("~ changed, + added, - removed", style="dim"))


def clipped(text: str, style: str = "dim") -> Text:
    """A cell that gives way where the terminal is narrow: its column is cut, the others are not."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _usd(amount: float | None) -> str:
    return "" if amount is None else f"{amount:,.0f}"


def tornado(swings: Sequence[Swing], base_usd: float) -> RenderableType:
    """The total at both values of every input, as bars to either side of the base, the widest on top."""
    widest = max((abs(usd - base_usd) for s in swings for usd in (s.low_usd, s.high_usd) if usd is not None), default=0)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("input")
    table.add_column("from", justify="right", no_wrap=True)
    table.add_column("cheaper", justify="right", no_wrap=True)
    table.add_column("dearer", no_wrap=True)
    table.add_column("to", no_wrap=True)
    table.add_column("USD/month", justify="right", no_wrap=True)
    for swing in swings:
        totals = [usd for usd in (swing.low_usd, swing.high_usd) if usd is not None]
        less = base_usd - min([base_usd, *totals])
        more = max([base_usd, *totals]) - base_usd
        table.add_row(
            clipped(swing.key.removeprefix("clients."), ""),
            _short(swing.low_value),
            Text("█" * _bar(less, widest), style="green"),
            Text("█" * _bar(more, widest), style="red"),
            _short(swing.high_value),
            f"-{less:,.0f} +{more:,.0f}" + ("" if len(totals) == 2 else " !"),
        )
    foot = "One input at a time, everything sized again"
    foot += "; ! is infeasible at one end." if any(None in (s.low_usd, s.high_usd) for s in swings) else "."
    return Group(Text(f"Around ${base_usd:,.0f} a month", style="bold"), table, Text(foot, style="dim"))


def _bar(usd: float, widest: float) -> int:
    return round(TORNADO_HALF * usd / widest) if widest else 0


def _short(value: str) -> str:
    try:
        return count(float(value)) if abs(float(value)) >= 1000 else value
    except ValueError:
        return {"1y_no_upfront": "1 year"}.get(value, value)


def curve(months: Sequence[MonthCost]) -> RenderableType:
    """A bar a month."""
    most = max(month.total_monthly_usd for month in months)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("month", justify="right")
    table.add_column("USD/month", justify="right")
    table.add_column("")
    for month in months:
        width = round(CURVE_WIDTH * month.total_monthly_usd / most) if most else 0
        table.add_row(str(month.month), f"{month.total_monthly_usd:,.0f}", Text("█" * width, style="cyan"))
    total = sum(month.total_monthly_usd for month in months)
    return Group(table, Text(f"${total:,.0f} in {len(months)} months", style="bold"))


def policy_panel(found: PolicyCost) -> RenderableType:
    """Processing everything at peak, against shedding and catching up."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    everything, shedding = (counted(nodes, "node") for nodes in (found.everything_nodes, found.shedding_nodes))
    table.add_row(f"process everything at peak: lake writers, {everything}", _whole(found.everything_usd))
    table.add_row(f"defers at peak, catch up later: lake writers, {shedding}", _whole(found.shedding_nodes_usd))
    table.add_row("  spilled files: requests and hours of storage", _whole(found.spill_usd))
    table.add_row("  read from Kafka a second time, across zones", _whole(found.reread_usd))
    table.add_row("shedding saves, a month", _whole(found.saves_usd), style="bold")
    return Group(Text("What the degradation policy is worth", style="bold"), table, _deferral(found), _verdict(found))


def _deferral(found: PolicyCost) -> Text:
    caught_up = "never" if found.caught_up_hours is None else f"{found.caught_up_hours:,.1f} h after the peak"
    intake = ", which closes the intake" if found.level == "CIRCUIT_BREAK" else ""
    return Text(
        f"At peak {found.deferred_share:.0%} is deferred ({count(found.trades_deferred_per_day)} trades a day, "
        f"level {found.level or 'none'}{intake}, {found.spill_share:.0%} of it spilled); complete {caught_up}."
    )


def _verdict(found: PolicyCost) -> Text:
    if found.problem:
        return Text(f"It does not work: {found.problem}", style="red")
    if found.worth_it:
        return Text("The price of the saving is the delay.", style="green")
    return Text("Nothing is saved: process everything.", style="yellow")


def _whole(usd: float | None) -> str:
    return "not found" if usd is None else f"${usd:,.0f}"
