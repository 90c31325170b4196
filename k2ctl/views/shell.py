"""What the SQL shell says of itself."""

from collections.abc import Iterable
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from k2ctl.views.style import listing

VIEWS_SAID: Final = {
    "trades": "lake and stream, each trade once, as corrected",
    "trades_raw": "every print, with corrections and cancellations",
    "reference": "reference data of symbols",
    "snapshots": "the commits of the table",
    "gaps": "numbers of venues that are missing",
}
BANNER: Final = (
    "SQL over trades, trades_raw, reference, snapshots and gaps; a query ends with ;\n"
    "\\? shows the shell's commands, Tab completes, Ctrl-D ends it."
)


def views_panel() -> Table:
    """The views."""
    return listing(VIEWS_SAID.items(), ("=view", lambda one: one[0]), ("has", lambda one: one[1]))


def help_panel(commands: Iterable[tuple[str, str, str]]) -> RenderableType:
    """The commands, each as it is written, with its other names and what it does."""
    table = listing(
        commands, ("=command", lambda one: one[0]), ("what it does", lambda one: one[2]), ("also", lambda one: one[1])
    )
    notes = Text(
        "A query ends with ; and may have many lines. Tab completes views, columns and\n"
        "symbols; arrows and Ctrl-R find earlier ones. Ctrl-C ends a query."
    )
    return Group(table, Text(), notes)
