"""What `k2ctl doctor` shows."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from k2ctl.stack.preflight import Check, Verdict

_SIGNS: Final = {Verdict.OK: ("✓", "green"), Verdict.NOTE: ("!", "yellow"), Verdict.WRONG: ("✗", "bold red")}


def checks_panel(checks: Sequence[Check]) -> Group:
    """A row per check, what helps below what is not well, and what it all comes to."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=1)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        sign, style = _SIGNS[check.verdict]
        table.add_row(Text(sign, style=style), check.name, Text(check.found, style=_loudness(check)))
        if check.help:
            table.add_row("", "", Text(f"→ {check.help}", style="bold"))
    return Group(table, Text(), verdict_text(checks))


def check_lines(checks: Sequence[Check]) -> Iterator[str]:
    """The same for a pipe: a line per check, unbroken."""
    for check in checks:
        yield f"{_SIGNS[check.verdict][0]} {check.name}: {check.found}"
        if check.help:
            yield f"  → {check.help}"
    yield verdict_text(checks).plain


def _loudness(check: Check) -> str:
    return {Verdict.OK: "dim", Verdict.NOTE: "", Verdict.WRONG: "red"}[check.verdict]


def verdict_text(checks: Sequence[Check]) -> Text:
    """How many things are wrong."""
    wrong, notes = (sum(check.verdict is verdict for check in checks) for verdict in (Verdict.WRONG, Verdict.NOTE))
    noted = f" Good to know: {notes}." if notes else ""
    if not wrong:
        return Text(f"Nothing is wrong.{noted}", style="green")
    return Text(f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong.{noted}", style="bold red")
