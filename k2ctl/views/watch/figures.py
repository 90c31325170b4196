"""Where every trade is, and what was done with each priority."""

from collections.abc import Iterator, Mapping
from typing import Final, Literal

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from k2ctl.domain.overview import Overview
from k2ctl.domain.status_parts import REDUCED, SHARED
from k2ctl.views.style import ACTION_SIGNS, bar, count, marked, seconds, size
from k2ctl.views.watch.frame import panel, side_by_side

FIGURES_HEIGHT: Final = 9
BALANCE_HEIGHT: Final = 12
"""With what is no term of the balance, gaps and what was backfilled, and a line for what is long."""

EXACT_FROM: Final = 60
"""Columns from which numbers are shown in full."""

RETENTION_WORTH_SAYING_S: Final = 7200.0
_PRIORITIES: Final = ("CRITICAL", "HIGH", "NORMAL", "LOW")
_ACTION_TITLES: Final = (("process", "done"), ("spill", "disk"), ("shed", "Kafka"))
_GROUPS: Final = 3
"""Sets of priorities that were deferred together and are named; there is room for two lines."""
_NUMBER_LEAST: Final = len("999,999,999")
_Row = tuple[str, Text, str]


def figures(overview: Overview, width: int) -> Table:
    """The balance beside the priorities, in the fewest lines."""
    left = width * 19 // 40
    return side_by_side(
        (left, balance_panel(overview, left, FIGURES_HEIGHT)), (width - left, priorities_panel(overview, width - left))
    )


def balance_panel(overview: Overview, width: int, height: int) -> Panel:
    """Where every trade is: the terms add up to what was seen. Nothing rather than 0 while no consumer reports."""
    if not overview.ladder:
        return panel(Text("Stored: k2ctl lake status", style="dim"), "of trades unknown", height)
    table = Table.grid(padding=(0, 1), expand=True)
    roomy, exact = height >= BALANCE_HEIGHT, width >= EXACT_FROM
    rows = list(_terms(overview, exact=exact))
    if roomy:
        rows += _beside(overview)
    table.add_column(width=max(len(name) for name, _, _ in rows))
    table.add_column(justify="right", width=max(_NUMBER_LEAST, *(len(number) for _, number, _ in rows)))
    side: Literal["left", "right"] = "left" if exact else "right"
    tight = height == FIGURES_HEIGHT
    table.add_column(justify=side, style="dim", no_wrap=tight, overflow="ellipsis" if tight else "fold", ratio=1)
    for row in rows:
        table.add_row(*row)
    title, style = _title(overview)
    return panel(table, title, height, style, "" if roomy else _in_short(overview))


def _terms(overview: Overview, *, exact: bool) -> Iterator[_Row]:
    """What became of the trades that were read."""
    tier, deferred = overview.dedup.tier, overview.outstanding_of
    yield "stored", _number(overview.stored), f"{count(overview.rate_committed)}/s"
    yield "pending", _number(overview.pending), f"in {overview.commit_ms:.0f} ms" if overview.commit_ms else ""
    yield "shed", _number(overview.shed, "yellow"), _where("in Kafka", "shed", deferred, exact=exact)
    yield "spilled", _number(overview.spilled, "yellow"), _where("on disk", "spill", deferred, exact=exact)
    yield "duplicate", _number(overview.duplicate), f"{count(tier.waiting)} waiting" if tier.waiting else ""
    filtered = f"{count(overview.filtered)} filtered" if overview.filtered else ""
    yield "dead letters" if exact else "dead", _number(overview.dead_lettered), filtered
    yield "lost", _number(overview.lost, "bold red"), ""


def _beside(overview: Overview) -> Iterator[_Row]:
    """What is no term of the balance."""
    sequence = overview.sequence
    missing = sequence.missing_trades + sequence.lost_trades
    yield "backfilled", _number(overview.backfilled), "were deferred, are stored" if overview.backfilled else ""
    gaps = f"{missing:,} trades missing" if sequence.open_gaps or sequence.lost_trades else ""
    yield "open gaps", _number(sequence.open_gaps, "yellow"), gaps


def _in_short(overview: Overview) -> str:
    gaps = overview.sequence.open_gaps
    return ", ".join([
        *([f"{count(overview.backfilled)} backfilled"] if overview.backfilled else []),
        f"{count(gaps)} open gaps" if gaps else "no open gaps",
    ])  # fmt: skip


def _number(value: int, style: str = "") -> Text:
    return marked(f"{value:,}", style, value)


def _where(place: str, action: str, deferred: Mapping[str, Mapping[str, int]], *, exact: bool) -> str:
    """In which place deferred trades are, and of which priorities; not exact: their first letters."""
    of = {priorities: cells[action] for priorities, cells in deferred.items() if cells.get(action)}
    if not of:
        return place
    if not exact:
        found = {name for priorities in of for name in priorities.split("+")}
        return f"{place}: {''.join(name[0] for name in _PRIORITIES if name in found)}"
    largest = sorted(of.items(), key=lambda one: -one[1])
    shown = [f"{number:,} {priorities}" for priorities, number in largest[:_GROUPS]]
    others = sum(number for _, number in largest[_GROUPS:])
    return f"{place}: {', '.join([*shown, *([f'{others:,} others'] if others else [])])}"


def _title(overview: Overview) -> tuple[str, str]:
    title, tier = f"of {overview.seen + overview.pending:,} trades", overview.dedup.tier
    reduced = [
        *(["state"] if overview.state and overview.state.is_reduced else []),
        *(["dedup"] if tier.guarantee == REDUCED else []),
    ]
    if reduced:
        return f"{', '.join(reduced)} {REDUCED}; {title}", "yellow"
    return f"dedup {SHARED}; {title}" if tier.guarantee == SHARED else title, "dim"


def priorities_panel(overview: Overview, width: int, height: int = FIGURES_HEIGHT) -> Panel:
    """What was done with each priority since the consumers started, and what goes in and out."""
    if not overview.ladder:
        return panel(_rates(overview), "by priority", height)
    exact = width >= EXACT_FROM
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=8)
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", width=5)
    names = (f"{ACTION_SIGNS[action][0]} {title}" for action, title in _ACTION_TITLES)
    table.add_row("", *(Text(name, style="dim") for name in names), Text("later", style="dim"))
    rows = {name: overview.by_priority.get(name, {}) for name in _PRIORITIES}
    if height > FIGURES_HEIGHT:
        rows["all"] = {action: sum(cells.get(action, 0) for cells in rows.values()) for action, _ in _ACTION_TITLES}
    for priority, cells in rows.items():
        values = [cells.get(action, 0) for action, _ in _ACTION_TITLES]
        share = sum(values[1:]) / sum(values) if sum(values) else 0.0
        shown = Text(f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}", style="yellow" if share else "dim")
        table.add_row(priority, *((f"{value:,}" if exact else count(value)) for value in values), shown)
    title = f"held to {count(overview.budget)}/s on purpose" if overview.budget else "by priority, since the start"
    return panel(Group(table, _rates(overview), _memory(overview, 20 if exact else 4)), title, height)


def _rates(overview: Overview) -> Text:
    if overview.retention_left_s is not None and overview.retention_left_s < RETENTION_WORTH_SAYING_S:
        return Text(f"Kafka deletes unread in {seconds(overview.retention_left_s)}", style="bold red")
    loaded = "—" if overview.rate_loaded is None else f"{count(overview.rate_loaded)}/s"
    return Text.assemble(("loaded ", "dim"), loaded, ("  read ", "dim"), f"{count(overview.rate_in)}/s")


def _memory(overview: Overview, width: int) -> Text:
    age_s = overview.snapshot_age_s
    age = "none yet" if age_s is None else f"{seconds(age_s)}{' ago' if age_s < 60 else ''}"
    text = Text.assemble(
        ("memory ", "dim"),
        bar(overview.memory_share, width),
        f" {size(overview.memory_bytes)}",
        ("  commit ", "dim"),
        age,
    )
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
