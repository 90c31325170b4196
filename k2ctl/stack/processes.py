"""Background processes of the stack: started detached, recognised later, stopped for good."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psutil

from k2ctl.errors import StackError
from k2ctl.home import state_dir

STOP_PATIENCE_S: Final = 15.0


def log_path(service: str) -> Path:
    """Where a service writes its log."""
    folder = state_dir() / "logs"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{service}.log"


def start_detached(service: str, arguments: Sequence[str], *, read_line: bool = False) -> tuple[int, str]:
    """Start a program in a session of its own, its output in the service's log; returns (pid, first line of stdout).

    read_line: wait for one line on stdout, by which the program says that it is ready.

    Raises:
        StackError: it ended before it said so.
    """
    with log_path(service).open("ab") as log:
        process = subprocess.Popen(
            list(arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if read_line else log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "K2CTL_SERVICE": service},
        )
    line = ""
    if process.stdout is not None:
        with process.stdout:
            line = process.stdout.readline().decode()
    if read_line and not line:
        raise StackError(f"{service} did not start: {last_lines(service)}", f"See: k2ctl stack logs {service}")
    return process.pid, line


def is_ours(pid: int, service: str) -> bool:
    """Whether a process id still belongs to the service that was started under it; ids are used again."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get("K2CTL_SERVICE") == service
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def stop(pid: int, service: str) -> None:
    """SIGTERM, and SIGKILL for one that does not go; does nothing when the id is not the service's any more."""
    if not is_ours(pid, service):
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_PATIENCE_S
    while time.monotonic() < deadline and is_ours(pid, service):
        _reap(pid)
        time.sleep(0.05)
    if is_ours(pid, service):
        os.kill(pid, signal.SIGKILL)
        _reap(pid)


def _reap(pid: int) -> None:
    """Collect a child of ours; a service that another process started is not one."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def last_lines(service: str, count: int = 3) -> str:
    """The end of a service's log, on one line."""
    try:
        return " / ".join(log_path(service).read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return "it wrote no log"
