"""The whole help as one manual page, in the format of `man`."""

import re
from typing import Any

import typer

from k2ctl import __version__


def manual(root: typer.Context) -> str:
    """Every command with its options, from the same texts as `--help`."""
    group: Any = root.command
    lines = [
        f'.TH K2CTL 1 "" "k2ctl {__version__}" "k2ctl"',
        ".SH NAME",
        f"k2ctl \\- {_escaped(_first_sentence(group.help))}",
        ".SH SYNOPSIS",
        ".B k2ctl",
        "[OPTIONS] COMMAND [ARGS]...",
        ".SH DESCRIPTION",
        *_paragraphs(group.help),
        ".SH OPTIONS",
        *_parameters(root, "option"),
        ".SH COMMANDS",
    ]
    for name in group.list_commands(root):
        _, command, _ = group.resolve_command(root, [name])
        lines += _section(typer.Context(command, info_name=name, parent=root))
    return "\n".join([*lines, *_ENDING]) + "\n"


_ENDING = (
    ".SH EXIT STATUS",
    "0 fine, 1 failed, 2 usage, 3 unhealthy or a check fell short, 130 interrupted, 141 nobody reads the output.",
    ".SH FILES",
    "The state directory: K2CTL_HOME, else the user's state directory by the XDG rules.",
    ".PP",
    "What is set once: K2CTL_CONFIG, else k2ctl/config.toml in the user's configuration directory by the XDG rules.",
)


def _section(context: typer.Context) -> list[str]:
    """A command, and those below it."""
    command: Any = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    lines = [f'.SS "{_escaped(context.command_path)}"', f".B {_escaped(usage)}", ".PP", *_paragraphs(command.help)]
    lines += [*_parameters(context, "argument"), *_parameters(context, "option")]
    for name, below in getattr(command, "commands", {}).items():
        lines += _section(typer.Context(below, info_name=name, parent=context))
    return lines


def _parameters(context: typer.Context, kind: str) -> list[str]:
    lines = []
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context) if parameter.param_type_name == kind else None
        if record is not None and parameter.name != "help":
            lines += [".TP", f".B {_escaped(record[0])}", _escaped(record[1])]
    return lines


def _paragraphs(text: str | None) -> list[str]:
    """A docstring: its blank lines part paragraphs, and a paragraph after \\b keeps its lines."""
    lines = []
    for paragraph in re.split(r"\n\s*\n", (text or "").strip()):
        if paragraph.startswith("\b"):
            lines += [".nf", *(_escaped(line) for line in paragraph.splitlines()[1:]), ".fi", ".PP"]
        else:
            lines += [_escaped(" ".join(paragraph.split())), ".PP"]
    return lines


def _first_sentence(text: str | None) -> str:
    return (text or "").strip().splitlines()[0].rstrip(".")


def _escaped(text: str) -> str:
    """Text of which nothing is a request to the formatter."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    plain = "".join(sign if sign.isascii() else f"\\[u{ord(sign):04X}]" for sign in escaped)
    return f"\\&{plain}" if plain.startswith((".", "\\(aq")) else plain
