"""Changes of level with their reasons, of each consumer and of all."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from k2ctl.clock import clock_text
from k2ctl.domain.overview import Overview
from k2ctl.domain.status import TRANSITIONS_SHOWN
from k2ctl.domain.status_parts import Transition
from k2ctl.views.style import LEVEL_STYLES, listing
from k2ctl.views.watch.frame import panel


class _Moved(NamedTuple):
    consumer: str
    move: Transition


def _moves(overview: Overview) -> list[_Moved]:
    """Newest first."""
    of_each = [_Moved(status.id, move) for status in overview.consumers for move in status.transitions]
    found = of_each or [_Moved("", move) for move in overview.transitions]
    return sorted(found, key=lambda moved: -moved.move.at_us)


def transitions_panel(overview: Overview, height: int) -> Panel:
    """The newest, a line each."""
    several = len(overview.consumers) > 1
    text = Text(overflow="ellipsis", no_wrap=True)
    moves = _moves(overview)
    for consumer, move in moves[: height - 2]:
        text.append(f"{clock_text(move.at_us)} ", style="dim")
        if several:
            text.append(f"{consumer} ", style="bold")
        text.append(f"{move.to_level:<13} ", style=LEVEL_STYLES.get(move.to_level, "")).append(f"{move.reason}\n")
    return panel(text if moves else Text("none yet", style="dim"), "changes of level (UTC)", height)


def transitions_page(overview: Overview) -> RenderableType:
    """How often each change came, of each consumer and summed; then the newest of each with its reason."""
    moves = _moves(overview)
    if not moves and not any(status.transitions_total for status in overview.consumers):
        return Text("No level has changed since the consumers started.", style="dim")
    note = Text(f"The newest {TRANSITIONS_SHOWN} of each consumer; times are UTC.", style="dim")
    return Group(_totals(overview), Text(), _list(moves, several=len(overview.consumers) > 1), note)


def _totals(overview: Overview) -> Table:
    of_each = {status.id: Counter(status.transitions_total) for status in overview.consumers}
    summed = sum(of_each.values(), Counter[str]())
    names = [*of_each] if 1 < len(of_each) <= 6 else []
    return listing(
        sorted(summed, key=_order),
        ("=from", lambda name: _level(name.split(">")[0])),
        ("=to", lambda name: _level(name.split(">")[1])),
        *((f">{one}", lambda name, one=one: f"{of_each[one][name]:,}") for one in names),
        (">all" if names else ">times", lambda name: f"{summed[name]:,}"),
    )


def _order(name: str) -> list[int]:
    levels = list(LEVEL_STYLES)
    return [levels.index(level) if level in levels else len(levels) for level in name.split(">")]


def _level(name: str) -> Text:
    return Text(name, style=LEVEL_STYLES.get(name, ""))


def _list(moves: Sequence[_Moved], *, several: bool) -> Table:
    return listing(
        moves,
        ("=at", lambda moved: Text(clock_text(moved.move.at_us), style="dim")),
        *([("=consumer", lambda moved: moved.consumer)] if several else []),
        ("=from", lambda moved: _level(moved.move.from_level)),
        ("=to", lambda moved: _level(moved.move.to_level)),
        ("reason", lambda moved: moved.move.reason),
    )
