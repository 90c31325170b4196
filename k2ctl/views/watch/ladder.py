"""The ladder of levels with the reason of the present one, and the lag over time with its thresholds."""

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from k2ctl.domain.overview import Overview
from k2ctl.domain.status_parts import LadderLevel
from k2ctl.views.chart import LABEL_WIDTH, Threshold, log_chart
from k2ctl.views.style import ACTION_SIGNS, LEVEL_STYLES, count, seconds
from k2ctl.views.watch.figures import FIGURES_HEIGHT, figures
from k2ctl.views.watch.frame import panel
from k2ctl.views.watch.history import TICK_S, LagHistory

LADDER_HEIGHT: Final = 8
LEAST_CHART: Final = 3
CHART_FRAME: Final = 3
"""Lines of the chart's panel that are not the chart: two of the frame, and the strip of levels."""


def pressure_view(overview: Overview, history: LagHistory, width: int, height: int) -> RenderableType:
    """Ladder and lag alone, in `height` lines of which 14 are the least; with the figures where there is room."""
    roomy = height >= LADDER_HEIGHT + FIGURES_HEIGHT + LEAST_CHART + CHART_FRAME + 1
    lag = height - LADDER_HEIGHT - (FIGURES_HEIGHT if roomy else 0)
    parts: list[RenderableType] = [ladder_panel(overview), lag_panel(overview, history, width, lag)]
    return Group(*parts, figures(overview, width)) if roomy else Group(*parts)


def ladder_panel(overview: Overview, consumer: str = "", height: int = LADDER_HEIGHT) -> Panel:
    """The five levels from the worst down, with what they mean, and why the level is what it is."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(5):
        table.add_column(no_wrap=True)
    for number, level in reversed(list(enumerate(overview.ladder))):
        table.add_row(*_rung(overview, number, level))
    style = LEVEL_STYLES.get(overview.level, "bold")
    of = f" of {consumer}" if consumer else ""
    return panel(Group(table, _why(overview)), f"degradation{of}: {overview.level}", height, style)


def _rung(overview: Overview, number: int, level: LadderLevel) -> list[Text]:
    here = number == overview.level_number
    style = LEVEL_STYLES[level.name] if here else "dim"
    closed = "intake closed" if level.intake == "closed" else ("no enrichment" if not level.enrich else "")
    if here and closed == "intake closed" and overview.intake == "open":
        closed = "intake open again"
    return [
        Text(f"{'▶' if here else ' '} {number} {level.name}", style=style),
        Text(f"lag ≥ {count(level.lag)}" if number else "", style=style),
        Text(f"mem ≥ {level.memory:.0%}" if number else "", style=style),
        Text(" ").join(_sign(name, level.actions[name]) for name in ("CRITICAL", "HIGH", "NORMAL", "LOW")),
        Text(closed, style="bold red" if here and closed == "intake closed" else style),
    ]


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
    wait = f" in {overview.cooldown_left_s:.0f} s" if overview.cooldown_left_s else ""
    return text.append(f"; left < {count(below)}{wait}", style="dim")


def lag_panel(
    overview: Overview, history: LagHistory, width: int, height: int, consumer: str = "", together: int = 1
) -> Panel:
    """The lag over time with the thresholds, and under it the level as a strip.

    together: how many ticks of half a second are one of the two values of a column.
    """
    rows, inner = max(LEAST_CHART, height - CHART_FRAME), width - 4
    columns = max(1, inner - LABEL_WIDTH)
    style = LEVEL_STYLES.get(overview.level, "white").replace("bold ", "")
    lags = history.lags(columns * 2, consumer, together)
    chart = log_chart(lags, _thresholds(overview), inner, rows, style)
    strip = _strip(history.levels(columns * 2, consumer, together), overview.ladder, columns)
    shown = f"{seconds(columns * 2 * TICK_S * together)} to now"
    return panel(Group(*chart, strip), f"lag: {lag_text(overview)}", rows + CHART_FRAME, subtitle=shown)


def _thresholds(overview: Overview) -> list[Threshold]:
    """The levels' thresholds; the last two are those of the level that one is at: what is worse, and what is better."""
    here, ladder = overview.level_number, overview.ladder
    lines = [
        Threshold(level.lag, f"{number} {count(level.lag)}", _colour(level))
        for number, level in enumerate(ladder)
        if number and number != here + 1
    ]
    if 0 < here < len(ladder):
        exit_lag = ladder[here].exit_lag
        lines.append(Threshold(exit_lag, f"▼ {count(exit_lag)}", "green", stands_out=True))
    if here + 1 < len(ladder):
        worse = ladder[here + 1]
        lines.append(Threshold(worse.lag, f"▲{here + 1} {count(worse.lag)}", _colour(worse), stands_out=True))
    return lines


def _colour(level: LadderLevel) -> str:
    return LEVEL_STYLES[level.name].replace("bold ", "")


def _strip(levels: Sequence[int], ladder: Sequence[LadderLevel], width: int) -> Text:
    """The level of each column: the worse of its two values."""
    shown = list(levels)[-width * 2 :]
    if len(shown) % 2:
        shown = [shown[0], *shown]
    text = Text(" " * (width - len(shown) // 2), no_wrap=True)
    for first, second in zip(shown[::2], shown[1::2], strict=True):
        number = max(first, second)
        text.append("▁▂▄▆█"[min(number, 4)], style=_colour(ladder[number]) if number < len(ladder) else "dim")
    return text.append(" level", style="dim")


def lag_text(overview: Overview) -> str:
    """The lag in trades and time, and when it will be gone."""
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
