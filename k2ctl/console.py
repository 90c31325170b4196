"""The two consoles: data goes to stdout, talk goes to stderr."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@cache
def out() -> "Console":
    """Data, for people on a terminal and for pipes. Colour only on a terminal, never with `NO_COLOR`.

    Text is shown as it is: a path or a trade with square brackets is no markup.
    """
    from rich.console import Console

    return Console(highlight=False, markup=False)


@cache
def err() -> "Console":
    """Progress and prose."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False)


def say(message: str) -> None:
    """One line of talk. A terminal breaks lines by itself; a path broken by us could not be copied."""
    err().print(message, soft_wrap=True)


def print_json(line: str | bytes) -> None:
    """One JSON document on one line of stdout, never wrapped or coloured."""
    text = line.decode() if isinstance(line, bytes) else line
    out().file.write(text + "\n")
    out().file.flush()
