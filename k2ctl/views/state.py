"""What `k2ctl state` shows."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from k2ctl.sequence.store_view import StoreView
from k2ctl.views.style import seconds, size


def store_panel(view: StoreView) -> RenderableType:
    """The store at a glance, and its partitions."""
    if view.store == "memory":
        return Text(
            "State is kept in each consumer's memory: there is nothing to look at from outside. It is rebuilt from "
            "the table at every start. To share it: k2ctl consume --state redis://HOST:PORT/0"
        )
    parts: list[RenderableType] = [
        Text(
            f"{view.symbols:,} symbols in {len(view.partitions):,} partitions, {size(view.bytes)}"
            f" ({view.bytes_per_symbol:.0f} bytes each)",
            style="bold",
        ),
        Text(f"{view.topic}, keys {view.namespace}:sequence:<partition>", style="dim"),
    ]
    parts.append(Text("Redis: " + "  ".join(f"{name} {value}" for name, value in view.server.items()), style="dim"))
    parts += [Text(f"Damaged: {damage}.", style="yellow") for damage in view.damaged]
    if view.damaged:
        parts.append(Text("A consumer replaces it from the table with its next commit there.", style="dim"))
    if view.partitions:
        parts += [Text(), _partitions(view)]
    return Group(*parts)


def _partitions(view: StoreView) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("partition", "symbols", "size", "up to offset", "behind the table", "forgotten in"):
        table.add_column(name, justify="right")
    for part in view.partitions:
        table.add_row(
            str(part.partition),
            f"{part.symbols:,}",
            size(part.bytes),
            f"{part.offset:,}",
            Text(f"{part.behind:,}", style="yellow" if part.behind else "dim"),
            "never" if part.expires_s is None else seconds(part.expires_s),
        )
    return table
