"""What is outstanding, as a table; how it is backfilled, as a line."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from k2ctl.deferred.outstanding import OutstandingRange
from k2ctl.views.style import count


def outstanding_table(ranges: Sequence[OutstandingRange]) -> Table | Text:
    """Each range with where it lies; one that is gone is red."""
    if not ranges:
        return Text("Nothing is outstanding: every trade that was deferred has been backfilled.")
    table = Table(box=None, pad_edge=False)
    for name, justify in (("partition", "right"), ("offsets", "right"), ("trades", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name in ("priorities", "defers at", "lies in"):
        table.add_column(name)
    for found in ranges:
        where = Text(found.where, style="bold red" if found.gone_records else "")
        offsets = f"{found.start:,} – {found.end:,}"
        priorities = ", ".join(found.priorities)
        table.add_row(str(found.partition), offsets, f"{found.count:,}", priorities, found.level, where)
    table.add_section()
    table.add_row("", "", f"{sum(found.count for found in ranges):,}", "", "", "")
    return table


def progress_line(statuses: Sequence[dict[str, Any]]) -> str:
    """What the running consumers owe still."""
    outstanding, back = (sum(status[name] for status in statuses) for name in ("outstanding", "backfilled"))
    level = max(statuses, key=lambda status: status["level_number"])["level"] if statuses else "unknown"
    waiting = "" if level == "NORMAL" else f"; waits for NORMAL, it is {level}"
    return f"{count(back)} trades backfilled, {count(outstanding)} outstanding{waiting}"
