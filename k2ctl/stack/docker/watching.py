"""Watching services on their way: healthy by Docker's test, then tried for real; or failed, and why."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from k2ctl.errors import K2Error, StackError
from k2ctl.stack.compose.model import Service
from k2ctl.stack.docker.client import Container, last_log_lines
from k2ctl.stack.engine import Report
from k2ctl.stack.progress import Event, Phase

if TYPE_CHECKING:
    from docker import APIClient

CRASHES_BEFORE_GIVING_UP: Final = 3
PROBES_AT_ONCE: Final = 4

Probe = Callable[[str], None]
"""Tries a service for real; raises a `K2Error` that says what did not work."""


class Watch:
    """Follows services until each is finished. A one-shot is finished when it exits 0."""

    def __init__(
        self, client: "APIClient", services: dict[str, Service], one_shots: set[str], probe: Probe, report: Report
    ) -> None:
        self.finished: set[str] = set()
        self._client = client
        self._services = services
        self._one_shots = one_shots
        self._probe = probe
        self._report = report
        self._pool = ThreadPoolExecutor(max_workers=PROBES_AT_ONCE)
        self._probing: dict[str, Future[None]] = {}
        self._refused: dict[str, str] = {}

    def close(self) -> None:
        """Wait for no probe any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def observe(self, found: dict[str, Container], changed: list[str], woken: set[str]) -> None:
        """Look at all that are not finished yet, and report each.

        woken: were paused; until their next health test they count as what they were before, not as failed.

        Raises:
            StackError: one cannot become ready any more.
        """
        for name in self._services:
            one = found.get(name)
            if one is None or name in self.finished:
                continue
            if name in self._one_shots and one.exit_code == 0:
                self._settle(name, Phase.DONE, changed)
            elif one.state == "running" and one.health in ("", "healthy") and name not in self._one_shots:
                self._try(name, one, changed)
            else:
                fresh = name in changed and name not in woken
                self._report(Event(Phase.START, name, self._on_its_way(name, one, fresh)))

    def _try(self, name: str, one: Container, changed: list[str]) -> None:
        if name not in self._probing:
            self._probing[name] = self._pool.submit(self._probe, name)
        if not self._probing[name].done():
            self._report(Event(Phase.PROBE, name, "tried for real"))
            return
        error = self._probing.pop(name).exception()
        if error is None:
            self._settle(name, Phase.HEALTHY if one.health else Phase.RUNNING, changed)
        elif isinstance(error, K2Error):
            self._refused[name] = str(error)
            self._report(Event(Phase.PROBE, name, str(error).splitlines()[0]))
        else:
            raise error

    def _settle(self, name: str, phase: Phase, changed: list[str]) -> None:
        self.finished.add(name)
        self._report(Event(phase, name, "" if name in changed else "unchanged"))

    def _on_its_way(self, name: str, one: Container, fresh: bool) -> str:
        """What to show of one that is not ready; raises when it never will be. fresh: this `up` started it."""
        ended = one.state in ("exited", "dead")
        if ended and (name in self._one_shots or self._services[name].restart in ("no", "on-failure")):
            raise self.failure(name, one, f"ended with exit code {one.exit_code}")
        if one.state == "restarting":
            crashes = int(self._client.inspect_container(one.id)["RestartCount"])
            if crashes >= CRASHES_BEFORE_GIVING_UP:
                raise self.failure(name, one, f"ended {crashes} times")
            return f"ended, is started again ({crashes})"
        if one.health == "unhealthy" and fresh:
            raise self.failure(name, one, "is not healthy")
        return f"health: {one.health}" if one.health else one.state

    def failure(self, name: str, one: Container, what: str) -> StackError:
        """The error of a service, with the output of its health test and the end of its log."""
        self._report(Event(Phase.FAILED, name, what))
        lines = [f"{name} {what}."]
        state = self._client.inspect_container(one.id)["State"]
        tests = (state.get("Health") or {}).get("Log") or []
        if tests and one.health != "healthy":
            said = " ".join(tests[-1]["Output"].split())[:300]
            lines.append(f"  health test, exit code {tests[-1]['ExitCode']}: {said or 'it said nothing'}")
        if name in self._refused:
            lines.append(f"  tried for real: {self._refused[name]}")
        if state.get("OOMKilled"):
            lines.append("  it was killed for want of memory")
        lines += [f"  log: {line[:300]}" for line in last_log_lines(self._client, one.id)]
        return StackError("\n".join(lines), f"See: k2ctl stack logs {name}; then again: k2ctl stack up --engine docker")
