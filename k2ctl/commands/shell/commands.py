"""The shell's own commands: each by the names that psql, sqlite and DuckDB have for it."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class ShellCommand:
    """A command of the shell."""

    # With \ or . before them, the first is the one in the help.
    names: tuple[str, ...]
    # What follows it, as the help shows it.
    argument: str
    help: str


COMMANDS: Final = (
    ShellCommand(("d", "tables", "dt", "schema"), "[VIEW]", "the views, or the columns of one"),
    ShellCommand(("mode", "format"), "[table|json|csv]", "how rows are shown"),
    ShellCommand(("limit",), "[N|all]", "how many rows are shown"),
    ShellCommand(("timing",), "[on|off]", "how long each query took"),
    ShellCommand(("watch",), "[SECONDS]", "the last query again, until Ctrl-C"),
    ShellCommand(("param", "set"), "[NAME=VALUE]", "the value of $NAME; NAME= removes it"),
    ShellCommand(("i", "read"), "FILE", "run what is in a file"),
    ShellCommand(("?", "help", "h"), "", "this help"),
    ShellCommand(("q", "quit", "exit"), "", "end the shell, like Ctrl-D"),
)
_BY_NAME: Final = {name: command.names[0] for command in COMMANDS for name in command.names}


def known(name: str) -> str | None:
    """The first of the names of a command; None where there is no such command."""
    return _BY_NAME.get(name)
