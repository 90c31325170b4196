"""Consumers as background processes of this machine, each under a name.

A consumer takes its name by a lock that the kernel releases when it dies, and registers itself. So none runs
unnoticed if its starter is killed, and a killed consumer is seen as killed.
"""

import fcntl
import json
import logging
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Final

import psutil

from k2ctl.endpoints import ProcessId
from k2ctl.errors import StackError, UsageError
from k2ctl.files import read_object, write_atomically
from k2ctl.home import Home
from k2ctl.retry import wait_until
from k2ctl.stack.processes import STOP_PATIENCE_S, end, is_alive, last_lines, start_detached

REGISTER_WITHIN_S: Final = 60.0
"""How long a process may take from its start until it has written down who it is."""

LOGGER: Final = logging.getLogger("k2ctl.stack")

FOLDER: Final = "consumers"
METRICS_PORT: Final = "--metrics-port"
PREFIX: Final = "consumer-"
"""What the consumers in the background are called, with a number behind it."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Record:
    """A consumer as it wrote itself down."""

    name: str
    process: ProcessId
    started_at_us: int
    # Figure → count of what it did; None until it has ended by itself.
    done: dict[str, int] | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return is_alive(self.process)


def known_as(name: str, engine: str) -> str:
    """What a consumer is called in its group and in its status.

    Numbers are of one machine, and the consumers of the engine external are on many: there they have its name too.
    """
    prefix, _, number = name.rpartition("-")
    if engine != "external" or f"{prefix}-" != PREFIX or not number.isdecimal():
        return name
    return f"{name}.{re.sub(r'[^A-Za-z0-9._-]', '-', socket.gethostname())}"


@contextmanager
def registered(name: str, home: Home) -> Iterator[Callable[[Mapping[str, int]], None]]:
    """Holds a name while the block runs; yields what takes down, at its end, what was done.

    Raises:
        UsageError: this cannot be a name. StackError: a consumer of that name runs already.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' cannot be a consumer's name.", "Use letters, digits, dots and dashes.")
    with _lock_path(home, name).open("a+") as lock:
        if not _is_stdin(lock):
            _take(lock, name)
        process = ProcessId(os.getpid(), psutil.Process().create_time())
        record = Record(name, process, time.time_ns() // 1000)
        _write(home, record)
        yield lambda done: _write(home, replace(record, done=dict(done)))


def _take(lock: IO[str], name: str) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StackError(f"A consumer named {name} runs already.", "See: k2ctl consume status") from error


def _is_stdin(lock: IO[str]) -> bool:
    """Whether this process was started in the background under this name, and so holds its lock since then."""
    try:
        return os.path.samestat(os.fstat(0), os.fstat(lock.fileno()))
    except OSError:
        return False  # there is no stdin


def started_records(home: Home) -> list[Record]:
    """Every consumer that was written down, once those that are starting have written themselves down, or are gone."""
    locks = home.folder(FOLDER)
    wait_until(lambda: not any(_is_starting(home, path) for path in locks.glob("*.lock")), within_s=REGISTER_WITHIN_S)
    return records(home)


def _is_starting(home: Home, path: Path) -> bool:
    """Whether a process holds a name and has not written itself down."""
    record = _read(_path(home, path.stem))
    if record is not None and record.alive:
        return False
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True  # a process holds the name, as the docstring says
    return False


def records(home: Home) -> list[Record]:
    """Every consumer that was written down, also one that has ended, by name."""
    found = (_read(path) for path in sorted(home.folder(FOLDER).glob("*.json")))
    return sorted((record for record in found if record is not None), key=lambda record: _by_number(record.name))


def start_processes(home: Home, names: Sequence[str], arguments: Sequence[str]) -> None:
    """Start consumers in the background, and wait until each has written itself down.

    arguments: of `k2ctl consume`; with a port for metrics, the second consumer takes the next one, and so on.

    Raises:
        StackError: one ended before that, or takes too long; those that run go on.
    """
    started = {}
    for name in names:
        command = [
            sys.executable,
            "-m",
            "k2ctl",
            "consume",
            "--group",
            "--name",
            name,
            *_with_own_port(name, arguments),
        ]
        # It holds its name from its first moment on, whatever becomes of this process: nobody counts too few of them.
        with _lock_path(home, name).open("a+") as lock:
            _take(lock, name)
            started[name], _ = start_detached(name, command, stdin=lock, home=home)
    for name, process in started.items():
        wait_until(
            lambda: _is_registered(home, name, process) or not is_alive(process),  # noqa: B023  called at once
            within_s=REGISTER_WITHIN_S,
        )
        if not _is_registered(home, name, process):
            raise StackError(f"{name} did not start: {last_lines(name, home)}", f"See: k2ctl stack logs {name}")


def stop_processes(home: Home, names: Collection[str], patience_s: float = STOP_PATIENCE_S) -> list[Record]:
    """Let consumers commit and end, all at once; SIGKILL for one that does not. Returns their last records.

    Raises:
        UsageError: there is none of that name.
    """
    known = {record.name: record for record in records(home)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"There is no consumer '{unknown[0]}'.", f"There are: {', '.join(known) or 'none'}")
    end([known[name].process for name in names], patience_s=patience_s)
    ended = [_read(_path(home, name)) or known[name] for name in names]
    for name in names:
        _path(home, name).unlink(missing_ok=True)
    return ended


def _with_own_port(name: str, arguments: Sequence[str]) -> list[str]:
    own = list(arguments)
    if METRICS_PORT in own:
        at = own.index(METRICS_PORT) + 1
        own[at] = str(int(own[at]) + max(0, _by_number(name)[1] - 1))
    return own


def _is_registered(home: Home, name: str, process: ProcessId) -> bool:
    record = _read(_path(home, name))
    return record is not None and record.process.pid == process.pid


def _lock_path(home: Home, name: str) -> Path:
    return home.folder(FOLDER) / f"{name}.lock"


def _path(home: Home, name: str) -> Path:
    return home.folder(FOLDER) / f"{name}.json"


def _write(home: Home, record: Record) -> None:
    write_atomically(_path(home, record.name), json.dumps(asdict(record)))


def _read(path: Path) -> Record | None:
    """The record in a file; None when it is gone, or none of ours."""
    try:
        raw = read_object(path)
        return Record(**{**raw, "process": ProcessId(*raw["process"])})
    except FileNotFoundError:
        return None  # it was stopped, or has not registered yet
    except (OSError, ValueError, TypeError, KeyError) as error:
        LOGGER.warning("a consumer's record cannot be read", extra={"path": str(path), "error": str(error)})
        return None


def _by_number(name: str) -> tuple[str, int]:
    """consumer-10 comes after consumer-9."""
    prefix, _, number = name.rpartition("-")
    return (prefix, int(number)) if number.isdecimal() else (name, 0)
