"""The command line in a process of its own, and the processes that it leaves."""

import contextlib
import math
import os
import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from k2ctl.cli import main
from tests.support.polling import until


def run(*arguments: str, within_s: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "k2ctl", *arguments],
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
        env={**os.environ, **environment},
    )


def stack_is_down() -> None:
    """`k2ctl stack down`, for a test that is over: in this process, which spares the start of another."""
    main(["stack", "down"])


def least_cpu_s(*commands: list[str]) -> list[float]:
    """Of each command the least processor time of five runs, in turns: what else the machine does adds little to it."""
    best = [math.inf] * len(commands)
    for _ in range(5):
        for number, arguments in enumerate(commands):
            before_s = _children_cpu_s()
            subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
            best[number] = min(best[number], _children_cpu_s() - before_s)
    return best


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line in this process."""
    capsys.readouterr()
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def until_nothing_is_left(home: Path) -> None:
    """Wait until a state directory is empty and no process works in it."""
    until(lambda: not (left_in(home)), 30, lambda: left_in(home))


def left_in(home: Path) -> list[str]:
    """The files of a state directory and the processes that work in it."""
    return [*map(str, home.iterdir()), *processes_under(home)]


def processes_under(home: Path) -> list[str]:
    """Command lines of the processes whose state directory is `home` or a folder in it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            within = process.environ().get("K2CTL_HOME", "").startswith(str(home))
            if within and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
    return found
