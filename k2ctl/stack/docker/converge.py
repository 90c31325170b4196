"""From what is there to what the file says, in dependency order, changing only what has to change.

A service is ready when it is healthy by Docker's test and works when it is used.
"""

import time
from typing import TYPE_CHECKING, Final

from k2ctl.errors import StackError
from k2ctl.stack.compose.model import Project
from k2ctl.stack.compose.render import config_hash
from k2ctl.stack.docker.client import Container, our_containers
from k2ctl.stack.docker.create import build, create_container, ensure_networks, ensure_volumes, image_id, pull
from k2ctl.stack.docker.instance import Instance
from k2ctl.stack.engine import Event, Phase, Report, Wanted

if TYPE_CHECKING:
    from docker import APIClient
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from k2ctl.errors import K2Error
from k2ctl.stack.compose.model import Service
from k2ctl.stack.docker.client import last_log_lines

POLL_S: Final = 0.15
LEAVING_GRACE_S: Final = 10

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


class Convergence:
    """One `up`: what shall be there, and what it has changed so far, in order."""

    def __init__(
        self, client: "APIClient", instance: Instance, project: Project, wanted: Wanted, report: Report
    ) -> None:
        self.changed: list[str] = []
        self._woken: set[str] = set()
        self._client = client
        self._instance = instance
        self._project = project
        self._wanted = wanted
        self._report = report
        self._services = project.chosen(wanted.services, wanted.without)
        self._one_shots = project.one_shots()

    def run(self, probe: Probe) -> None:
        """Do it, in this order: images, networks and volumes, then each service once what it needs is there.

        Raises:
            StackError: something did not come up; what did stays, so that it can be looked at.
        """
        for name in self._services:
            self._report(Event(Phase.WAITING, name))
        image_ids = self._ensure_images()
        ensure_networks(self._client, self._instance, self._project, set(self._services))
        ensure_volumes(self._client, self._instance, self._project, set(self._services))
        self._remove_what_shall_not_be()
        watch = Watch(self._client, self._services, self._one_shots, probe, self._report)
        try:
            self._start_in_order(image_ids, watch)
        finally:
            watch.close()

    def _start_in_order(self, image_ids: dict[str, str], watch: Watch) -> None:
        deadline_s = time.monotonic() + self._wanted.timeout_s
        waiting = list(self._services)
        while True:
            found = self._look()
            for name in [name for name in waiting if self._may_start(name, found, watch)]:
                self._make_current(name, found.get(name), image_ids[name])
                waiting.remove(name)
            if not waiting and not self._wanted.wait:
                return
            watch.observe(
                {name: one for name, one in self._look().items() if name not in waiting}, self.changed, self._woken
            )
            if len(watch.finished) == len(self._services):
                return
            if time.monotonic() > deadline_s:
                raise self._late(watch, waiting)
            time.sleep(POLL_S)

    def _late(self, watch: Watch, waiting: list[str]) -> StackError:
        found, what = self._look(), f"was not ready within {self._wanted.timeout_s:.0f} s"
        late = [name for name in self._services if name not in watch.finished and name not in waiting]
        if late and late[0] in found:
            return watch.failure(late[0], found[late[0]], what)
        return StackError(f"{' and '.join(late or waiting)} {what}.", "Give it longer: --timeout 5m")

    def _ensure_images(self) -> dict[str, str]:
        """name → image id, after pulling what is missing and building what was asked for."""
        ids: dict[str, str] = {}
        for name, service in self._services.items():
            if self._wanted.build and service.build:
                build(self._client, name, service, self._report)
            found = image_id(self._client, service.image)
            if found is None:
                pull(self._client, name, service, self._report)
                found = image_id(self._client, service.image)
            ids[name] = found or ""
        return ids

    def _look(self) -> dict[str, Container]:
        return {one.service: one for one in our_containers(self._client, self._instance.id) if one.number == 1}

    def _remove_what_shall_not_be(self) -> None:
        for one in our_containers(self._client, self._instance.id):
            gone = one.service not in self._project.services
            if gone or one.service in self._wanted.without:
                self._report(Event(Phase.STOP, one.service, "no longer in the file" if gone else "left out"))
                remove(self._client, one, LEAVING_GRACE_S)

    def _may_start(self, name: str, found: dict[str, Container], watch: Watch) -> bool:
        """Whether what it needs is there; of one that runs once, the run of this `up` counts."""
        needs = self._services[name].depends_on.items()
        return all(
            (needed in watch.finished or needed not in self._one_shots)
            and needed in found
            and _meets(found[needed], condition)
            for needed, condition in needs
        )

    def _make_current(self, name: str, one: Container | None, image: str) -> None:
        """Keep, wake, or recreate the container."""
        same = one is not None and one.image_id == image and one.config_hash == config_hash(self._project, name)
        if one is not None and (not same or self._must_run_again(name)):
            self._report(Event(Phase.STOP, name, "changed"))
            remove(self._client, one, round(self._project.services[name].stop_grace_period))
            one = None
        if one is None:
            self._report(Event(Phase.CREATE, name))
            identity = create_container(self._client, self._instance, self._project, name)
            self._start(name, identity)
        elif one.state == "paused":
            self._client.unpause(one.id)
            self.changed.append(name)
            self._woken.add(name)
        elif one.state != "running" and not (name in self._one_shots and one.exit_code == 0):
            self._start(name, one.id)

    def _must_run_again(self, name: str) -> bool:
        """A one-shot prepares what others use; if what it needs is recreated, it has to run again."""
        return name in self._one_shots and bool(set(self._services[name].depends_on) & set(self.changed))

    def _start(self, name: str, identity: str) -> None:
        from docker.errors import APIError

        self._report(Event(Phase.START, name))
        self.changed.append(name)
        try:
            self._client.start(identity)
        except APIError as error:
            self._report(Event(Phase.FAILED, name))
            raise StackError(
                f"{name} cannot be started: {error.explanation or error}", "See what holds it: k2ctl doctor"
            ) from error


def _meets(one: Container, condition: str) -> bool:
    if condition == "service_completed_successfully":
        return one.state == "exited" and one.exit_code == 0
    return one.state == "running" and (condition == "service_started" or one.health == "healthy")


def remove(client: "APIClient", one: Container, grace_s: int) -> None:
    """Stop a container in its own time and remove it with its nameless volumes; one that is gone is fine."""
    from docker.errors import NotFound

    try:
        if one.state in ("running", "restarting", "paused"):
            if one.state == "paused":
                client.unpause(one.id)
            client.stop(one.id, timeout=grace_s)
        client.remove_container(one.id, v=True, force=True)
    except NotFound:
        return  # somebody else has removed it, which is what was wanted
