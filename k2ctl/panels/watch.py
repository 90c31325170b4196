"""The live picture of the platform: level, lag, rates, what became of the trades."""

import time
from collections import deque
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from k2ctl.broker.overview import Overview
from k2ctl.panels.style import LEVEL_STYLES, count, seconds, size

BARS: Final = "▁▂▃▄▅▆▇█"
HISTORY: Final = 600


class History:
    """The lag of the last minutes, for the chart."""

    def __init__(self) -> None:
        self._lags: deque[int] = deque(maxlen=HISTORY)

    def add(self, overview: Overview) -> None:
        """Note one tick."""
        self._lags.append(overview.lag_trades or 0)

    def chart(self, width: int) -> Text:
        """The newest `width` ticks as bars, scaled to their highest."""
        lags = list(self._lags)[-width:]
        top = max(lags, default=0)
        if not top:
            return Text("▁" * len(lags), style="green")
        return Text("".join(BARS[min(7, lag * 8 // (top + 1))] for lag in lags), style="yellow")


def watch_panel(overview: Overview, history: History, width: int) -> RenderableType:
    """The whole screen, eighteen lines whatever the state, so that nothing jumps."""
    return Group(_head(overview), _lag(overview, history, width), _flow(overview), _consumers(overview))


def watch_line(overview: Overview) -> str:
    """One line, for logs and pipes."""
    clock = time.strftime("%H:%M:%S", time.gmtime(overview.at_us / 1e6))
    return (
        f"{clock} {overview.level} lag {_lag_text(overview)} in {count(overview.rate_in)}/s "
        f"committed {count(overview.rate_committed)}/s stored {overview.stored:,} pending {overview.pending:,} "
        f"duplicate {overview.duplicate:,} dead-lettered {overview.dead_lettered:,} lost {overview.lost:,}"
    )


def _head(overview: Overview) -> Panel:
    level = Text(f" {overview.level} ", style=f"reverse {LEVEL_STYLES.get(overview.level, 'bold')}")
    reason = overview.level_reason or "all signals are below their thresholds"
    return Panel(Text.assemble(level, "  ", reason), title="level", title_align="left", box=box.ROUNDED, height=3)


def _lag(overview: Overview, history: History, width: int) -> Panel:
    content = Group(Text(f"{_lag_text(overview)} not in the table yet"), history.chart(max(10, width - 6)))
    return Panel(content, title="lag, in trades", title_align="left", box=box.ROUNDED, height=4)


def _lag_text(overview: Overview) -> str:
    if overview.lag_trades is None:
        return "unknown"
    age = f", the oldest {seconds(overview.lag_seconds)} ago" if overview.lag_seconds else ""
    return f"{overview.lag_trades:,} trades{age}"


def _flow(overview: Overview) -> Panel:
    table = Table.grid(padding=(0, 3))
    for _ in range(4):
        table.add_column()
    loaded = "—" if overview.rate_loaded is None else f"{count(overview.rate_loaded)}/s"
    age = "—" if overview.snapshot_age_s is None else seconds(overview.snapshot_age_s)
    table.add_row("loaded", loaded, "stored", f"{overview.stored:,}")
    table.add_row("read", f"{count(overview.rate_in)}/s", "duplicate", f"{overview.duplicate:,}")
    table.add_row("committed", f"{count(overview.rate_committed)}/s", "dead-lettered", f"{overview.dead_lettered:,}")
    lost = Text(f"{overview.lost:,}", style="bold red" if overview.lost else "")
    table.add_row("pending", f"{overview.pending:,}", "lost", lost)
    table.add_row("memory", f"{size(overview.memory_bytes)}, {overview.memory_share:.0%} of the limit", "snapshot", age)
    return Panel(table, title="trades", title_align="left", box=box.ROUNDED, height=7)


def _consumers(overview: Overview) -> Panel:
    rows = [
        f"{s['id']}  {len(s['partitions'])} partitions  {s['level']}  commit {s['commit_ms']:.0f} ms"
        for s in overview.consumers[:2]
    ]
    hidden = len(overview.consumers) - len(rows)
    text = "\n".join(rows) or "none speaks on k2.telemetry"
    title = "consumers" if hidden <= 0 else f"consumers, {hidden} more not shown"
    return Panel(text, title=title, title_align="left", box=box.ROUNDED, height=4)
