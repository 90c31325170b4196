"""Background processes of the stack: started detached, recognised later, stopped for good."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Final

import psutil

from k2ctl.endpoints import ProcessId
from k2ctl.errors import StackError
from k2ctl.log import background_environment
from k2ctl.stack.logs import last_lines, log_path

STOP_PATIENCE_S: Final = 15.0
SPEAKS_WITHIN_S: Final = 30.0
"""How long a program may take until it says that it is ready."""

_children: dict[int, subprocess.Popen[bytes]] = {}
"""What this process started and has not seen end: a handle that is let go would count as forgotten."""


def start_detached(
    service: str, arguments: Sequence[str], *, read_line: bool = False, stdin: IO[str] | None = None
) -> tuple[ProcessId, str]:
    """Start a program in a session of its own; returns it and its first line of stdout. The rest goes to its log.

    read_line: wait for one line on stdout, by which the program says that it is ready. stdin: a file that it keeps open
    for as long as it lives, with the lock on it.

    Raises:
        StackError: it ended before it said so, or took too long; it is ended then, as on Ctrl-C.
    """
    with log_path(service).open("ab") as log:
        process = subprocess.Popen(
            list(arguments),
            stdin=stdin or subprocess.DEVNULL,
            stdout=subprocess.PIPE if read_line else log,
            stderr=log,
            start_new_session=True,
            env=background_environment(log_path(service)),
        )
    try:
        line = _first_line(process)
        if read_line and not line:
            raise StackError(f"{service} did not start: {last_lines(service)}", f"See: k2ctl stack logs {service}")
    except BaseException:
        process.kill()
        process.wait()
        raise
    _children[process.pid] = process
    return ProcessId(process.pid, psutil.Process(process.pid).create_time()), line  # not reaped, so still to be found


def _first_line(process: subprocess.Popen[bytes]) -> str:
    """What it says first; empty when it says nothing in time, or has no pipe to say it through."""
    if process.stdout is None:
        return ""
    with process.stdout as pipe:
        spoken, _, _ = select.select([pipe], [], [], SPEAKS_WITHIN_S)
        return pipe.readline().decode() if spoken else ""


def is_alive(process: ProcessId) -> bool:
    """Whether this very process still runs."""
    try:
        found = psutil.Process(process.pid)
        return found.create_time() == process.created_s and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stop(process: ProcessId | None) -> None:
    """SIGTERM, and SIGKILL for one that does not go; does nothing to a process that only has the same number."""
    if process is None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not is_alive(process):
            break
        with suppress(ProcessLookupError):  # it ended just now
            os.kill(process.pid, number)
        deadline_s = time.monotonic() + STOP_PATIENCE_S
        while time.monotonic() < deadline_s and is_alive(process):
            time.sleep(0.01)
    _reap(process.pid)


def _reap(pid: int) -> None:
    """Collect a child of ours; a service that another process started is not one."""
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]
