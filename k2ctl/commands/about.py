"""`k2ctl help` and `version`."""

import sys
from typing import Annotated, Any

import typer

from k2ctl.options import JsonOption

LIBRARIES = ("confluent-kafka", "pyiceberg", "pyarrow", "duckdb", "pydantic", "typer")
"""Whose version explains a fault most often."""


def _commands(context: typer.Context, incomplete: str) -> list[str]:
    """The commands below those that are typed."""
    root: Any = context.find_root()
    group: Any = root.command
    for name in context.params.get("names") or ():
        _, group, _ = group.resolve_command(root, [name])
    return [name for name in getattr(group, "commands", {}) if name.startswith(incomplete)]


def help_of(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMMAND",
            help="The command, such as: query recent.",
            show_default="all commands",
            autocompletion=_commands,
        ),
    ] = None,
    man: Annotated[bool, typer.Option("--man", help="Everything as one manual page, in man's own format.")] = False,
) -> None:
    """The help of a command, as --help gives it.

    Example:  k2ctl help query recent

    As a manual page:  k2ctl help --man > k2ctl.1 && man ./k2ctl.1
    """
    from k2ctl.console import out

    root: Any = context.find_root()
    if man:
        from k2ctl.views.manual import manual

        out().file.write(manual(root))
        return
    found: Any = root
    for name in names or ():
        group: Any = found.command
        if not hasattr(group, "resolve_command"):
            found.fail(f"'{found.command_path}' has no commands below it.")
        name, command, _ = group.resolve_command(found, [name])
        found = typer.Context(command, info_name=name, parent=found)
    out().file.write(found.get_help() + "\n")


def version(as_json: JsonOption = False) -> None:
    """The version of k2ctl, of Python, and of the libraries that it uses: for a report of a fault.

    Example:  k2ctl version
    """
    from importlib.metadata import version as version_of

    from k2ctl import __version__
    from k2ctl.console import out, print_json

    python = ".".join(map(str, sys.version_info[:3]))
    libraries = {name: version_of(name) for name in LIBRARIES}
    if as_json:
        print_json({"k2ctl": __version__, "python": python, **libraries})
        return
    out().print(f"k2ctl {__version__}")
    libraries_said = ", ".join(f"{name} {number}" for name, number in {"Python": python, **libraries}.items())
    out().print(libraries_said, soft_wrap=not out().is_terminal)
