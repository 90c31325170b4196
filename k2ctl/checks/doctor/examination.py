"""The whole examination: independent parts at once, in the order in which they are shown."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from k2ctl.checks.doctor import stack
from k2ctl.checks.doctor.lake import lake_checks
from k2ctl.checks.doctor.machine import engine_requirements, machine_checks
from k2ctl.endpoints import Endpoints, load_endpoints
from k2ctl.errors import K2Error, StackError, UsageError
from k2ctl.stack import preflight
from k2ctl.stack.engine import ServiceStatus
from k2ctl.stack.lifecycle import ENGINES, running_engine
from k2ctl.stack.preflight import Check, Verdict, wrong

KAFKA: Final = ("kafka",)
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
        running, endpoints = running_engine(), load_endpoints()
    except StackError:
        running, endpoints = None, None  # `endpoints_file` says why
    judged = engine or running or "embedded"
    with ThreadPoolExecutor() as pool:
        parts = [
            pool.submit(machine_checks, judged),
            pool.submit(engine_requirements, judged, alone=bool(engine)),
            pool.submit(_stack, running, endpoints, engine),
        ]
        return [check for part in parts for check in part.result()]


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
    if _all_fine(services, LAKE):
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
