"""Option types of several commands: durations, counts, profile, engine, --json."""

import re
from decimal import Decimal
from typing import Annotated

import typer

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
