"""What `k2ctl gaps` and `k2ctl state` show."""

from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from k2ctl.sequence.gap_report import GapReport, SymbolDay, incomplete
from k2ctl.sequence.store_view import StoreView
from k2ctl.views.style import count, seconds, size

ROWS_SHOWN: Final = 40


def gaps_panel(report: GapReport) -> RenderableType:
    """Symbols and days that lack something, the worst first; then what is complete, and what is unknown."""
    parts: list[RenderableType] = [_verdict(report)]
    lacking = incomplete(report.days)
    if lacking:
        parts += [_days(lacking[:ROWS_SHOWN]), Text()]
    if len(lacking) > ROWS_SHOWN:
        parts.append(f"… {len(lacking) - ROWS_SHOWN:,} more; all of them, and each gap: k2ctl gaps --json")
    parts += [Text(line) for line in _notes(report)]
    return Group(*parts)


def _verdict(report: GapReport) -> Text:
    if not report.days:
        return Text("The table has no numbered trade there; see how --symbol is spelt, and --since.", style="yellow")
    text = f"{report.completeness_percent:g} % complete: {report.stored:,} trades stored, {report.missing:,} missing"
    return Text(text, style="bold yellow" if report.missing else "bold green")


def _days(days: list[SymbolDay]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("day (UTC)", "symbol"):
        table.add_column(name)
    for name in ("complete", "stored", "missing", "open", "lost", "explained"):
        table.add_column(name, justify="right")
    for day in days:
        table.add_row(
            day.day,
            f"{day.exchange}/{day.symbol}",
            f"{day.completeness_percent:.3f} %",
            count(day.stored),
            count(day.missing),
            Text(count(day.open), style="yellow" if day.open else "dim"),
            Text(count(day.lost), style="red" if day.lost else "dim"),
            Text(count(day.explained), style="" if day.explained else "dim"),
        )
    return table


def _notes(report: GapReport) -> list[str]:
    lines = []
    whole = sum(1 for day in report.days if not day.missing)
    if whole:
        lines.append(f"{whole:,} of {len(report.days):,} symbol days are complete.")
    if report.resets:
        lines.append(f"{report.resets:,} restarts of a counter: what was missing then is explained.")
    if report.unverified_symbols:
        lines.append(f"{report.unverified_symbols:,} symbols begin above number 1: what came before is not known.")
    for exchange, trades in sorted(report.untracked.items()):
        lines.append(f"{exchange} gives no sequence numbers ({trades:,} trades): not tracked, gaps are unknown.")
    return lines


def store_panel(view: StoreView) -> RenderableType:
    """The store at a glance, and its partitions."""
    if view.store == "memory":
        return Text(
            "State is kept in each consumer's memory: there is nothing to look at from outside. It is rebuilt from "
            "the table at every start. To share it: k2ctl consume --state redis://HOST:PORT/0"
        )
    parts: list[RenderableType] = [
        Text(
            f"{view.symbols:,} symbols in {len(view.partitions):,} partitions, {size(view.bytes)}"
            f" ({view.bytes_per_symbol:.0f} bytes each)",
            style="bold",
        ),
        Text(f"{view.topic}, keys {view.namespace}:sequence:<partition>", style="dim"),
    ]
    parts.append(Text("Redis: " + "  ".join(f"{name} {value}" for name, value in view.server.items()), style="dim"))
    parts += [Text(f"Damaged: {damage}.", style="yellow") for damage in view.damaged]
    if view.damaged:
        parts.append(Text("A consumer replaces it from the table with its next commit there.", style="dim"))
    if view.partitions:
        parts += [Text(), _partitions(view)]
    return Group(*parts)


def _partitions(view: StoreView) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("partition", "symbols", "size", "up to offset", "behind the table", "forgotten in"):
        table.add_column(name, justify="right")
    for part in view.partitions:
        table.add_row(
            str(part.partition),
            f"{part.symbols:,}",
            size(part.bytes),
            f"{part.offset:,}",
            Text(f"{part.behind:,}", style="yellow" if part.behind else "dim"),
            "never" if part.expires_s is None else seconds(part.expires_s),
        )
    return table
