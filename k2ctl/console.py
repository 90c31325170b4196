"""The two consoles: data goes to stdout, talk goes to stderr."""

import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@cache
def out() -> "Console":
    """Data, for people on a terminal and for pipes. Colour only on a terminal, never with `NO_COLOR`.

    Text is shown as it is: a path or a trade with square brackets is no markup.
    """
    return _console(to_stderr=False)


@cache
def err() -> "Console":
    """Progress and prose."""
    return _console(to_stderr=True)


def _console(*, to_stderr: bool) -> "Console":
    from rich.console import Console

    class Ours(Console):
        def on_broken_pipe(self) -> None:
            """Rich would end the process; where errors end, it is known what a closed pipe means."""
            raise BrokenPipeError

    return Ours(stderr=to_stderr, highlight=False, markup=False)


def say(message: str) -> None:
    """One line of talk. A terminal breaks lines by itself; a path broken by us could not be copied."""
    err().print(message, soft_wrap=True)


def print_json(line: str | bytes) -> None:
    """One JSON document on one line of stdout, in UTF-8 whatever the locale, never wrapped or coloured."""
    sys.stdout.flush()
    sys.stdout.buffer.write((line.encode() if isinstance(line, str) else line) + b"\n")
    sys.stdout.buffer.flush()
