"""The whole examination: the machine, the engines and the stack, in the order in which they are shown."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from k2ctl import settings
from k2ctl.checks.doctor import stack
from k2ctl.checks.doctor.stack import lake_checks
from k2ctl.endpoints import Endpoints, load_endpoints
from k2ctl.errors import K2Error, StackError, UsageError
from k2ctl.home import Home
from k2ctl.stack import preflight
from k2ctl.stack.docker.client import docker_client
from k2ctl.stack.docker.engine import LEFTOVER_PATIENCE_S, resolved
from k2ctl.stack.docker.instance import load_instance, new_instance
from k2ctl.stack.engine import ServiceStatus, Wanted
from k2ctl.stack.lifecycle import ENGINES, running_engine
from k2ctl.stack.preflight import Check, Verdict, engine_checks, memory_limits, ok, wrong


def machine_checks(judged: str) -> list[Check]:
    """Python, the state directory, room on disk and in memory; judged: the engine that shall fit."""
    needed_bytes = _docker_needs_bytes() if judged == "docker" else 0
    return [
        preflight.python(),
        preflight.state_directory(),
        preflight.disk(),
        preflight.memory(needed_bytes),
        preflight.endpoints_file(),
        configuration(),
    ]


def configuration() -> Check:
    """What the user has set once."""
    fault = settings.in_file().first_fault
    if fault is not None:
        return wrong("configuration", fault)
    said = [f"{one.name} {one.value} by {one.source}" for one in settings.values() if one.source != "default"]
    return ok("configuration", ", ".join(said) or f"nothing is set; the file would be {settings.path()}")


def engine_requirements(judged: str, *, alone: bool) -> list[Check]:
    """What each engine needs. What one lacks that is not judged is a note; alone: leave those out."""
    found: list[Check] = []
    for name, check in _CHECKS.items():
        checks = check() if name == judged or not alone else []
        found += checks if name == judged else [_as_note(check) for check in checks]
    return found


def _as_note(check: Check) -> Check:
    return replace(check, verdict=Verdict.NOTE) if check.verdict is Verdict.WRONG else check


def _docker_needs_bytes() -> int:
    """What the containers may take more than they take now: nothing once they run."""
    try:
        instance = load_instance(Home.of_user())
        running = instance is not None and instance.active
        return 0 if running else memory_limits(resolved(), Wanted(without=instance.without if instance else ()))
    except K2Error:
        return 0  # the engine's own check says what is wrong


def _docker() -> list[Check]:
    try:
        instance = load_instance(Home.of_user()) or new_instance()
        with docker_client(LEFTOVER_PATIENCE_S) as client:
            checks = engine_checks(client, instance, resolved(), Wanted(without=instance.without))
    except K2Error as error:
        return [wrong("engine docker", error)]
    return [check if check.name == "engine docker" else replace(check, name=f"docker {check.name}") for check in checks]


def _external() -> list[Check]:
    return [ok("engine external", "starts nothing here; its services are tried when it is up")]


_CHECKS: Final = {
    "embedded": lambda: [preflight.embedded_engine()],
    "local": lambda: [preflight.local_engine()],
    "docker": _docker,
    "external": _external,
}


KAFKA: Final = ("kafka",)
STATE: Final = ("redis",)
LAKE: Final = ("catalog", "postgres", "warehouse", "object-store")


def examine(engine: str = "") -> list[Check]:
    """Every check. engine: the one to judge; empty for the one that is up, or that `up` would take.

    Raises:
        UsageError: there is no such engine.
    """
    if engine and engine not in ENGINES:
        raise UsageError(f"There is no engine '{engine}' here.", f"This version has: {', '.join(ENGINES)}")
    place = preflight.state_directory()
    if place.verdict is Verdict.WRONG:
        return [preflight.python(), place]  # everything else is in it
    try:
        running, endpoints = running_engine(Home.of_user()), load_endpoints(Home.of_user())
    except StackError:
        running, endpoints = None, None  # `endpoints_file` says why
    judged = engine or running or _engine_set()
    with ThreadPoolExecutor() as pool:
        parts = [
            pool.submit(machine_checks, judged),
            pool.submit(engine_requirements, judged, alone=bool(engine)),
            pool.submit(_stack, running, endpoints, engine),
        ]
        return [check for part in parts for check in part.result()]


def _engine_set() -> str:
    """The engine that `up` would take; that of the default where `configuration` says what is wrong."""
    try:
        return settings.value_of("engine")
    except UsageError:
        return settings.SETTINGS["engine"].default


def _stack(running: str | None, endpoints: Endpoints | None, wanted: str) -> list[Check]:
    which = stack.which_stack(running, endpoints, wanted)
    around = _guarded("leftovers", lambda: stack.leftovers(endpoints))
    if running is None or endpoints is None:
        return [*which, *around, *_guarded("consumers", lambda: stack.consumer_checks(endpoints))]
    try:
        services = stack.running_services()
    except K2Error as error:
        return [*which, wrong("services", error), *around]
    parts: list[tuple[str, Callable[[], list[Check]]]] = [("consumers", lambda: stack.consumer_checks(endpoints))]
    # What a service that is not well carries would only wait for it, and say the same again.
    if _all_fine(services, KAFKA):
        parts.append(("clock", lambda: stack.clock(endpoints)))
    if _all_fine(services, STATE):
        parts.append(("claims", lambda: stack.claims_room(endpoints)))
    if _all_fine(services, LAKE):
        parts.append(("catalog", lambda: stack.catalog_limits(endpoints)))
        parts.append(("lake", lambda: lake_checks(endpoints)))
    with ThreadPoolExecutor() as pool:
        found = [check for part in pool.map(lambda part: _guarded(*part), parts) for check in part]
    return [*which, *stack.service_checks(running, services), *around, *found]


def _all_fine(services: list[ServiceStatus], names: tuple[str, ...]) -> bool:
    return all(one.fine for one in services if one.service in names)


def _guarded(name: str, check: Callable[[], list[Check]]) -> list[Check]:
    try:
        return check()
    except K2Error as error:
        return [wrong(name, error)]
