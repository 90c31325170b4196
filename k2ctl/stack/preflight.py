"""Is this machine fit for a stack: each check says what it found, and the command that helps."""

import errno
import os
import platform
import shutil
import socket
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import psutil

from k2ctl.endpoints import load_endpoints
from k2ctl.errors import K2Error, StackError
from k2ctl.home import state_dir
from k2ctl.kafka.embedded import library_path
from k2ctl.stack.local import kafka_source
from k2ctl.stack.redis_server import redis_server_binary

DISK_WANTED_BYTES: Final = 5_000_000_000
DISK_NEEDED_BYTES: Final = 500_000_000
MEMORY_WANTED_BYTES: Final = 1_000_000_000
"""Python's own processes; the containers' limits are added by who starts them."""


class Verdict(StrEnum):
    """What a check comes to. A note is good to know and stops nothing."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True)
class Check:
    """One check: what was found, and for what is not ok the command or deed that helps."""

    name: str
    verdict: Verdict
    found: str
    help: str = ""


def ok(name: str, found: str) -> Check:
    """All is well."""
    return Check(name, Verdict.OK, found)


def wrong(name: str, error: K2Error) -> Check:
    """What an error says, as a check."""
    return Check(name, Verdict.WRONG, str(error), error.hint)


def disk() -> Check:
    """Room for the lake, Kafka's log and the state."""
    free = shutil.disk_usage(state_dir()).free
    found = f"{free / 1e9:.1f} GB free for {state_dir()}"
    if free >= DISK_WANTED_BYTES:
        return ok("disk", found)
    verdict = Verdict.WRONG if free < DISK_NEEDED_BYTES else Verdict.NOTE
    return Check("disk", verdict, found, "Make room, or put the state elsewhere: export K2CTL_HOME=/larger/disk")


def memory(needed_bytes: int = 0) -> Check:
    """Memory that is available now, against what the containers may take at most."""
    available, wanted = psutil.virtual_memory().available, needed_bytes + MEMORY_WANTED_BYTES
    found = f"{available / 1e9:.1f} GB available, {wanted / 1e9:.1f} GB may be taken"
    if available >= wanted:
        return ok("memory", found)
    return Check("memory", Verdict.NOTE, found, "Give the machine more, or end what is not needed.")


@dataclass(frozen=True)
class Published:
    """A port that a service wants. name: what `--port` calls it."""

    service: str
    name: str
    address: str
    port: int


def taken_port(wanted: Published, containers: Sequence[tuple[str, int]]) -> Check | None:
    """Who holds a port and what to do, or None when it is free. containers: (name, published port) of all that run."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((wanted.address, wanted.port))
            return None
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            refused = error.errno == errno.EACCES
    other = f"k2ctl stack up --engine docker --port {wanted.name}={wanted.port + 10_000 if wanted.port < 50_000 else 0}"
    where = f"port {wanted.port} ({wanted.service})"
    if refused:
        return Check(where, Verdict.WRONG, "this user may not listen on it", f"Take another: {other}")
    container = next((name for name, port in containers if port == wanted.port), None)
    if container:
        return Check(where, Verdict.WRONG, f"held by container {container}", f"docker stop {container}; or: {other}")
    process = _listener(wanted.port)
    if process is None:
        return Check(where, Verdict.WRONG, "held by a process that this user may not see", f"Take another: {other}")
    found = f"held by process {process.pid} ({_shown(process)})"
    return Check(where, Verdict.WRONG, found, f"kill {process.pid}; or: {other}")


def _listener(port: int) -> psutil.Process | None:
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return None
    for found in connections:
        if found.status == psutil.CONN_LISTEN and found.laddr and found.laddr[1] == port and found.pid:
            with suppress(psutil.NoSuchProcess):  # it ended just now
                return psutil.Process(found.pid)
    return None


def _shown(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:60] or process.name()
    except psutil.Error:
        return "it ended just now"


def python() -> Check:
    """The interpreter, and whether it may write byte-code, without which every command starts half a second later."""
    found = f"Python {platform.python_version()} at {sys.executable}"
    if sys.dont_write_bytecode:
        return Check("python", Verdict.NOTE, f"{found}, writes no byte-code", "unset PYTHONDONTWRITEBYTECODE")
    return ok("python", found)


def state_directory() -> Check:
    """Only its owner may read it: there are passwords in it."""
    try:
        path = state_dir()
    except StackError as error:
        return wrong("state directory", error)
    mode = stat.S_IMODE(path.stat().st_mode)
    found = f"{path}, mode {mode:04o}"
    if not os.access(path, os.W_OK):
        return Check("state directory", Verdict.WRONG, f"{found}, cannot be written", f"sudo chown -R $USER {path}")
    if mode & 0o077:
        return Check("state directory", Verdict.NOTE, f"{found}, open to others", f"chmod 700 {path}")
    return ok("state directory", found)


def local_engine() -> Check:
    """What `--engine local` needs: Java, Kafka's jars or Maven to fetch them, a Redis server."""
    try:
        found = f"{kafka_source()}; {redis_server_binary()}"
        return ok("engine local", found)
    except StackError as error:
        return wrong("engine local", error)


def embedded_engine() -> Check:
    """What `--engine embedded` needs: the librdkafka that confluent-kafka's wheel carries."""
    try:
        return ok("engine embedded", library_path().name)
    except StackError as error:
        return wrong("engine embedded", error)


def endpoints_file() -> Check:
    """The file that every command reads."""
    try:
        found = load_endpoints()
    except StackError as error:
        return wrong("endpoints", error)
    return ok("endpoints", f"of the {found.engine} engine" if found else "none: no stack is up")
