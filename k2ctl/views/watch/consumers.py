"""Consumers and their partitions: in a panel as far as there is room, and each on a page of its own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from k2ctl.domain.dedup_status import DedupStatus
from k2ctl.domain.overview import Overview
from k2ctl.domain.status import ConsumerStatus, LoadStatus
from k2ctl.domain.status_parts import REDUCED, PartitionStatus
from k2ctl.views.consume import clock_line, dedup_troubles
from k2ctl.views.forms import Grouped
from k2ctl.views.lines import line_text
from k2ctl.views.style import LEVEL_STYLES, Cell, bar, count, counted, listing, marked, seconds
from k2ctl.views.watch.frame import panel

UNANSWERED_S: Final = 10.0
"""An author announces again after a second or two; a committer that is gone is followed by another within ten."""

_CELL: Final = 17
_BAR: Final = 5
_COMPARED: Final = "cyan"
"""Bars that compare partitions: the longest need not be bad."""
_NOBODY: Final = "none reports on k2.telemetry"


def consumers_panel(overview: Overview, width: int, height: int) -> Panel:
    """Each consumer with its partitions, all of them where there is room."""
    lines = [line_text(name, line) for name, line in overview.dedup.tier.lines.items()]
    for status in overview.consumers:
        lines += [_first_line(status), *_trouble_lines(status), *_partition_lines(status.partitions, width - 4)]
    room = height - 2
    if len(lines) > room:
        hidden = len(lines) - room + 1
        lines = [*lines[: room - 1], Text(f"… {counted(hidden, 'line')} more: p partitions, c consumers", style="dim")]
    title = f"consumers ({len(overview.consumers)})" if overview.consumers else "consumers"
    return panel(Group(*lines) if lines else Text(_NOBODY, style="dim"), title, height)


def _first_line(status: ConsumerStatus) -> Text:
    return Text.assemble(
        (f"{status.id} ", "bold"),
        (status.level, LEVEL_STYLES.get(status.level, "")),
        f"  {counted(len(status.partitions), 'partition')}  commit {status.commit_ms:.0f} ms",
        ("  commits for all", "green") if status.group_commit.is_committer else "",
        no_wrap=True,
        overflow="ellipsis",
    )


def _trouble_lines(status: ConsumerStatus) -> list[Text]:
    return [Text(f"  {line}", style="yellow", no_wrap=True, overflow="ellipsis") for line in troubles(status)]


def _partition_lines(partitions: Sequence[PartitionStatus], width: int) -> list[Text]:
    """Partitions with the records that are not in the table, as many in a line as there is room for."""
    worst = max((part.behind for part in partitions), default=0)
    columns = max(1, width // _CELL)
    rows = -(-len(partitions) // columns)
    cells = [_cell(part, worst) for part in sorted(partitions, key=lambda part: part.partition)]
    # Downwards, so that neighbours stand below each other.
    return [Text("").join(cells[row::rows]) for row in range(rows)]


def _cell(part: PartitionStatus, worst: int) -> Text:
    cell = Text.assemble(
        (f"{part.partition:>4} ", "dim"),
        bar(part.behind / worst if worst else 0.0, _BAR, _COMPARED),
        f" {count(part.behind)}",
    )
    cell.append(" " * max(1, _CELL - len(cell)))
    return cell


def troubles(status: ConsumerStatus) -> list[str]:
    """What a consumer reports that somebody has to look at."""
    state, unanswered_s = status.state, status.group_commit.announcement_age_s or 0.0
    return [
        *([f"no committer has answered for {seconds(unanswered_s)}"] if unanswered_s > UNANSWERED_S else []),
        *([f"state {REDUCED}: {state.why}"] if state and state.is_reduced else []),
        *dedup_troubles(status.dedup.tier),
        *([f"waiting: {status.waiting}"] if status.waiting else []),
        *([clock_line(status.clock_behind_s)] if status.clock_behind_s else []),
        *([f"maintenance fails: {status.maintenance_error}"] if status.maintenance_error else []),
        *([f"dedup state is not saved: {status.dedup_save_error}"] if status.dedup_save_error else []),
        *([_erring(status.dedup)] if status.dedup.errs_beyond_plan else []),
    ]


def _erring(dedup: DedupStatus) -> str:
    return f"Bloom chunks err: {dedup.false_positive_rate or 0.0:.2%}, planned {dedup.planned_error_rate:.2%}"


@dataclass(frozen=True)
class _Assigned:
    consumer: ConsumerStatus
    part: PartitionStatus


def partitions_page(overview: Overview, width: int, *, worst_first: bool) -> RenderableType:
    """Every partition with its offsets, in records."""
    rows = [_Assigned(status, part) for status in overview.consumers for part in status.partitions]
    if not rows:
        return Text(_NOBODY if not overview.consumers else "No partition is assigned.", style="dim")
    rows.sort(key=lambda row: (row.consumer.topic, row.part.partition))
    if worst_first:
        rows.sort(key=lambda row: -row.part.behind)
    worst = max(row.part.behind for row in rows)
    several = len({row.consumer.topic for row in rows}) > 1
    columns: list[tuple[str, Callable[[_Assigned], Cell]]] = [
        (">partition", lambda row: str(row.part.partition)),
        ("=consumer", lambda row: row.consumer.id),
        (">read to", lambda row: f"{row.part.position:,}"),
        (">stored to", lambda row: f"{row.part.committed:,}"),
        (">end", lambda row: _end(row.part)),
        (">behind", lambda row: marked(f"{row.part.behind:,}", "yellow", row.part.behind)),
        *([("=", lambda row: bar(row.part.behind / worst if worst else 0.0, 20, _COMPARED))] if width > 100 else []),
    ]
    if several and not worst_first:
        return Grouped(rows, lambda row: row.consumer.topic, *columns)
    return listing(rows, *columns)


def _end(part: PartitionStatus) -> str:
    return "unknown" if part.high_watermark < part.committed else f"{part.high_watermark:,}"


def consumers_page(overview: Overview, width: int) -> RenderableType:
    """Each consumer, all of them together, what is wrong with each, and the loads."""
    if not overview.consumers:
        parts: list[RenderableType] = [Text(_NOBODY, style="dim")]
    else:
        parts = [_table(overview, width)]
    for status in overview.consumers:
        if found := troubles(status):
            parts += [Text(), Text(status.id, style="bold"), *(Text(f"  {line}", style="yellow") for line in found)]
    parts += [Text(), *_loads(overview.loaders)]
    return Group(*parts)


def _table(overview: Overview, width: int) -> Table:
    rows: list[ConsumerStatus | Overview] = [*overview.consumers]
    if len(rows) > 1:
        rows.append(overview)
    more = width >= 110
    return listing(
        rows,
        ("=consumer", lambda one: one.id if isinstance(one, ConsumerStatus) else Text("all", style="bold")),
        ("=level", lambda one: Text(one.level, LEVEL_STYLES.get(one.level, ""))),
        (">lag", lambda one: "unknown" if one.lag_trades is None else count(one.lag_trades)),
        *([(">lag in time", lambda one: "" if one.lag_seconds is None else seconds(one.lag_seconds))] if more else []),
        (">read", lambda one: f"{count(one.rate_in)}/s"),
        (">committed", lambda one: f"{count(one.rate_committed)}/s"),
        (">pending", lambda one: count(one.pending)),
        *([(">backfilled", lambda one: count(one.backfilled)), (">commit", lambda one: f"{one.commit_ms:.0f} ms")]
          if more else []),
        (">memory", lambda one: f"{one.memory_share:.0%}"),
        (">parts", lambda one: str(_assigned_to(one))),
    )  # fmt: skip


def _assigned_to(one: ConsumerStatus | Overview) -> int:
    return sum(len(status.partitions) for status in ([one] if isinstance(one, ConsumerStatus) else one.consumers))


def _loads(loaders: Sequence[LoadStatus]) -> Iterator[Text]:
    if not loaders:
        yield Text("no load reports", style="dim")
    for load in loaders:
        paused = f"  paused {seconds(load.paused_s)}: {load.paused_why}" if load.paused_why else ""
        yield Text.assemble(
            (f"{load.id} ", "bold"), f"{count(load.rate)}/s of {count(load.target_rate)}/s, sent {load.sent:,}",
            (paused, "yellow"),
        )  # fmt: skip
