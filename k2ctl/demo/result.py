"""The result of the demo: acts with their findings and checks, and the samples that charts are drawn from.

Plain data, pulled from the stage: the screen, the JSON and the report all show the same.
"""

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import psutil

from k2ctl.demo.checks import DemoCheck
from k2ctl.domain.overview import Overview

CPU_INFO: Final = Path("/proc/cpuinfo")


def machine_facts() -> tuple[tuple[str, str], ...]:
    """Processor, memory, system and Python of this machine, as they are read out."""
    return (
        ("processor", f"{processor()}, {os.cpu_count()} CPUs"),
        ("memory", f"{psutil.virtual_memory().total / 2**30:.1f} GiB"),
        ("system", f"{platform.system()} {platform.release()}"),
        ("Python", platform.python_version()),
    )


def processor() -> str:
    """The processor's name; where the system has none, its architecture."""
    try:
        lines = CPU_INFO.read_text().splitlines()
    except OSError:
        lines = []  # another system than Linux: the machine has no name then
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.machine()


@dataclass(frozen=True)
class Facts:
    """Names with what was read for each; a note below."""

    title: str
    rows: tuple[tuple[str, str], ...]
    note: str = ""
    kind: Literal["facts"] = "facts"


@dataclass(frozen=True)
class Bars:
    """Quantities side by side: label, value, and the value as it is read out; a note below."""

    title: str
    rows: tuple[tuple[str, float, str], ...]
    note: str = ""
    kind: Literal["bars"] = "bars"


@dataclass(frozen=True)
class Grid:
    """A small table: a header and its rows; a note below."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    kind: Literal["grid"] = "grid"


Finding_ = Facts | Bars | Grid


@dataclass(frozen=True)
class Sample:
    """The platform at a moment of an act, twice a second. at_s: since the act began. None is unknown, or not there.

    critical_s, oldest_s: age of the oldest CRITICAL trade, and of any trade, that is not in the table yet.
    naive_critical_s: how far behind the naive consumer is with CRITICAL trades. lag_trades: the lag that controls.
    """

    at_s: float
    level: int
    lag_trades: int | None
    oldest_s: float | None
    critical_s: float | None
    naive_critical_s: float | None = None


@dataclass(frozen=True)
class Tick:
    """What the screen shows at a moment: the platform, and in the first act the naive consumer's last status."""

    overview: Overview
    sample: Sample
    naive: dict[str, object] | None = None


@dataclass(frozen=True)
class Billing:
    """An act as it is announced. headline: what is to be seen, and why it matters. notes: what a presenter may say."""

    number: int
    title: str
    headline: str
    notes: tuple[str, ...]


@dataclass
class ActResult:
    """An act as it came out."""

    billing: Billing
    steps: list[str] = field(default_factory=list)
    findings: list[Finding_] = field(default_factory=list)
    checks: list[DemoCheck] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class DemoResult:
    """The demo as it came out. thresholds: the lag at which each level is entered, in trades.

    began: date and time, UTC. machine: what it was measured on.
    """

    engine: str
    acts: list[ActResult] = field(default_factory=list)
    thresholds: tuple[tuple[str, int], ...] = ()
    trades: int = 0
    seconds: float = 0.0
    finished: bool = False
    began: str = ""
    machine: tuple[tuple[str, str], ...] = ()

    @property
    def checks(self) -> list[DemoCheck]:
        """All assertions, in the order in which they were made."""
        return [check for act in self.acts for check in act.checks]

    @property
    def held(self) -> bool:
        """The demo came to its end, every act asserted something, and everything held."""
        return self.finished and all(act.checks for act in self.acts) and all(check.held for check in self.checks)


class Audience:
    """Who watches. Does nothing by itself."""

    def begins(self, act: ActResult) -> None:
        """An act begins."""

    def step(self, text: str) -> None:
        """Something begins."""

    def show(self, finding: Finding_) -> None:
        """Something was read, to be looked at."""

    def check(self, check: DemoCheck) -> None:
        """Something was asserted."""

    def tick(self, tick: Tick) -> None:
        """The platform as it stands, several times a second."""

    def moment(self, name: str) -> None:
        """What is on the screen now is worth a picture."""

    def ends(self, act: ActResult) -> None:
        """An act has ended; may wait for the presenter."""
