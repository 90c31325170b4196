"""The docker engine: `up`, `down`, `status` and `logs` over the Compose file."""

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Final

from k2ctl.endpoints import Endpoints, forget_endpoints, load_endpoints, save_endpoints
from k2ctl.errors import UsageError
from k2ctl.home import Home
from k2ctl.stack.compose.model import Project
from k2ctl.stack.compose.reading import read_project
from k2ctl.stack.docker.client import INSTANCE, PROJECT, Container, docker_client, our_containers, status_of
from k2ctl.stack.docker.converge import Convergence, remove
from k2ctl.stack.docker.instance import (
    FOLDER,
    Instance,
    choose_ports,
    compose_file,
    ensure_secrets,
    from_here,
    load_instance,
    new_instance,
    save_instance,
    secrets_dir,
    variables,
)
from k2ctl.stack.engine import Event, Phase, Report, ServiceStatus, Up, Wanted, note
from k2ctl.stack.preflight import examine, refuse
from k2ctl.stack.readiness import try_for_real

if TYPE_CHECKING:
    from docker import APIClient

STOPS_AT_ONCE: Final = 8
GRACE_S: Final = 30
LEFTOVER_PATIENCE_S: Final = 2.0
WEB: Final = ("prometheus", "grafana", "api")
"""Services that answer browsers."""


def read_stack(instance: Instance, home: Home) -> Project:
    """The Compose file as this instance starts it."""
    project = read_project(compose_file(), variables(instance, home))
    return project.model_copy(update={"name": instance.project})


def resolved() -> Project:
    """The Compose file as `up` would start it now; changes nothing."""
    home = Home.of_user()
    instance = load_instance(home)
    if instance is None:
        return read_project(compose_file(), variables(new_instance(), home))
    return read_stack(instance, home)


class DockerEngine:
    """See `Engine`. What is ours carries our label; nothing else is ever stopped, changed or removed."""

    name = "docker"

    def __init__(self, home: Home) -> None:
        self._home = home

    def up(self, profile: str, wanted: Wanted, report: Report) -> Up:
        """See `Engine`. A container whose configuration and image are as the file says is left alone."""
        started_s = time.monotonic()
        with docker_client() as client:
            instance = self._instance(client, wanted)
            project = read_stack(instance, self._home)
            _refuse_unknown(project, wanted)
            instance = replace(instance, without=_left_out(instance, project, wanted))
            wanted = replace(wanted, without=instance.without)
            refuse(examine(client, instance, project, wanted))
            # Who we are is on disk before the first thing is created: a kill from here on leaves what `down` can find.
            save_instance(replace(instance, active=True), self._home)
            before = load_endpoints(self._home)
            started_at_us = before.started_at_us if before else time.time_ns() // 1000
            endpoints = ensure_secrets(project, profile, started_at_us, self._home)
            convergence = Convergence(client, instance, project, wanted, report)
            changed = convergence.changed
            convergence.run(lambda name: try_for_real(endpoints, name, thorough=name in changed))
            save_endpoints(endpoints)
            web = _web(project, our_containers(client, instance.id))
        repaired = before is not None and bool(changed)
        return Up(
            endpoints,
            not changed,
            repaired,
            time.monotonic() - started_s,
            tuple(changed),
            web,
            str(secrets_dir(self._home)),
            instance.without,
        )

    def _instance(self, client: "APIClient", wanted: Wanted) -> Instance:
        file = compose_file()
        instance = load_instance(self._home)
        if instance is None:
            fresh = new_instance()
            name = read_project(file, variables(fresh, self._home)).name
            instance = replace(fresh, project=name if _is_free(client, name) else f"{name}-{fresh.id[:6]}")
        return choose_ports(instance, wanted.ports, file.read_text())

    def down(self, *, volumes: bool, report: Report) -> bool:
        """See `Engine`. Wave by wave, last started first stopped; without `volumes` the data and its passwords stay."""
        instance = load_instance(self._home)
        if instance is None or not (instance.active or volumes):
            return False
        with docker_client() as client:
            remove_containers(client, our_containers(client, instance.id), report)
            for network in client.networks(filters={"label": f"{INSTANCE}={instance.id}"}):
                client.remove_network(network["Id"])
            if volumes:
                found = client.volumes(filters={"label": f"{INSTANCE}={instance.id}"})["Volumes"] or []
                for volume in found:
                    report(note(f"deleting {volume['Name']}"))
                    client.remove_volume(volume["Name"])
        if self._endpoints() is not None:
            forget_endpoints(self._home)
        if volumes:
            shutil.rmtree(self._home.path / FOLDER)
        else:
            save_instance(replace(instance, active=False), self._home)
        return instance.active

    def is_up(self) -> bool:
        """See `Engine`."""
        instance = load_instance(self._home)
        return instance is not None and instance.active

    def _endpoints(self) -> Endpoints | None:
        endpoints = load_endpoints(self._home)
        return endpoints if endpoints is not None and endpoints.engine == self.name else None

    def status(self, *, figures: bool = True) -> list[ServiceStatus]:
        """See `Engine`. CPU is measured over a moment; what Docker calls healthy is also tried for real."""
        instance = load_instance(self._home)
        if instance is None:
            return []
        with docker_client() as client:
            return status_of(client, our_containers(client, instance.id), self._endpoints(), figures=figures)

    def log_lines(self, service: str, *, follow: bool) -> Iterator[str]:
        """See `Engine`. `consumer-2` is the second consumer; a container's name works too."""
        instance = load_instance(self._home)
        with docker_client() as client:
            ours = our_containers(client, instance.id) if instance else []
            found = next((one for one in ours if service in (one.service, one.title, one.name)), None)
            if found is None:
                known = ", ".join(dict.fromkeys(one.title for one in ours))
                raise UsageError(f"There is no service '{service}'.", f"There are: {known or 'none yet'}")
            rest = b""
            for chunk in client.logs(found.id, stdout=True, stderr=True, stream=True, follow=follow):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from (line.decode(errors="replace").rstrip("\r") for line in whole)
            if rest:
                yield rest.decode(errors="replace")


def _web(project: Project, containers: list[Container]) -> dict[str, str]:
    """service → URL of those with a page that run."""
    address = from_here(project)
    running = {one.service for one in containers if one.state == "running"}
    return {name: f"http://{address(name)}" for name in WEB if name in running and address(name)}


def remove_containers(client: "APIClient", containers: list[Container], report: Report) -> None:
    """Stop and remove containers, those of the same wave at once, what needs others before what it needs."""

    def one_by_one(one: Container) -> None:
        report(Event(Phase.STOP, one.name))
        remove(client, one, GRACE_S)
        report(Event(Phase.REMOVED, one.name))

    backwards = sorted(containers, key=lambda one: -one.wave)
    with ThreadPoolExecutor(max_workers=STOPS_AT_ONCE) as pool:
        for _, wave in groupby(backwards, key=lambda one: one.wave):
            list(pool.map(one_by_one, wave))


def _is_free(client: "APIClient", project: str) -> bool:
    """Whether nobody has used this project name yet, with or without k2ctl."""
    label = {"label": f"{PROJECT}={project}"}
    names = [name.lstrip("/") for one in client.containers(all=True) for name in one["Names"]]
    names += [volume["Name"] for volume in client.volumes()["Volumes"] or []]
    names += [network["Name"] for network in client.networks()]
    alike = any(name.startswith((f"{project}-", f"{project}_")) for name in names)
    return not (alike or client.containers(all=True, filters=label) or client.networks(filters=label))


def _left_out(instance: Instance, project: Project, wanted: Wanted) -> tuple[str, ...]:
    """What `--without` says now and said before; naming a service brings it back, and what it needs."""
    back = set(project.chosen(wanted.services)) if wanted.services else set()
    before = [name for name in instance.without if name in project.services and name not in back]
    return tuple(dict.fromkeys((*before, *wanted.without)))


def _refuse_unknown(project: Project, wanted: Wanted) -> None:
    for name in (*wanted.services, *wanted.without):
        if name not in project.services:
            raise UsageError(f"There is no service '{name}'.", f"There are: {', '.join(project.services)}")
    for name in wanted.without:
        if name in project.chosen(wanted.services, wanted.without):
            raise UsageError(f"{name} cannot be left out: others need it.", "See depends_on in: k2ctl stack render")


def leftover_containers(home: Home) -> list[str]:
    """Names of containers with the label of an instance that is down.

    Raises:
        StackError: Docker does not answer.
    """
    instance = load_instance(home)
    if instance is None or instance.active:
        return []
    with docker_client(LEFTOVER_PATIENCE_S) as client:
        return [one.name for one in our_containers(client, instance.id)]
