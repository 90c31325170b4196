"""What `k2ctl cost` shows: an estimate at a glance, one line explained, several side by side, what moves the total."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from k2ctl.cost.documents import comparison_sheet
from k2ctl.cost.estimate import Comparison, Difference, Estimate, MonthCost
from k2ctl.cost.lines import Line
from k2ctl.cost.measured import Replaced
from k2ctl.cost.policy import PolicyCost
from k2ctl.cost.scenarios import Lever, Swing
from k2ctl.views.style import clipped, count, counted, facts, listing, marked, usd

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
    def own(component: str) -> list[Line]:
        return [line for line in found.lines if line.component == component]

    def amount(component: str, total_usd: float) -> str:
        missing = any(line.monthly_usd is None for line in own(component))
        return "not found" if missing and not total_usd else f"{'≥ ' if missing else ''}{total_usd:,.0f}"

    return listing(
        found.by_component().items(),
        ("=component", lambda item: item[0]),
        ("largest part", lambda item: clipped(max(own(item[0]), key=lambda line: line.monthly_usd or 0.0).title)),
        (">USD/month", lambda item: amount(*item)),
        ("=share", lambda item: share_bar(item[1], found.total_monthly_usd)),
    )


def share_bar(part: float, whole: float) -> Text:
    """A bar and a percentage of the whole."""
    share = part / whole if whole else 0.0
    bar = Text("█" * round(BAR_WIDTH * share), style="cyan")
    return bar.append("░" * (BAR_WIDTH - round(BAR_WIDTH * share)), style="dim").append(f"{share:5.0%}", style="")


def _lines_table(found: Estimate) -> Table:
    return listing(
        found.lines,
        ("=line", lambda line: line.name),
        ("what", lambda line: clipped(line.title)),
        (">quantity", lambda line: count(line.quantity) if line.quantity >= 1000 else f"{line.quantity:.3g}"),
        (">× USD", lambda line: "not found" if line.unit_price is None else f"{line.unit_price:.4g}"),
        (">USD/month", lambda line: "not found" if line.monthly_usd is None else f"{line.monthly_usd:,.2f}"),
    )


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
    table = listing(
        open_ones,
        (">", lambda lever: Text(f"-${lever.saves_usd:,.0f}", style="green")),
        ("", lambda lever: clipped(lever.title, "")),
        ("=", lambda lever: Text(f"--set {lever.setting}", style="dim")),
    )
    table.show_header = False
    parts: list[RenderableType] = [Text("Largest levers", style="bold"), table] if open_ones else []
    return [*parts, *([Text(f"In use already: {'; '.join(used)}.", style="dim")] if used else [])]


def explanations(lines: Sequence[Line], total_usd: float) -> RenderableType:
    """Each line explained."""
    return Group(*(explanation(line, total_usd) for line in lines))


def explanation(line: Line, total_usd: float) -> RenderableType:
    """One line: formula in words and numbers, range, source, date, confidence."""
    amount = "not found" if line.monthly_usd is None else f"${line.monthly_usd:,.2f} a month"
    share = f", {(line.monthly_usd or 0) / total_usd:.1%} of the total" if total_usd else ""
    table = facts(
        [
            ("cost", Text(f"{amount}{share}", style="bold")),
            ("what", line.title),
            ("formula", line.words),
            ("numbers", f"{line.numbers} = {amount}"),
            ("quantity", f"{line.quantity:,.6g} {line.unit}"),
            ("range", f"${line.low_usd:,.2f} to ${line.high_usd:,.2f}"),
            ("price", f"of {line.date}, confidence {line.confidence}"),
            *(("source", source) for source in line.sources or ("no source",)),
            ("note", line.note or None),
        ]
    )
    return Group(Text(f"{line.component}: {line.name}", style="bold cyan"), Padding(table, (0, 0, 0, 2)))


def replaced_table(replaced: Sequence[Replaced]) -> Table:
    """What `--measured` put in place of assumptions, and what each figure alone does to the total."""
    return listing(
        replaced,
        ("figure", lambda each: clipped(_FIGURES[each.figure], "")),
        (">assumed", lambda each: f"{each.assumed:,.4g}"),
        (">measured", lambda each: f"{each.measured:,.4g}"),
        (">USD/month", lambda each: "cannot work" if each.usd is None else f"{each.usd:+,.0f}"),
        title=Text("Measured, in place of assumed", style="bold"),
    )


TORNADO_HALF = 7
CURVE_WIDTH = 40


def comparison_table(comparison: Comparison) -> RenderableType:
    """Components by profile, then totals and unit costs; what cannot work is named below."""
    sheet = comparison_sheet(comparison)
    bold = [sheet.rows[number] for number in sheet.bold]
    table = listing(
        sheet.rows,
        *(
            (f"{'>' if at else ''}{name}", lambda row, at=at: marked(row[at], "bold", row in bold))
            for at, name in enumerate(("USD a month", *sheet.columns[1:]))
        ),
    )
    reasons = [
        Text(f"{each.profile} cannot work: {reason}", style="red")
        for each in comparison.estimates
        for reason in each.infeasible
    ]
    return Group(table, *reasons)


def difference_table(found: Difference) -> RenderableType:
    """Only what changes, the largest first."""
    table = listing(
        (change for change in found.changes if change.mark != " "),
        ("", lambda change: change.mark),
        ("=line", lambda change: change.name),
        (
            "before → after",
            lambda change: clipped(" → ".join(filter(None, dict.fromkeys((change.before, change.after))))),
        ),
        (">before", lambda change: "" if change.before_usd is None else f"{change.before_usd:,.0f}"),
        (">after", lambda change: "" if change.after_usd is None else f"{change.after_usd:,.0f}"),
        (">more", lambda change: Text(f"{change.usd:+,.0f}", style="red" if change.usd > 0 else "green")),
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


def tornado(swings: Sequence[Swing], base_usd: float) -> RenderableType:
    """The total at both values of every input, as bars to either side of the base, the widest on top."""
    widest = max((abs(usd - base_usd) for s in swings for usd in (s.low_usd, s.high_usd) if usd is not None), default=0)

    def extent(swing: Swing) -> tuple[float, float]:
        """How much less than the base, and how much more."""
        totals = [base_usd, *(usd for usd in (swing.low_usd, swing.high_usd) if usd is not None)]
        return base_usd - min(totals), max(totals) - base_usd

    table = listing(
        swings,
        ("input", lambda swing: clipped(swing.key.removeprefix("clients."), "")),
        (">from", lambda swing: _short(swing.low_value)),
        (">cheaper", lambda swing: Text("█" * _bar(extent(swing)[0], widest), style="green")),
        ("=dearer", lambda swing: Text("█" * _bar(extent(swing)[1], widest), style="red")),
        ("=to", lambda swing: _short(swing.high_value)),
        (
            ">USD/month",
            lambda swing: (
                f"-{extent(swing)[0]:,.0f} +{extent(swing)[1]:,.0f}"
                + (" !" if None in (swing.low_usd, swing.high_usd) else "")
            ),
        ),
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

    def drawn(month: MonthCost) -> Text:
        return Text("█" * (round(CURVE_WIDTH * month.total_monthly_usd / most) if most else 0), style="cyan")

    table = listing(
        months,
        (">month", lambda month: str(month.month)),
        (">USD/month", lambda month: f"{month.total_monthly_usd:,.0f}"),
        ("", drawn),
    )
    total = sum(month.total_monthly_usd for month in months)
    return Group(table, Text(f"${total:,.0f} in {len(months)} months", style="bold"))


def policy_panel(found: PolicyCost) -> RenderableType:
    """Processing everything at peak, against shedding and catching up."""
    everything, shedding = (counted(nodes, "node") for nodes in (found.everything_nodes, found.shedding_nodes))
    table = facts(
        [
            (f"process everything at peak: lake writers, {everything}", usd(found.everything_usd)),
            (f"defers at peak, catch up later: lake writers, {shedding}", usd(found.shedding_nodes_usd)),
            ("  spilled files: requests and hours of storage", usd(found.spill_usd)),
            ("  read from Kafka a second time, across zones", usd(found.reread_usd)),
            ("shedding saves, a month", Text(usd(found.saves_usd), style="bold")),
        ],
        numbers=True,
    )
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
