"""The claims that consumers share, at a glance."""

from collections.abc import Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from k2ctl.dedup.shared.claims_view import ClaimsView
from k2ctl.views.style import Cell, counted, facts, marked, size

NAMED: Final = 3


def claims_panel(view: ClaimsView) -> RenderableType:
    """How many there are, their memory, and what is not covered."""
    if view.store == "memory":
        return Text("Claims are in the memory of the consumers' process: there is nothing to see from outside.")
    return Group(Text(f"Claims, scope {view.scope}", style="bold"), facts(_facts(view)))


def _facts(view: ClaimsView) -> Iterator[tuple[str, Cell | None]]:
    yield "ids", f"{view.ids:,}, of {counted(view.batches, 'commit')}"
    memory = f"{size(view.bytes)} of {size(view.planned_bytes)} planned, {view.bytes_per_id:.0f} bytes an id"
    yield "memory", marked(memory, "yellow", view.bytes > view.planned_bytes)
    covered = view.partitions - len(view.uncovered)
    yield "covered", marked(f"{covered:,} of {counted(view.partitions, 'partition')}", "yellow", bool(view.uncovered))
    if view.uncovered:
        more = f"; {len(view.uncovered) - NAMED:,} more" if len(view.uncovered) > NAMED else ""
        yield "not covered", f"{'; '.join(view.uncovered[:NAMED])}{more}: running consumers heal them"
    yield "keys", f"{view.namespace}:claims:…, generation {view.generation}"
    for damage in view.damaged:
        yield "damaged", Text(damage, style="yellow")
