"""What several commands share: option types, what excludes each other, and the question before something is lost."""

import re
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from k2ctl.errors import ExitCode, UsageError

_DURATION = re.compile(r"^([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)?$")
_DURATION_S = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST_S = 100 * 365.25 * 86400.0
_COUNT = re.compile(r"^([0-9]+(?:\.[0-9]+)?)\s*([kKmMgG])?$")
_COUNT_FACTOR = {"k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
LARGEST_COUNT = 10**12


def parse_duration(text: str | float) -> float:
    """`15m`, `300`, `2h`, `500ms` as seconds."""
    match = _DURATION.match(str(text).strip())
    if not match:
        raise typer.BadParameter(f"'{str(text)[:40]}' is not a duration; write 15m, 300 or 2h")
    duration_s = float(match[1]) * _DURATION_S[match[2]]
    if duration_s > LONGEST_S:
        raise typer.BadParameter(f"'{str(text)[:40]}' is longer than a hundred years")
    return duration_s


def parse_count(text: str | int) -> int:
    """`500000`, `500k`, `1M` as a whole number."""
    match = _COUNT.match(str(text).strip().replace("_", "").replace(",", ""))
    if not match:
        raise typer.BadParameter(f"'{str(text)[:40]}' is not a count; write 500000, 500k or 1M")
    value = Decimal(match[1]) * _COUNT_FACTOR.get((match[2] or "").lower(), 1)
    if value != int(value):
        raise typer.BadParameter(f"'{str(text)[:40]}' is not a whole number")
    if value > LARGEST_COUNT:
        raise typer.BadParameter(f"'{str(text)[:40]}' is more than {LARGEST_COUNT:,}")
    return int(value)


ProfileOption = Annotated[
    str, typer.Option("--profile", metavar="NAME|PATH", help="A shipped profile by name, or a YAML file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]
EngineOption = Annotated[str, typer.Option("--engine", metavar="NAME", help="embedded, local or docker.")]
"""For commands that start a stack of their own and delete it."""
LOCAL_MASTER = "local[*]"
MasterOption = Annotated[
    str, typer.Option("--master", metavar="URL", help="Spark's: local[*], spark://HOST:7077, yarn, k8s://URL.")
]
ConfOption = Annotated[
    list[str] | None, typer.Option("--conf", metavar="NAME=VALUE", help="An option of the Spark session; repeatable.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def group(**settings: Any) -> typer.Typer:
    """A command that has others below it."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, **settings)


def at_most_one(given: Mapping[str, object], hint: str = "Leave one of them out.") -> None:
    """Raises:
    UsageError: several of the options were given.
    """
    named = [option for option, value in given.items() if value]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} exclude each other.", hint)


def check_writable(path: Path | None, hint: str = "Name one in a folder that is there.") -> None:
    """Raises:
    UsageError: no file can be written there.
    """
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise UsageError(f"No file can be written at {path}.", hint)


def confirm(question: str, unasked: UsageError, declined: str, *, yes: bool) -> None:
    """Ask before something is changed that cannot be taken back.

    unasked: raised where there is nobody to ask. declined: what is said after a no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise unasked
    if not typer.confirm(question, err=True):
        from k2ctl.console import say

        say(declined)
        raise typer.Exit(ExitCode.FAILED)


ColumnOption = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="NAME=VALUE", help="What the names of the files do not say: date=2024-01-02."),
]


def columns_said(said: list[str] | None) -> tuple[tuple[str, str], ...]:
    """What was given with `--column`.

    Raises:
        UsageError: one has no name or no value.
    """
    pairs = [text.partition("=") for text in said or []]
    wrong = next((name for name, _, value in pairs if not name or not value), None)
    if wrong is not None:
        raise UsageError(
            f"--column {wrong[:40]} has no value.", "Example: --column date=2024-01-02 --column symbol=ABC"
        )
    return tuple((name, value) for name, _, value in pairs)


_PARAMETER = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
ParamOption = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="NAME=VALUE", help="The value of $NAME in the query; repeatable."),
]


def parameters_said(said: list[str] | None) -> dict[str, str]:
    """What was given with `--param`, by name.

    Raises:
        UsageError: one has no name or no value, or there are two of a name.
    """
    found: dict[str, str] = {}
    for text in said or []:
        match = _PARAMETER.fullmatch(text)
        if match is None:
            raise UsageError(f"--param {text[:40]} is no name with a value.", "Example: --param symbol=BHP")
        if match[1] in found:
            raise UsageError(f"--param {match[1]} is given twice.", "Leave one of them out.")
        found[match[1]] = match[2]
    return found
