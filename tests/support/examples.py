"""The examples in the help of the commands, as what a person types after `k2ctl`."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import typer

from k2ctl.cli import COMMANDS, app

_ENDS = {">", "|", "&&", "or"}
"""Of a line of a shell, where the arguments of k2ctl end."""


def contexts(command: Any = None, name: str = "k2ctl", parent: Any = None) -> Iterator[Any]:
    """The root command, or another one, and all below it."""
    context = typer.Context(command or typer.main.get_command(app), info_name=name, parent=parent)
    yield context
    for below, child in getattr(context.command, "commands", {}).items():
        yield from contexts(COMMANDS[below].load() if parent is None else child, below, context)


def examples_of(context: Any) -> list[list[str]]:
    """The examples in one command's help."""
    found = []
    for paragraph in re.split(r"\n\s*\n", context.command.help or ""):
        text = re.sub(r"^[A-Z][\w ,-]*:\s+", "", " ".join(paragraph.split()))
        if text.startswith("k2ctl "):
            words = shlex.split(text)[1:]
            found.append(words[: next((at for at, word in enumerate(words) if word in _ENDS), len(words))])
    return found


def all_examples() -> list[list[str]]:
    """Every example, each once."""
    every = {tuple(words): None for context in contexts() for words in examples_of(context)}
    return [list(words) for words in every]
