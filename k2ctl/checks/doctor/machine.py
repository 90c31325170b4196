"""Is this machine fit for the engines."""

from dataclasses import replace
from typing import Final

from k2ctl.errors import K2Error
from k2ctl.stack import preflight
from k2ctl.stack.docker.client import docker_client
from k2ctl.stack.docker.engine import resolved
from k2ctl.stack.docker.instance import load_instance, new_instance
from k2ctl.stack.docker.preflight import engine_checks, memory_limits
from k2ctl.stack.engine import Wanted
from k2ctl.stack.leftovers import DOCKER_PATIENCE_S
from k2ctl.stack.preflight import Check, Verdict, ok, wrong


def machine_checks(judged: str) -> list[Check]:
    """Python, the state directory, room on disk and in memory; judged: the engine that shall fit."""
    needed_bytes = _docker_needs_bytes() if judged == "docker" else 0
    return [
        preflight.python(),
        preflight.state_directory(),
        preflight.disk(),
        preflight.memory(needed_bytes),
        preflight.endpoints_file(),
    ]


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
        instance = load_instance()
        running = instance is not None and instance.active
        return 0 if running else memory_limits(resolved(), Wanted(without=instance.without if instance else ()))
    except K2Error:
        return 0  # the engine's own check says what is wrong


def _docker() -> list[Check]:
    try:
        instance = load_instance() or new_instance()
        with docker_client(DOCKER_PATIENCE_S) as client:
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
