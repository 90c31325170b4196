"""The live picture of the platform: the ladder, the lag, what became of the trades, priority by priority."""

import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from k2ctl.domain.overview import Overview
from k2ctl.domain.status_parts import OWN, REDUCED, SHARED, LadderLevel
from k2ctl.views.chart import LABEL_WIDTH, Threshold, log_chart
from k2ctl.views.consumer_lines import consumer_lines
from k2ctl.views.lines import line_text
from k2ctl.views.style import ACTION_SIGNS, LEVEL_STYLES, bar, count, seconds, size

HISTORY_TICKS: Final = 2400
TICK_S: Final = 0.5
LADDER_HEIGHT: Final = 8
FIGURES_HEIGHT: Final = 9
LEAST_CHART: Final = 4
MORE_FROM_HEIGHT: Final = 34
WIDE_FROM: Final = 120
RETENTION_WORTH_SAYING_S: Final = 7200.0


class LagHistory:
    """Lag and level of the last twenty minutes, a tick every half second."""

    def __init__(self) -> None:
        self._ticks: deque[tuple[int, int | None, int]] = deque(maxlen=HISTORY_TICKS)

    def add(self, overview: Overview) -> bool:
        """Note one tick; more than one in half a second is not noted, and False returned."""
        due = not self._ticks or overview.at_us - self._ticks[-1][0] >= TICK_S * 0.9e6
        if due:
            self._ticks.append((overview.at_us, overview.lag_trades, overview.level_number))
        return due

    @property
    def lags(self) -> list[int | None]:
        """Lags in trades, oldest first."""
        return [lag for _, lag, _ in self._ticks]

    @property
    def levels(self) -> list[int]:
        """Level numbers, oldest first."""
        return [level for _, _, level in self._ticks]


def watch_screen(overview: Overview, history: LagHistory, width: int, height: int) -> RenderableType:
    """The whole screen, always of the same height, so that nothing jumps; at least 80 × 23."""
    roomy = height >= MORE_FROM_HEIGHT
    extra = (11 if width >= WIDE_FROM else 14) if roomy else 0
    chart = max(LEAST_CHART, height - LADDER_HEIGHT - FIGURES_HEIGHT - 3 - extra - 1)
    parts: list[RenderableType] = [_ladder(overview), _lag(overview, history, width, chart), _figures(overview)]
    if roomy:
        parts.append(_side_by_side(_transitions(overview, extra), _consumers(overview, extra)))
    return Group(*parts)


def pressure_view(overview: Overview, history: LagHistory, width: int, height: int) -> RenderableType:
    """Ladder and lag alone, in `height` lines of which 15 are the least; with the figures where there is room."""
    figures = height >= LADDER_HEIGHT + FIGURES_HEIGHT + LEAST_CHART + 3
    chart = height - LADDER_HEIGHT - (FIGURES_HEIGHT if figures else 0) - 3
    parts: list[RenderableType] = [_ladder(overview), _lag(overview, history, width, max(LEAST_CHART, chart))]
    return Group(*parts, _figures(overview)) if figures else Group(*parts)


def watch_line(overview: Overview) -> str:
    """One line, for logs and pipes."""
    tier = overview.dedup.tier
    clock = time.strftime("%H:%M:%S", time.gmtime(overview.at_us / 1e6))
    return (
        f"{clock} {overview.level} lag {_lag_text(overview)} in {count(overview.rate_in)}/s "
        f"committed {count(overview.rate_committed)}/s stored {overview.stored:,} pending {overview.pending:,} "
        f"deferred {overview.outstanding:,} backfilled {overview.backfilled:,} duplicate {overview.duplicate:,} "
        f"dead-lettered {overview.dead_lettered:,} lost {overview.lost:,} intake {overview.intake}"
        + (f" filtered {overview.filtered:,}" if overview.filtered else "")
        + (f" state {overview.state.guarantee}" if overview.state else "")
        + (f" ({overview.state.why})" if overview.state and overview.state.why else "")
        + (f" dedup {tier.guarantee}" if tier.guarantee != OWN else "")
        + (f" ({tier.why})" if tier.why else "")
    )


def _panel(content: RenderableType, title: str, height: int, style: str = "dim") -> Panel:
    return Panel(
        content, title=title, title_align="left", box=box.ROUNDED, height=height, border_style=style, padding=(0, 1)
    )


def _ladder(overview: Overview) -> Panel:
    """The five levels from the worst down, with what they mean, and why the level is what it is."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(5):
        table.add_column(no_wrap=True)
    for number, level in reversed(list(enumerate(overview.ladder))):
        here = number == overview.level_number
        style = LEVEL_STYLES[level.name] if here else "dim"
        entered = f"lag ≥ {count(level.lag)}" if number else ""
        memory = f"mem ≥ {level.memory:.0%}" if number else ""
        closed = "intake closed" if level.intake == "closed" else ("no enrichment" if not level.enrich else "")
        if here and closed == "intake closed" and overview.intake == "open":
            closed = "intake open again"
        signs = Text(" ").join(_sign(name, level.actions[name]) for name in ("CRITICAL", "HIGH", "NORMAL", "LOW"))
        table.add_row(
            Text(f"{'▶' if here else ' '} {number} {level.name}", style=style),
            Text(entered, style=style),
            Text(memory, style=style),
            signs,
            Text(closed, style="bold red" if here and closed == "intake closed" else style),
        )
    style = LEVEL_STYLES.get(overview.level, "bold")
    return _panel(Group(table, _why(overview)), f"degradation: {overview.level}", LADDER_HEIGHT, style)


def _sign(priority: str, action: str) -> Text:
    sign, style = ACTION_SIGNS[action]
    return Text(f"{priority[0]}{sign}", style=style)


def _why(overview: Overview) -> Text:
    """Why this level, and when it will be left."""
    if not overview.ladder:
        return Text(overview.level_reason, style="yellow")
    if not overview.level_number:
        return Text("every trade is processed   ● process  ▪ spill to disk  ○ shed, left in Kafka", style="dim")
    text = Text("why: ", style="dim", no_wrap=True, overflow="ellipsis").append(overview.level_reason, style="bold")
    below = overview.ladder[overview.level_number].exit_lag
    wait = f", {overview.cooldown_left_s:.0f} s to wait" if overview.cooldown_left_s else ""
    return text.append(f"; left below {count(below)}{wait}", style="dim")


def _lag(overview: Overview, history: LagHistory, width: int, rows: int) -> Panel:
    """The lag over time with the thresholds, and under it the level as a strip."""
    inner = width - 4
    style = LEVEL_STYLES.get(overview.level, "white").replace("bold ", "")
    lines = [
        Threshold(level.lag, f"{number} {count(level.lag)}", LEVEL_STYLES[level.name].replace("bold ", ""))
        for number, level in enumerate(overview.ladder)
        if number
    ]
    chart = log_chart(history.lags, lines, inner, rows, style)
    strip = _strip(history.levels, overview.ladder, inner - LABEL_WIDTH)
    return _panel(Group(*chart, strip), f"lag: {_lag_text(overview)}", rows + 3)


def _strip(levels: Sequence[int], ladder: Sequence[LadderLevel], width: int) -> Text:
    """The level of each column: the worse of its two ticks."""
    shown = list(levels)[-width * 2 :]
    if len(shown) % 2:
        shown = [shown[0], *shown]
    text = Text(" " * (width - len(shown) // 2), no_wrap=True)
    for first, second in zip(shown[::2], shown[1::2], strict=True):
        number = max(first, second)
        style = LEVEL_STYLES[ladder[number].name] if number < len(ladder) else "dim"
        text.append("▁▂▄▆█"[min(number, 4)], style=style.replace("bold ", ""))
    return text.append(" level", style="dim")


def _lag_text(overview: Overview) -> str:
    if overview.lag_trades is None:
        return "unknown"
    text = f"{overview.lag_trades:,} trades"
    if overview.lag_seconds:
        text += f", {seconds(overview.lag_seconds)}"
    if overview.critical_lag_seconds:
        text += f" (CRITICAL {seconds(overview.critical_lag_seconds)})"
    if overview.lag_trades and overview.drain_s:
        text += f", gone in {seconds(overview.drain_s)}"
    return text


def _figures(overview: Overview) -> Table:
    return _side_by_side(_identity(overview), _priorities(overview))


def _side_by_side(left: RenderableType, right: RenderableType) -> Table:
    table = Table.grid(expand=True)
    table.add_column(ratio=9)
    table.add_column(ratio=11)
    table.add_row(left, right)
    return table


def _identity(overview: Overview) -> Panel:
    """Where every trade is: the terms add up to what was seen. Nothing rather than 0 while no consumer reports."""
    if not overview.ladder:
        return _panel(Text("Stored: k2ctl lake status", style="dim"), "of trades unknown", FIGURES_HEIGHT)
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", style="dim", no_wrap=True)
    deferred = overview.shed + overview.spilled
    back = f"{count(overview.backfilled)} backfilled" if overview.backfilled else ""
    table.add_row("stored", f"{overview.stored:,}", f"{count(overview.rate_committed)}/s")
    commit = f"in {overview.commit_ms:.0f} ms" if overview.commit_ms else ""
    table.add_row("pending", f"{overview.pending:,}", commit)
    table.add_row("deferred", Text(f"{deferred:,}", style="yellow" if deferred else ""), back)
    tier = overview.dedup.tier
    table.add_row("duplicate", f"{overview.duplicate:,}", f"{count(tier.waiting)} waiting" if tier.waiting else "")
    filtered = f"{count(overview.filtered)} filtered" if overview.filtered else ""
    table.add_row("dead", f"{overview.dead_lettered:,}", filtered)
    table.add_row("lost", Text(f"{overview.lost:,}", style="bold red" if overview.lost else ""), "")
    sequence = overview.sequence
    missing = sequence.missing_trades + sequence.lost_trades
    gaps = f"{count(missing)} trades" if sequence.open_gaps or sequence.lost_trades else ""
    table.add_row("open gaps", Text(f"{sequence.open_gaps:,}", style="yellow" if sequence.open_gaps else ""), gaps)
    title = f"of {overview.seen + overview.pending:,} trades"
    reduced = [
        *(["state"] if overview.state and overview.state.is_reduced else []),
        *(["dedup"] if tier.guarantee == REDUCED else []),
    ]
    if reduced:
        return _panel(table, f"{', '.join(reduced)} {REDUCED}; {title}", FIGURES_HEIGHT, "yellow")
    return _panel(table, f"dedup {SHARED}; {title}" if tier.guarantee == SHARED else title, FIGURES_HEIGHT)


def _priorities(overview: Overview) -> Panel:
    """What was done with each priority since the consumers started, and what goes in and out."""
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column()
    for _ in range(3):
        table.add_column(justify="right")
    table.add_column(justify="right", width=6)
    names = (f"{ACTION_SIGNS[action][0]} {title}" for action, title in _ACTION_TITLES)
    table.add_row("", *(Text(name, style="dim") for name in names), Text("deferred", style="dim"))
    for priority in ("CRITICAL", "HIGH", "NORMAL", "LOW"):
        cells = overview.by_priority.get(priority, {})
        values = [cells.get(action, 0) for action, _ in _ACTION_TITLES]
        share = sum(values[1:]) / sum(values) if sum(values) else 0.0
        shown = Text(f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}", style="yellow" if share else "dim")
        table.add_row(priority, *map(count, values), shown)
    loaded = "—" if overview.rate_loaded is None else f"{count(overview.rate_loaded)}/s"
    rates = Text.assemble(("loaded ", "dim"), loaded, ("  read ", "dim"), f"{count(overview.rate_in)}/s")
    if overview.retention_left_s is not None and overview.retention_left_s < RETENTION_WORTH_SAYING_S:
        rates = Text(f"Kafka deletes unread in {seconds(overview.retention_left_s)}", style="bold red")
    age = "none yet" if overview.snapshot_age_s is None else f"{seconds(overview.snapshot_age_s)} ago"
    memory = Text.assemble(
        ("memory ", "dim"),
        bar(overview.memory_share, 6),
        f" {size(overview.memory_bytes)}",
        ("  commit ", "dim"),
        age,
    )
    title = f"held to {count(overview.budget)}/s on purpose" if overview.budget else "by priority"
    return _panel(Group(table, rates, memory), title, FIGURES_HEIGHT)


_ACTION_TITLES: Final = (("process", "done"), ("spill", "disk"), ("shed", "Kafka"))


def _transitions(overview: Overview, height: int) -> Panel:
    """The last changes of level, newest first."""
    text = Text(overflow="ellipsis", no_wrap=True)
    for move in reversed(overview.transitions[-(height - 2) :]):
        clock = time.strftime("%H:%M:%S", time.gmtime(move.at_us / 1e6))
        text.append(f"{clock} ", style="dim").append(f"{move.to_level:<13} ", style=LEVEL_STYLES[move.to_level])
        text.append(f"{move.reason}\n")
    return _panel(text if overview.transitions else Text("none yet", style="dim"), "changes of level (UTC)", height)


def _consumers(overview: Overview, height: int) -> Panel:
    """Each consumer with its partitions, as far as there is room."""
    lines = [line for status in overview.consumers for line in consumer_lines(status)]
    lines = [*(line_text(name, line) for name, line in overview.dedup.tier.lines.items()), *lines]
    room = height - 2
    if len(lines) > room:
        lines = [
            *lines[: room - 1],
            Text(f"… {len(lines) - room + 1} more; all of them: k2ctl watch --json", style="dim"),
        ]
    return _panel(Group(*lines) if lines else Text("none reports on k2.telemetry", style="dim"), "consumers", height)
