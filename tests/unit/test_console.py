"""What is written is what is shown."""

import pytest
from rich.table import Table

from k2ctl.console import out, say


def test_square_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table.grid()
    table.add_row("sqlite:///[bold]x[/y]/catalog.db")
    out().print(table)
    out().print("[red]BHP[/x]")
    say("the lake stays in /tmp/[dim]z[/y]")
    shown = capsys.readouterr()
    assert shown.out.split() == ["sqlite:///[bold]x[/y]/catalog.db", "[red]BHP[/x]"]
    assert shown.err == "the lake stays in /tmp/[dim]z[/y]\n"
