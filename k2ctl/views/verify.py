"""What `verify` found, as a screen: one line when all is well, and what is affected when it is not."""

from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from k2ctl.checks.verify.verification import Verified
from k2ctl.views.style import counted

ROWS_SHOWN: Final = 20


def verify_panel(results: list[Verified]) -> RenderableType:
    """One part for each topic."""
    return Group(*(part for result in results for part in _topic(result)))


def _topic(result: Verified) -> list[RenderableType]:
    parts: list[RenderableType] = [_verdict(result), _figures(result)]
    if result.findings:
        parts += [Text(), _findings(result)]
        if len(result.findings) > ROWS_SHOWN:
            parts.append(Text(f"… and {len(result.findings) - ROWS_SHOWN:,} more: k2ctl verify --json", style="dim"))
    return parts


def _verdict(result: Verified) -> Text:
    if result.holds and not result.expected:
        text = f"✓ {result.topic}: {result.of_unfinished:,} trades of a load that runs or was killed, without a hole"
        return Text(text, style="bold green")
    if result.holds:
        text = f"✓ {result.topic}: all {result.expected:,} acknowledged trades are there, once, as they were sent"
        return Text(text, style="bold green")
    found = ", ".join(f"{count:,} {fault}" for fault, count in result.faults.items() if count)
    if result.damaged:
        found = ", ".join(filter(None, [f"{counted(len(result.damaged), 'data file')} damaged or gone", found]))
    if result.too_few:
        found = ", ".join(filter(None, [found, f"{result.too_few:,} fewer than were acknowledged to a killed load"]))
    return Text(f"✗ {result.topic}: {found}", style="bold red")


def _figures(result: Verified) -> Text:
    lines = [
        f"  {result.in_lake:,} in the table, {result.in_tail:,} in Kafka behind it, {result.symbols:,} symbols, "
        f"{counted(result.runs, 'load')}",
        f"  {result.acknowledged:,} acknowledged, of which {result.copies:,} copies sent on purpose",
    ]
    if result.of_unfinished and result.expected:
        lines.append(f"  {result.of_unfinished:,} more are there of loads that run or were killed, without a hole")
    if result.unfinished:
        workers = counted(result.unfinished, "load worker")
        lines.append(f"  {workers} did not end: what was sent last may be there or not")
    if result.uncertain:
        lines.append(f"  {result.uncertain:,} deliveries were never confirmed, and are not there")
    if result.foreign:
        lines.append(f"  {result.foreign:,} trades of other producers: not part of this")
    if result.uncompared:
        lines.append(f"  {result.uncompared:,} trades are beside missing ones: their content could not be compared")
    if result.of_others:
        lines.append(f"  {result.of_others:,} trades are in data files that another program committed")
    if result.not_judged:
        columns = ", ".join(result.not_judged)
        lines.append(
            f"  not judged: up to {max(result.not_judged.values()):,} of these, in {columns}: Kafka no longer holds "
            "what they would be compared with"
        )
    lines += [f"  damaged or gone: {path}: {why}" for path, why in result.damaged.items()]
    if result.unread:
        lines.append(f"  not read: {result.unread}")
    lines += [
        f"  not looked at: {trades:,} trades that an earlier Kafka acknowledged ({epoch}): k2ctl verify --all-epochs"
        for epoch, trades in result.elsewhere.items()
    ]
    return Text("\n".join(lines))


def _findings(result: Verified) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("fault")
    table.add_column("symbol")
    table.add_column("column")
    for name in ("first", "last", "trades"):
        table.add_column(name, justify="right")
    for finding in result.findings[:ROWS_SHOWN]:
        style = "yellow" if finding.fault == "deferred" else "red"
        numbers = (f"{finding.first:,}", f"{finding.last:,}", f"{finding.trades:,}")
        table.add_row(Text(finding.fault, style=style), finding.symbol, finding.column, *numbers)
    return table
