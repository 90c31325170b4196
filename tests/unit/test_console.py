"""What is written is what is shown."""

import pytest
from rich.table import Table

from k2ctl.console import out, say, visible


def test_square_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table.grid()
    table.add_row("sqlite:///[bold]x[/y]/catalog.db")
    out().print(table)
    out().print("[red]BHP[/x]")
    say("the lake stays in /tmp/[dim]z[/y]")
    shown = capsys.readouterr()
    assert shown.out.split() == ["sqlite:///[bold]x[/y]/catalog.db", "[red]BHP[/x]"]
    assert shown.err == "the lake stays in /tmp/[dim]z[/y]\n"


def test_a_control_code_in_a_value_is_shown_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table.grid()
    table.add_row("B\x1b[31mHP", "\x9b2J")
    out().print(table)
    say("no profile '\x1b]0;title\x07'")
    shown = capsys.readouterr()
    assert shown.out == "B\\x1b[31mHP\\x9b2J\n"
    assert shown.err == "no profile '\\x1b]0;title\\x07'\n"


def test_in_a_row_a_line_end_is_escaped_too() -> None:
    assert visible("a\nb\tc\x1b") == "a\\nb\\tc\\x1b"
    assert visible("Zürich, 4 µs") == "Zürich, 4 µs"
