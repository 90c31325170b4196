"""What several commands share: option types, what excludes each other, and the question before something is lost."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from k2ctl import known_names
from k2ctl.errors import ExitCode, UsageError

_PART = r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)"
_DURATION = re.compile(rf"{_PART}(?:\s*{_PART})*")
_UNITS_S: Final[dict[tuple[str, ...], float]] = {
    ("w", "week", "weeks"): 604_800.0,
    ("d", "day", "days"): 86_400.0,
    ("h", "hr", "hrs", "hour", "hours"): 3600.0,
    ("m", "min", "mins", "minute", "minutes"): 60.0,
    ("s", "sec", "secs", "second", "seconds"): 1.0,
    ("ms",): 0.001,
}
"""Names of a unit, the largest first → seconds."""
LONGEST_S = 100 * 365.25 * 86400.0
_COUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?:[eE]\+?([0-9]{1,4})|\s*([kKmMgG]))?")
_COUNT_FACTOR = {"k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
LARGEST_COUNT = 10**12


def parse_duration(text: str | float) -> float:
    """How long something takes, in seconds: `15m`, `1m30s`, `15 min`, `2h`; a bare `300` is in seconds."""
    said = str(text).strip()
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", said):
        return _not_too_long(float(said), said)
    return parse_span(said)


def parse_span(text: str) -> float:
    """How far back something reaches, in seconds: `15m`, `1m30s`, `2h`.

    A bare number could mean minutes or seconds, so it is refused, but for 0.
    """
    said = text.strip()
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", said):
        if not float(said):
            return 0.0
        raise typer.BadParameter(f"'{said[:40]}' has no unit; write {said[:12]}m, {said[:12]}s or {said[:12]}h")
    parts = re.findall(_PART, said) if _DURATION.fullmatch(said) else []
    sizes = [_unit_s(unit) for _, unit in parts]
    if not parts or 0.0 in sizes or sizes != sorted(set(sizes), reverse=True):
        raise typer.BadParameter(f"'{said[:40]}' is not a duration; write 15m, 1m30s or 2h")
    return _not_too_long(sum(float(number) * size for (number, _), size in zip(parts, sizes, strict=True)), said)


def _unit_s(name: str) -> float:
    return next((size for names, size in _UNITS_S.items() if name in names), 0.0)


def _not_too_long(duration_s: float, said: str) -> float:
    if duration_s > LONGEST_S:
        raise typer.BadParameter(f"'{said[:40]}' is longer than a hundred years")
    return duration_s


def parse_count(text: str | int) -> int:
    """`500000`, `500k`, `1M`, `1e7` as a whole number."""
    from decimal import Decimal

    said = str(text).strip()
    match = _COUNT.fullmatch(said.replace("_", "").replace(",", ""))
    if not match:
        raise typer.BadParameter(f"'{said[:40]}' is not a count; write 500000, 500k, 1M or 1e7")
    value = Decimal(match[1]).scaleb(int(match[2] or 0)) * _COUNT_FACTOR.get((match[3] or "").lower(), 1)
    if value > LARGEST_COUNT:
        raise typer.BadParameter(f"'{said[:40]}' is more than {LARGEST_COUNT:,}")
    if value != int(value):
        raise typer.BadParameter(f"'{said[:40]}' is not a whole number")
    return int(value)


ProfileOption = Annotated[
    str,
    typer.Option(
        "--profile",
        metavar="NAME|PATH",
        help="A shipped profile by name, or a YAML file.",
        autocompletion=known_names.profiles,
    ),
]
StackProfileOption = Annotated[
    str,
    typer.Option(
        "--profile",
        metavar="NAME|PATH",
        help="A shipped profile by name, or a YAML file.",
        show_default="the stack's",
        autocompletion=known_names.profiles,
    ),
]
"""For commands that work with the running stack."""
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]
EngineOption = Annotated[
    str,
    typer.Option("--engine", metavar="NAME", help="embedded, local or docker.", autocompletion=known_names.own_engines),
]
"""For commands that start a stack of their own and delete it."""
LOCAL_MASTER = "local[*]"
MasterOption = Annotated[
    str, typer.Option("--master", metavar="URL", help="Spark's: local[*], spark://HOST:7077, yarn, k8s://URL.")
]
ConfOption = Annotated[
    list[str] | None,
    typer.Option(
        "--conf", metavar="NAME=VALUE", help="An option of the Spark session; repeatable.", show_default="none"
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def group(**settings: Any) -> typer.Typer:
    """A command that has others below it."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, **settings)


def typed(context: typer.Context) -> set[str]:
    """The options that somebody typed, as `--they-are`: neither defaults nor what the environment says."""
    sources = ((name, context.get_parameter_source(name)) for name in context.params)
    return {f"--{name.replace('_', '-')}" for name, source in sources if source and source.name == "COMMANDLINE"}


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
    typer.Option(
        "--column",
        metavar="NAME=VALUE",
        help="What the names of the files do not say: date=2024-01-02.",
        show_default="none",
    ),
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
    typer.Option(
        "--param",
        metavar="NAME=VALUE",
        help="The value of $NAME in the query; repeatable.",
        show_default="none",
        autocompletion=known_names.values_of_parameters,
    ),
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
