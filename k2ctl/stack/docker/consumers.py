"""Consumers in containers of the docker engine: numbered copies of the service `consumer` of the Compose file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from k2ctl.errors import NotRunning, StackError, UsageError
from k2ctl.home import Home
from k2ctl.stack.docker.client import CONSUMER, Container, docker_client, last_log_lines, our_containers
from k2ctl.stack.docker.create import create_container, ensure_networks, ensure_volumes, image_id
from k2ctl.stack.docker.engine import read_stack, remove_containers
from k2ctl.stack.docker.instance import Instance, load_instance

if TYPE_CHECKING:
    from docker import APIClient


@dataclass(frozen=True)
class ConsumerContainer:
    """One consumer."""

    name: str
    number: int
    state: str
    # Of one that has ended.
    exit_code: int | None
    # When it was last started; None for one that never was.
    started_at_us: int | None


def start_consumers(home: Home, count: int, arguments: Sequence[str]) -> list[ConsumerContainer]:
    """Start `count` more, with the lowest free numbers; `arguments` come after the service's own command.

    Raises:
        StackError: the docker engine is not up, or the image is not there.
    """
    with _our_docker(home) as (client, instance):
        project = read_stack(instance, home)
        image = project.services[CONSUMER].image
        if image_id(client, image) is None:
            raise StackError(f"The image {image} is not here.", "Build it: k2ctl stack up --engine docker --build")
        ensure_networks(client, instance, project, {CONSUMER})
        ensure_volumes(client, instance, project, {CONSUMER})
        taken = {one.number for one in _consumers(client, instance)}
        numbers = [number for number in range(1, len(taken) + count + 1) if number not in taken][:count]
        for number in numbers:
            made = create_container(
                client, instance, project, CONSUMER, number=number, extra_arguments=tuple(arguments)
            )
            client.start(made)
        return [_shown(client, one) for one in _consumers(client, instance) if one.number in numbers]


def list_consumers(home: Home) -> list[ConsumerContainer]:
    """All of them by number, ended ones too."""
    with _our_docker(home) as (client, instance):
        return [_shown(client, one) for one in _consumers(client, instance)]


def consumer_logs(home: Home, count: int) -> dict[int, list[str]]:
    """Number of each → the newest lines of its log."""
    with _our_docker(home) as (client, instance):
        return {one.number: last_log_lines(client, one.id, count) for one in _consumers(client, instance)}


def stop_consumers(home: Home, names: Sequence[str]) -> None:
    """Let them commit and end (SIGTERM, then the file's stop_grace_period), all at once, and remove them.

    Raises:
        UsageError: there is no consumer of that name.
    """
    with _our_docker(home) as (client, instance):
        found = {one.name: one for one in _consumers(client, instance)}
        remove_containers(client, [_named(found, name) for name in names], lambda _: None)


def _named(found: dict[str, Container], name: str) -> Container:
    if name not in found:
        raise UsageError(f"There is no consumer '{name}'.", f"There are: {', '.join(found) or 'none'}")
    return found[name]


def _consumers(client: "APIClient", instance: Instance) -> list[Container]:
    return [one for one in our_containers(client, instance.id) if one.service == CONSUMER]


def _shown(client: "APIClient", one: Container) -> ConsumerContainer:
    started = client.inspect_container(one.id)["State"]["StartedAt"]
    at_us = round(datetime.fromisoformat(started).timestamp() * 1e6) if not started.startswith("0001") else None
    return ConsumerContainer(one.name, one.number, one.state, one.exit_code, at_us)


@contextmanager
def _our_docker(home: Home) -> Iterator[tuple["APIClient", Instance]]:
    instance = load_instance(home)
    if instance is None or not instance.active:
        raise NotRunning("No docker stack is running.")
    with docker_client() as client:
        yield client, instance
