"""What `k2ctl load` shows while it runs and when it ends."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from k2ctl.domain.texts import instant_text
from k2ctl.views.style import Cell, count, facts, seconds, size

if TYPE_CHECKING:
    from k2ctl.load.generator import LoadSummary
    from k2ctl.load.workers import LoadSnapshot

BAR_WIDTH: Final = 8


def progress_text(snapshot: "LoadSnapshot") -> Text:
    """How far, how fast, and whether it waits: one line of 80 columns, and what it waits for on the next ones."""
    text = Text()
    if snapshot.duration_s:
        filled = min(BAR_WIDTH, round(BAR_WIDTH * snapshot.elapsed_s / snapshot.duration_s))
        text.append("█" * filled, style="green").append("░" * (BAR_WIDTH - filled), style="dim")
        text.append(f"  {seconds(snapshot.elapsed_s)} of {seconds(snapshot.duration_s)}")
    else:
        at = "" if snapshot.reached_ns is None else f", at {instant_text(snapshot.reached_ns)[:19]}"
        text.append(f"replaying for {seconds(snapshot.elapsed_s)}{at}")
    target = f" of {count(snapshot.target_rate)}" if snapshot.target_rate else ""
    text.append(f"  {count(snapshot.rate)}{target}/s  sent {count(snapshot.sent)}")
    text.append(f"  in flight {count(snapshot.in_flight_records)}")
    if snapshot.paused_why:
        text.append(f"  PAUSED: {snapshot.paused_why}", style="yellow")
    return text


_SHOWN_BROKEN: Final = 10


def summary_table(summary: "LoadSummary") -> Table:
    """The figures of a load that has ended."""
    return facts(_summarised(summary), title=_verdict(summary), numbers=True)


def _summarised(summary: "LoadSummary") -> Iterator[tuple[str, Cell]]:
    least = "" if summary.exact else "at least "
    yield "trades acknowledged", f"{least}{summary.trades_acknowledged:,}"
    yield "records acknowledged", f"{summary.records_acknowledged:,}"
    if summary.trades_failed:
        yield "trades not acknowledged", Text(f"{summary.trades_failed:,}", style="bold red")
        yield from ((f"  {reason}", f"{trades:,}") for reason, trades in summary.failed_by.items())
        yield "  where Kafka has them not, numbers are missing", "k2ctl gaps"
    if summary.target_rate:
        yield "scheduled", f"{summary.target_rate:,.0f} trades/s"
    yield "reached", f"{summary.reached_rate:,.0f} trades/s"
    yield "sent in", seconds(summary.seconds)
    if summary.paused_s:
        yield "paused for a consumer", seconds(summary.paused_s)
    if summary.worst_second:
        yield "worst second, off schedule by", f"{summary.worst_second:.1%}"
    yield from _delays("from due to acknowledged", summary.ack_ms)
    yield from _delays("from due to Kafka's client", summary.publish_delay_ms)
    yield "partitions", f"{summary.partitions:,}"
    yield "worker processes", f"{summary.workers:,}"
    yield "sent to Kafka", size(summary.wire_bytes)
    yield from _of_files(summary)


def _delays(name: str, figures: dict[str, float]) -> Iterator[tuple[str, Cell]]:
    """Percentiles of a delay in ms; nothing where none was measured."""
    if figures:
        yield name, ", ".join(f"{key} {_ms(value)}" for key, value in figures.items()).replace("p100", "max")


def _ms(value: float) -> str:
    """Milliseconds, below ten with a tenth."""
    return f"{value:.1f} ms" if value < 10 else seconds(value / 1000)


def _of_files(summary: "LoadSummary") -> Iterator[tuple[str, Cell]]:
    """What a replay found in its files."""
    if summary.files:
        yield "files", f"{summary.files:,}"
    if summary.filtered:
        yield "no trades by the feed", f"{summary.filtered:,}"
    if summary.late:
        yield "too late in their file, sent late", Text(f"{summary.late:,}", style="yellow")
    if summary.broken_lines:
        yield "broken lines, left out", Text(f"{summary.broken_lines:,}", style="yellow")
        shown = summary.first_broken[:_SHOWN_BROKEN]
        yield from ((f"  {line['file']}:{line['line']}", str(line["reason"])) for line in shown)


def _verdict(summary: "LoadSummary") -> Text:
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
