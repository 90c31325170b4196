"""`stack up`, `status`, `down`: one stack per state directory, started and stopped under a lock."""

import fcntl
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import psutil

from k2ctl.errors import StackError, UsageError
from k2ctl.home import (
    Endpoints,
    ProcessId,
    forget_endpoints,
    forget_past_epochs,
    load_endpoints,
    save_endpoints,
    state_dir,
)
from k2ctl.stack import embedded, local
from k2ctl.stack.processes import is_alive, log_path
from k2ctl.stack.readiness import health, wait_for_kafka

ENGINES: Final = ("embedded", "local")
KAFKA_PATIENCE_S: Final = {"embedded": 10.0, "local": 60.0}


@dataclass(frozen=True)
class Up:
    """What `up` did: the endpoints, whether they were there before, and what was found dead."""

    endpoints: Endpoints
    already_running: bool
    repaired: bool
    seconds: float


@dataclass(frozen=True)
class ServiceStatus:
    """One service of the stack. state: running, exited or file; health: healthy, or what is wrong."""

    service: str
    state: str
    health: str
    endpoint: str
    pid: int | None
    uptime_s: float | None
    memory_bytes: int | None


def up(engine: str, profile: str, say: Callable[[str], None]) -> Up:
    """Start the stack, or find that it runs already.

    `say` hears what is being done. A stack whose processes have died is cleared away and started anew; the lake
    and, on the local engine, Kafka's data are found again.

    Raises:
        StackError, UsageError: with what to do next.
    """
    if engine not in ENGINES:
        raise UsageError(
            f"There is no engine '{engine}' here.", f"This version has: {', '.join(ENGINES)}. Try: k2ctl stack up"
        )
    started_s = time.monotonic()
    with _lock():
        existing, repaired = load_endpoints_or_nothing(), False
        if existing is not None:
            if is_running(existing):
                if existing.engine != engine:
                    raise StackError(f"The {existing.engine} engine runs already.", "Stop it first: k2ctl stack down")
                return Up(existing, True, False, time.monotonic() - started_s)
            say("clearing away a stack that died")
            _stop(existing)
            forget_endpoints()
            repaired = True
        endpoints = _start(engine, profile, say)
        return Up(endpoints, False, repaired, time.monotonic() - started_s)


def _start(engine: str, profile: str, say: Callable[[str], None]) -> Endpoints:
    lake = state_dir() / "lake"
    lake.mkdir(mode=0o700, exist_ok=True)
    base = Endpoints(
        engine=engine,
        bootstrap_servers="",
        catalog_uri=f"sqlite:///{lake}/catalog.db",
        warehouse=f"file://{lake}/warehouse",
        profile=profile,
        started_at_us=time.time_ns() // 1000,
    )
    say(f"starting the {engine} engine")
    endpoints = embedded.start(base) if engine == "embedded" else local.start(base, say)
    try:
        # Written before it is ready, so that a crash from here on leaves something that `down` can find.
        save_endpoints(endpoints)
        say("waiting until a record makes the round trip through Kafka")
        wait_for_kafka(endpoints, KAFKA_PATIENCE_S[engine], lambda: is_alive(endpoints.processes["kafka"]))
        if engine == "local":
            local.check_redis(endpoints)
    except BaseException:
        _stop(endpoints)
        forget_endpoints()
        raise
    return endpoints


def down(*, volumes: bool) -> Endpoints | None:
    """Stop the stack; with `volumes` delete the lake and Kafka's data too. None when nothing was running."""
    with _lock():
        endpoints = load_endpoints_or_nothing()
        if endpoints is not None:
            _stop(endpoints)
            forget_endpoints()
        if volumes:
            for name in ("lake", "kafka", "redis"):
                shutil.rmtree(state_dir() / name, ignore_errors=True)
            forget_past_epochs()
        return endpoints


def _stop(endpoints: Endpoints) -> None:
    if endpoints.engine == "embedded":
        embedded.shut_down(endpoints)
    else:
        local.shut_down(endpoints)


def load_endpoints_or_nothing() -> Endpoints | None:
    """The endpoints, or None; a damaged file is none, since whoever asks is about to put things right."""
    with suppress(StackError):
        return load_endpoints()
    forget_endpoints()
    return None


def is_running(endpoints: Endpoints) -> bool:
    """Whether every process of the stack is still there."""
    return all(map(is_alive, endpoints.processes.values()))


def status(endpoints: Endpoints) -> list[ServiceStatus]:
    """Each service with its real health: Kafka gets a record there and back, Redis answers, the catalog opens."""
    services = [_of_process(endpoints, service, process) for service, process in endpoints.processes.items()]
    catalog = ServiceStatus("catalog", "file", health(endpoints, "catalog"), endpoints.catalog_uri, None, None, None)
    return [*services, catalog]


def _of_process(endpoints: Endpoints, service: str, process: ProcessId) -> ServiceStatus:
    endpoint = endpoints.bootstrap_servers if service == "kafka" else endpoints.state_url
    if not is_alive(process):
        return ServiceStatus(service, "exited", f"process {process.pid} is gone", endpoint, None, None, None)
    uptime_s, memory = time.time() - process.created_s, int(psutil.Process(process.pid).memory_info().rss)
    answer = health(endpoints, service)
    return ServiceStatus(service, "running", answer, endpoint, process.pid, round(uptime_s, 1), memory)


def log_lines(service: str, *, follow: bool) -> Iterator[str]:
    """The lines of a service's log; with `follow`, for ever.

    Raises:
        UsageError: the service has no log.
    """
    path = log_path(service)
    if not path.exists():
        known = sorted(log.stem for log in path.parent.glob("*.log"))
        raise UsageError(f"There is no log of '{service}'.", f"There are: {', '.join(known) or 'none yet'}")
    with path.open(errors="replace") as file:
        while True:
            line = file.readline()
            if line:
                yield line.rstrip("\n")
            elif not follow:
                return
            else:
                time.sleep(0.2)


@contextmanager
def _lock() -> Iterator[None]:
    """One `up` or `down` at a time; the kernel lets go when the process dies."""
    with (state_dir() / "stack.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(
                "Another k2ctl is starting or stopping the stack right now.", "Wait for it, then: k2ctl stack status"
            ) from error
        yield
