"""`stack up`, `status`, `logs`, `down`: one stack per state directory, started and stopped under a lock."""

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from k2ctl.endpoints import Endpoints, load_endpoints_or_nothing
from k2ctl.errors import NotRunning, StackError, UsageError
from k2ctl.files import unchanged_by_others
from k2ctl.home import ACKNOWLEDGED, Home
from k2ctl.stack.docker.engine import DockerEngine
from k2ctl.stack.engine import Engine, Report, ServiceStatus, Up, Wanted
from k2ctl.stack.external import ExternalEngine
from k2ctl.stack.processes_engine import embedded_engine, local_engine

EXTERNAL: Final = "external"
ENGINES: Final[dict[str, Callable[[Home], Engine]]] = {
    "embedded": embedded_engine,
    "local": local_engine,
    "docker": DockerEngine,
    EXTERNAL: ExternalEngine,
}

OWN_STACKS: Final = tuple(name for name in ENGINES if name != EXTERNAL)
"""Engines for what makes a stack of its own and deletes it: the demo, `validate`, benchmarks."""

BESIDE_OTHERS: Final = Wanted(services=("kafka", "redis", "postgres", "object-store"), ports={"auto": None})


def up(engine: str, profile: str, report: Report, wanted: Wanted | None = None, *, home: Home) -> Up:
    """Start the stack, or find that it runs already.

    Raises:
        StackError, UsageError: with what to do next.
    """
    if engine not in ENGINES:
        raise UsageError(
            f"There is no engine '{engine}' here.", f"This version has: {', '.join(ENGINES)}. Try: k2ctl stack up"
        )
    with _lock(home):
        load_endpoints_or_nothing(home)
        running = _running(home)
        if engine in OWN_STACKS:
            unchanged_by_others(home.path)
        if running is not None and running.name != engine:
            raise StackError(f"The {running.name} engine runs already.", "Stop it first: k2ctl stack down")
        return ENGINES[engine](home).up(profile, wanted or Wanted(), report)


def up_beside(engine: str, profile: str, home: Home) -> Endpoints:
    """Start a stack that gets along with others of the machine: what trades need, containers on any free ports.

    Raises:
        StackError, UsageError: with what to do next.
    """
    wanted = BESIDE_OTHERS if engine == "docker" else None
    return up(engine, profile, lambda _: None, wanted, home=home).endpoints


def down(home: Home, *, volumes: bool, report: Report = lambda _: None) -> str | None:
    """Stop the stack, with `volumes` delete its data; the engine's name, None when nothing was running.

    Of the external engine that is what is written here of the loads, and no lake: also none that another engine left.
    """
    with _lock(home):
        load_endpoints_or_nothing(home)
        running = _running(home)
        if running is not None:
            running.down(volumes=volumes, report=report)
        if running is None or (volumes and running.name != EXTERNAL):
            # One that is not up may have left something behind, such as an `up` that was killed.
            others = [engine(home) for name, engine in ENGINES.items() if running is None or name != running.name]
            ended = [engine for engine in others if engine.down(volumes=volumes, report=report)]
            running = running or next(iter(ended), None)
        if volumes:
            shutil.rmtree(home.path / ACKNOWLEDGED, ignore_errors=True)
        return running.name if running else None


def status(home: Home, *, figures: bool = True) -> list[ServiceStatus]:
    """Each service of the running stack with its real health; figures: also CPU and memory.

    Raises:
        NotRunning: there is none.
    """
    return _require(home).status(figures=figures)


def log_lines(service: str, home: Home, *, follow: bool) -> Iterator[str]:
    """The lines of a service's log; with `follow`, for ever.

    Raises:
        UsageError: the service has no log.
    """
    return (_running(home) or embedded_engine(home)).log_lines(service, follow=follow)


def running_engine(home: Home) -> str | None:
    """The name of the engine that is up, wholly or half."""
    running = _running(home)
    return running.name if running else None


def _running(home: Home) -> Engine | None:
    return next((engine for make in ENGINES.values() if (engine := make(home)).is_up()), None)


def _require(home: Home) -> Engine:
    running = _running(home)
    if running is None:
        raise NotRunning
    home.require_unmoved()
    return running


@contextmanager
def _lock(home: Home) -> Iterator[None]:
    """One `up` or `down` at a time; the kernel releases the lock when the process dies."""
    with (home.path / "stack.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(
                "Another k2ctl is starting or stopping the stack right now.", "Wait for it, then: k2ctl stack status"
            ) from error
        yield
