"""Background processes of this machine, and their logs: the only place that starts, waits for and ends them."""

import atexit
import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import psutil

from k2ctl.endpoints import ProcessId
from k2ctl.errors import StackError, UsageError
from k2ctl.home import Home
from k2ctl.log import background_environment
from k2ctl.log_file import FILES_KEPT
from k2ctl.retry import wait_until

STOP_PATIENCE_S: Final = 15.0
READY_WITHIN_S: Final = 30.0
"""How long a program may take until it reports that it is ready."""
LOOK_EVERY_S: Final = 0.01
FOLLOWED_EVERY_S: Final = 0.2

LOGGER: Final = logging.getLogger("k2ctl.stack")

_children: dict[int, subprocess.Popen[bytes]] = {}
"""Children that were not seen to end. Python warns of a handle that is dropped earlier."""


def start_detached(
    service: str,
    arguments: Sequence[str],
    home: Home,
    *,
    read_line: bool = False,
    stdin: IO[str] | int | None = None,
    log_file: Path | None = None,
) -> tuple[ProcessId, str]:
    """Start a program in a session of its own; returns it and its first line of stdout. The rest goes to its log.

    read_line: wait for one line on stdout, by which the program reports that it is ready. stdin: a file that it keeps
    open for as long as it lives, with the lock on it. home: where it works. log_file: instead of the service's own.

    Raises:
        StackError: it ended before it was ready, or took too long; then it is killed.
    """
    _reap()
    path = log_file or log_path(service, home)
    with path.open("ab") as log:
        process = subprocess.Popen(
            list(arguments),
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE if read_line else log,
            stderr=log,
            start_new_session=True,
            env={**background_environment(path), "K2CTL_HOME": str(home.path)},
        )
    try:
        line = _first_line(process)
        if read_line and not line:
            why = last_lines(service, home)
            raise StackError(f"{service} did not start: {why}", f"See: k2ctl stack logs {service}")
    except BaseException:
        process.kill()
        process.wait()
        raise
    _children[process.pid] = process
    LOGGER.info("started", extra={"service": service, "pid": process.pid})
    return ProcessId(process.pid, psutil.Process(process.pid).create_time()), line  # not reaped, so still to be found


@atexit.register
def _reap() -> None:
    """Let children go that have ended, whoever ended them; `exit_code` still tells how."""
    for child in list(_children.values()):
        child.poll()


def _first_line(process: subprocess.Popen[bytes]) -> str:
    """The first line of its output; empty if none comes in time, or stdout is no pipe."""
    if process.stdout is None:
        return ""
    with process.stdout as pipe:
        return pipe.readline().decode() if is_readable(pipe.fileno(), READY_WITHIN_S) else ""


def is_readable(descriptor: int, within_s: float) -> bool:
    """True once something can be read, or its end. `select` takes no descriptor of a process with 1,024 open ones."""
    looked = select.poll()
    looked.register(descriptor, select.POLLIN)
    return bool(looked.poll(round(within_s * 1000)))


def is_alive(process: ProcessId) -> bool:
    """True if this very process still runs."""
    try:
        found = psutil.Process(process.pid)
        return found.create_time() == process.created_s and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False  # which is the answer


def send(process: ProcessId, number: int) -> None:
    """Send a signal, if the process still runs; another process with the same number gets none."""
    if is_alive(process):
        with suppress(ProcessLookupError):  # it ended just now
            os.kill(process.pid, number)


def ended_within(processes: Collection[ProcessId], seconds: float) -> bool:
    """Wait until none of them runs; False if that takes too long."""
    return wait_until(lambda: not any(map(is_alive, processes)), within_s=seconds, every_s=LOOK_EVERY_S)


def end(
    processes: Collection[ProcessId], number: int = signal.SIGTERM, patience_s: float = STOP_PATIENCE_S
) -> list[int | None]:
    """Send a signal to all of them, and SIGKILL to those that do not end in time.

    Returns exit codes, negative for a signal; None for a process that this process did not start.
    """
    _reap()
    for process in processes:
        send(process, number)
    if not ended_within(processes, patience_s):
        for process in filter(is_alive, processes):
            LOGGER.warning("killed, since it did not end", extra={"pid": process.pid, "signal": int(number)})
            send(process, signal.SIGKILL)
        ended_within(processes, STOP_PATIENCE_S)
    return [exit_code(process) for process in processes]


def exit_code(process: ProcessId) -> int | None:
    """The exit code of a child that has ended, once; None for any other process."""
    child = _children.get(process.pid)
    if child is None or is_alive(process):
        return None
    try:
        code = child.wait(STOP_PATIENCE_S)  # it looks like a zombie as soon as its main thread has ended
    except subprocess.TimeoutExpired:
        return None  # as of a process that is not known; the next `end` asks again
    del _children[process.pid]
    return code


TAIL_BYTES: Final = 200_000
"""Of a log, to find its newest lines; a file has up to 10 MB."""


def log_path(service: str, home: Home) -> Path:
    """Where a service writes its log."""
    return home.folder("logs") / f"{service}.log"


def log_lines(service: str, home: Home, *, follow: bool) -> Iterator[str]:
    """The log of a service of this machine, oldest line first; with `follow`, for ever.

    Raises:
        UsageError: there is none.
    """
    path = log_path(service, home)
    if not path.exists():
        known = sorted(log.stem for log in path.parent.glob("*.log"))
        raise UsageError(f"There is no log of '{service}'.", f"There are: {', '.join(known) or 'none yet'}")
    for number in range(FILES_KEPT, 0, -1):
        rotated = path.with_name(f"{path.name}.{number}")
        if rotated.exists():
            yield from rotated.read_text(errors="replace").splitlines()
    if follow:
        yield from _followed(path)
    else:
        yield from path.read_text(errors="replace").splitlines()


def last_lines(service: str, home: Home, count: int = 3) -> str:
    """The end of a service's log, on one line."""
    try:
        return " / ".join(newest_lines(service, home, count))
    except OSError:
        return "it wrote no log"


def newest_lines(service: str, home: Home, count: int) -> list[str]:
    """The newest lines of a service's log, of what stands in the last `TAIL_BYTES` of its file; oldest first.

    Raises:
        OSError: there is none.
    """
    with log_path(service, home).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return lines[1 if size > TAIL_BYTES else 0 :][-count:]


def _followed(path: Path) -> Iterator[str]:
    """Whole lines of a file as they are written, for ever, also across its rotation."""
    while True:
        with path.open(errors="replace") as file:
            begun, rotated = "", False
            while not rotated:
                rotated = _is_rotated(file, path)  # before the read: nothing is written to it afterwards
                for part in file:
                    begun += part
                    if begun.endswith("\n"):
                        yield begun[:-1]
                        begun = ""
                if not rotated:
                    time.sleep(FOLLOWED_EVERY_S)


def _is_rotated(file: IO[str], path: Path) -> bool:
    try:
        return not os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False  # it is being rotated just now
