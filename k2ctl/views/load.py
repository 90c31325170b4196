"""What `k2ctl load` shows: a line while it runs, a table when it ends."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from rich.table import Table
from rich.text import Text

from k2ctl.console import err
from k2ctl.load.generator import LoadSummary
from k2ctl.load.workers import LoadSnapshot
from k2ctl.views.live import live
from k2ctl.views.style import count, counted, seconds, size

BAR_WIDTH = 12


def live_view(*, quiet: bool) -> AbstractContextManager[Callable[[LoadSnapshot], None]]:
    """The load's own display, on stderr."""
    return live(err(), progress_text, lambda snapshot: progress_text(snapshot).plain, quiet=quiet)


def progress_text(snapshot: LoadSnapshot) -> Text:
    """How far, how fast, and whether it waits: one line of 80 columns, and what it waits for on the next ones."""
    text = Text()
    if snapshot.duration_s:
        filled = min(BAR_WIDTH, round(BAR_WIDTH * snapshot.elapsed_s / snapshot.duration_s))
        text.append("█" * filled, style="green").append("░" * (BAR_WIDTH - filled), style="dim")
        text.append(f"  {seconds(snapshot.elapsed_s)} of {seconds(snapshot.duration_s)}")
    else:
        text.append(f"replaying for {seconds(snapshot.elapsed_s)}")
    target = f" of {count(snapshot.target_rate)}/s" if snapshot.target_rate else ""
    text.append(f"  {count(snapshot.rate)}/s{target}  sent {snapshot.sent:,}")
    text.append(f"  in flight {count(snapshot.in_flight_records)}")
    if snapshot.paused_why:
        text.append(f"  PAUSED: {snapshot.paused_why}", style="yellow")
    return text


def summary_table(summary: LoadSummary) -> Table:
    """The figures of a load that has ended."""
    table = Table(title=_verdict(summary), title_justify="left", box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    least = "" if summary.exact else "at least "
    table.add_row("trades acknowledged", f"{least}{summary.trades_acknowledged:,}")
    table.add_row("records acknowledged", f"{summary.records_acknowledged:,}")
    if summary.trades_failed:
        table.add_row("trades not acknowledged", Text(f"{summary.trades_failed:,}", style="bold red"))
        for reason, trades in summary.failed_by.items():
            table.add_row(f"  {reason}", f"{trades:,}")
        table.add_row("  where Kafka has them not, numbers are missing", "k2ctl gaps")
    if summary.target_rate:
        table.add_row("target rate", f"{summary.target_rate:,.0f} trades/s")
    table.add_row("reached rate", f"{summary.reached_rate:,.0f} trades/s")
    table.add_row("in", seconds(summary.seconds))
    if summary.paused_s:
        table.add_row("and paused, for a consumer", seconds(summary.paused_s))
    if summary.worst_second:
        table.add_row("worst second, off by", f"{summary.worst_second:.1%}")
    for name, figures in (("acknowledged after", summary.ack_ms), ("handed over after", summary.publish_delay_ms)):
        if figures:
            shown = ", ".join(f"{key} {value:.1f} ms" for key, value in figures.items())
            table.add_row(name, shown.replace("p100", "max"))
    table.add_row("partitions", f"{summary.partitions:,}")
    table.add_row("on the wire", f"{size(summary.wire_bytes)}, {counted(summary.workers, 'worker')}")
    if summary.broken_lines:
        table.add_row("broken lines, left out", Text(f"{summary.broken_lines:,}", style="yellow"))
        for line in summary.first_broken:
            table.add_row(f"  {line['file']}:{line['line']}", str(line["reason"]))
    return table


def _verdict(summary: LoadSummary) -> Text:
    if summary.interrupted and summary.exact and not summary.trades_failed:
        return Text("Interrupted; what was sent is acknowledged.", style="bold yellow")
    if not summary.exact:
        return Text("Ended before every worker could say what it sent.", style="bold red")
    if summary.trades_failed:
        return Text("Kafka did not acknowledge everything.", style="bold red")
    if summary.failure:
        return Text("Ended early; what was sent is acknowledged.", style="bold yellow")
    if summary.saturated:
        return Text("Saturated: this machine could not follow the schedule.", style="bold yellow")
    return Text("Loaded.", style="bold green")
