"""What a benchmark ran on: without it a figure says nothing."""

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil

import k2ctl
from k2ctl.demo.machine import processor

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
