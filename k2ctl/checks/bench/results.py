"""The results of a benchmark as a file, the machine they are from, and two of them side by side."""

import os
import platform
import subprocess
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

import orjson
import psutil

import k2ctl
from k2ctl.checks.bench.figures import Figure
from k2ctl.demo.result import processor
from k2ctl.errors import CheckFailed, UsageError
from k2ctl.files import write_atomically
from k2ctl.home import Home

LIBRARIES: Final = ("confluent-kafka", "numpy", "pyarrow", "pyiceberg", "duckdb", "redis")
BUSY_SHARE: Final = 0.3
"""Above so much load for each core, others take part of what is measured."""

_CHECKOUT: Final = Path(k2ctl.__file__).parent.parent


@dataclass(frozen=True)
class Machine:
    """Facts of one run. load_average: over the minute before it began. commit: None outside a checkout.

    started: ISO 8601, UTC.
    """

    started: str
    cpu: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    libraries: dict[str, str]
    load_average: float
    k2ctl: str
    commit: str | None

    @property
    def busy(self) -> bool:
        """Whether so much ran beside that the figures are too low."""
        return self.load_average > BUSY_SHARE * self.cores

    def is_like(self, other: "Machine") -> bool:
        """Whether absolute figures of both can be compared."""
        return (self.cpu, self.cores) == (other.cpu, other.cores)


def this_machine() -> Machine:
    """The facts, now."""
    return Machine(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        cpu=processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        libraries={name: version(name) for name in LIBRARIES},
        load_average=psutil.getloadavg()[0],
        k2ctl=version("k2ctl"),
        commit=_commit(),
    )


def _commit() -> str | None:
    """The commit of the checkout that this file is in, with a + where files differ from it."""
    if not (_CHECKOUT / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(_CHECKOUT), "describe", "--always", "--dirty=+", "--abbrev=10"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


SMALLEST_BAND: Final = 0.05
"""Less than this is never a regression: a run that close to another is no change."""

Verdict = Literal["worse", "better", "same"]


@dataclass(frozen=True)
class Results:
    """One run: what it ran on, what was asked for, how long it took, and its figures."""

    machine: Machine
    asked: str
    seconds: float
    figures: list[Figure]


@dataclass(frozen=True)
class Compared:
    """One figure of two runs. change: (after − before) / before; band: how much of that is noise, as a share."""

    before: Figure
    after: Figure
    change: float
    band: float

    @property
    def verdict(self) -> Verdict:
        """Worse or better only beyond the noise."""
        if abs(self.change) <= self.band:
            return "same"
        return "worse" if (self.change > 0) == self.after.lower_is_better else "better"


def save(results: Results) -> Path:
    """Write a run into the state directory, as `results/bench-<time>.json`."""
    folder = Home.of_user().path / "results"
    folder.mkdir(mode=0o700, exist_ok=True)
    moment = datetime.fromisoformat(results.machine.started).strftime("%Y%m%dT%H%M%SZ")
    path = folder / f"bench-{moment}.json"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"bench-{moment}-{number}.json"
    write_atomically(path, orjson.dumps(asdict(results), option=orjson.OPT_INDENT_2).decode())
    return path


def read(path: Path) -> Results:
    """A run that `save` has written.

    Raises:
        UsageError: there is no such file, or it is not one.
    """
    try:
        raw: dict[str, Any] = orjson.loads(path.read_bytes())
        figures = [Figure(**_known(Figure, figure)) for figure in raw["figures"]]
        return Results(Machine(**_known(Machine, raw["machine"])), raw["asked"], raw["seconds"], figures)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"{path} holds no results of k2ctl bench: {error}",
            f"They are in {Home.of_user().path / 'results'}; make some: k2ctl bench all --quick",
        ) from error


def compare(before: Results, after: Results) -> list[Compared]:
    """What both have measured, in the order of the second; on unlike machines only ratios.

    The noise of a figure is half of each run's spread. One that was measured once gets the median spread of its run.
    """
    alike = before.machine.is_like(after.machine)
    known = {_name(figure): figure for figure in before.figures}
    usual = [_usual_spread(results) for results in (before, after)]
    found = []
    for figure in after.figures:
        old = known.get(_name(figure))
        if old is None or figure.lower_is_better is None or not old.measured:
            continue
        if not alike and figure.ratio is None:
            continue
        spreads = [one.spread or common for one, common in zip((old, figure), usual, strict=True)]
        band = max(SMALLEST_BAND, sum(spreads) / 2)
        found.append(Compared(old, figure, (figure.measured - old.measured) / abs(old.measured), band))
    return found


def regressions(compared: list[Compared]) -> CheckFailed | None:
    """The error that a run ends with that has become worse."""
    worse = [pair.after for pair in compared if pair.verdict == "worse"]
    if not worse:
        return None
    return CheckFailed(
        f"{len(worse)} of {len(compared)} figures are worse than before, beyond the noise.",
        f"Run it again on a quiet machine: k2ctl bench {worse[0].benchmark} --compare FILE",
    )


def _usual_spread(results: Results) -> float:
    spreads = sorted(figure.spread for figure in results.figures if figure.spread is not None)
    return spreads[len(spreads) // 2] if spreads else 0.0


def _name(figure: Figure) -> tuple[str, str, str]:
    return figure.benchmark, figure.case, figure.metric


def _known(kind: type, raw: dict[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in raw.items() if name in names}
