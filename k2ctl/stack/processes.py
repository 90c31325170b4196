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
from k2ctl.home import ProcessId, state_dir

STOP_PATIENCE_S: Final = 15.0

_children: dict[int, subprocess.Popen[bytes]] = {}
"""What this process started and has not seen end: a handle that is let go would count as forgotten."""


def log_path(service: str) -> Path:
    """Where a service writes its log."""
    folder = state_dir() / "logs"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{service}.log"


def start_detached(service: str, arguments: Sequence[str], *, read_line: bool = False) -> tuple[ProcessId, str]:
    """Start a program in a session of its own; returns it and its first line of stdout. The rest goes to its log.

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
        )
    _children[process.pid] = process
    line = ""
    if process.stdout is not None:
        with process.stdout:
            line = process.stdout.readline().decode()
    if read_line and not line:
        raise StackError(f"{service} did not start: {last_lines(service)}", f"See: k2ctl stack logs {service}")
    return _identified(process.pid, service), line


def _identified(pid: int, service: str) -> ProcessId:
    try:
        return ProcessId(pid, psutil.Process(pid).create_time())
    except psutil.NoSuchProcess as error:
        raise StackError(
            f"{service} did not start: {last_lines(service)}", f"See: k2ctl stack logs {service}"
        ) from error


def is_alive(process: ProcessId) -> bool:
    """Whether this very process still runs."""
    try:
        found = psutil.Process(process.pid)
        return found.create_time() == process.created_s and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stop(process: ProcessId | None) -> None:
    """SIGTERM, and SIGKILL for one that does not go; does nothing to a process that only has the same number."""
    if process is None or not is_alive(process):
        return
    os.kill(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_PATIENCE_S
    while time.monotonic() < deadline and is_alive(process):
        time.sleep(0.05)
    if is_alive(process):
        os.kill(process.pid, signal.SIGKILL)
        while is_alive(process):
            time.sleep(0.01)
    _reap(process.pid)


def _reap(pid: int) -> None:
    """Collect a child of ours; a service that another process started is not one."""
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]


def last_lines(service: str, count: int = 3) -> str:
    """The end of a service's log, on one line."""
    try:
        return " / ".join(log_path(service).read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return "it wrote no log"
