"""The command line in a process of its own, and the processes that it leaves."""

import contextlib
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil


def run(*arguments: str, within_s: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "k2ctl", *arguments],
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
        env={**os.environ, **environment},
    )


def quickest_s(*commands: list[str]) -> list[float]:
    """Of each command the quickest of nine runs, in turns: whatever else the machine does only makes them slower."""
    best = [math.inf] * len(commands)
    for _ in range(9):
        for number, arguments in enumerate(commands):
            started_s = time.perf_counter()
            subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
            best[number] = min(best[number], time.perf_counter() - started_s)
    return best


def processes_under(home: Path) -> list[str]:
    """Command lines of the processes whose state directory is `home` or a folder in it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            within = process.environ().get("K2CTL_HOME", "").startswith(str(home))
            if within and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
    return found
