"""The connection to Docker; our containers, known by their labels, with their state, health and figures."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from k2ctl.errors import StackError

if TYPE_CHECKING:
    from docker import APIClient
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from k2ctl.endpoints import Endpoints
from k2ctl.stack.engine import ServiceStatus
from k2ctl.stack.readiness import health

PROJECT: Final = "com.docker.compose.project"
SERVICE: Final = "com.docker.compose.service"
NUMBER: Final = "com.docker.compose.container-number"
CONFIG_HASH: Final = "com.docker.compose.config-hash"
ONE_OFF: Final = "com.docker.compose.oneoff"
INSTANCE: Final = "io.k2ctl.instance"
WAVE: Final = "io.k2ctl.wave"
"""How many waves of services come before: `down` goes backwards, and needs no file to know it."""

CONSUMER: Final = "consumer"
"""The service of which there are numbered copies: `consumer-1`, `consumer-2`, …"""

TIMEOUT_S: Final = 30
SAMPLE_S = 0.5
"""How long CPU is measured."""

_EXITED: Final = re.compile(r"^Exited \((\d+)\)")
_HEALTH: Final = re.compile(r"\((?:health: )?(starting|healthy|unhealthy)\)")


def docker_address() -> str:
    """Where Docker listens: `DOCKER_HOST`, else what the user's current Docker context says."""
    configured = os.environ.get("DOCKER_HOST")
    if configured:
        return configured
    from docker.context import ContextAPI

    context = ContextAPI.get_current_context()
    return str(context.Host) if context is not None and context.Host else "unix:///var/run/docker.sock"


@contextmanager
def docker_client(timeout_s: float = TIMEOUT_S) -> Iterator["APIClient"]:
    """A client of the engine; whatever goes wrong inside is a `StackError` that says so.

    Raises:
        StackError: Docker does not answer, or refuses.
    """
    import docker
    import requests
    from docker.errors import APIError, DockerException
    from docker.utils import kwargs_from_env

    address = docker_address()
    tls = {"tls": kwargs_from_env()["tls"]} if "DOCKER_HOST" in os.environ and "tls" in kwargs_from_env() else {}
    try:
        client = docker.APIClient(base_url=address, version="auto", timeout=int(timeout_s), **tls)
    except (DockerException, requests.RequestException) as error:
        raise no_engine(address, error) from error
    try:
        yield client
    except APIError as error:
        raise StackError(f"Docker refused: {error.explanation or error}", "See: k2ctl doctor") from error
    except (DockerException, requests.RequestException) as error:
        raise StackError(
            f"Docker at {address} stopped answering: {_reason(error)}",
            "When it runs again: k2ctl stack up --engine docker (it goes on where it was).",
        ) from error
    finally:
        client.close()


def no_engine(address: str, error: Exception) -> StackError:
    """Docker is not there, or not for this user."""
    if "Permission denied" in str(error) or "PermissionError" in str(error):
        return StackError(
            f"Docker at {address} does not let this user in.", "Join its group: sudo usermod -aG docker $USER"
        )
    return StackError(
        f"Docker does not answer at {address}: {_reason(error)}",
        "Start it (sudo systemctl start docker), or use another engine: k2ctl stack up",
    )


def _reason(error: Exception) -> str:
    """The innermost words of a chain of connection errors."""
    words = re.findall(r"(No such file or directory|Connection refused|Connection reset|[Tt]imed? ?out)", str(error))
    return words[-1] if words else type(error).__name__


@dataclass(frozen=True)
class Container:
    """One of our containers, as Docker lists it."""

    id: str
    name: str
    service: str
    number: int
    state: str
    # starting, healthy, unhealthy; empty without a test
    health: str
    # Of one that has ended.
    exit_code: int | None
    config_hash: str
    image_id: str
    # How many waves of services come before it.
    wave: int
    created_s: int

    @property
    def title(self) -> str:
        """What people call it: the service, or for one of several its number too."""
        return f"{self.service}-{self.number}" if self.service == CONSUMER or self.number > 1 else self.service


def our_containers(client: "APIClient", instance_id: str) -> list[Container]:
    """All containers with our label, living or dead, in one request."""
    found = client.containers(all=True, filters={"label": f"{INSTANCE}={instance_id}"})
    return sorted((_container(entry) for entry in found), key=lambda one: (one.wave, one.service, one.number))


def _container(entry: dict[str, Any]) -> Container:
    labels, status = entry["Labels"], entry["Status"]
    exited, health = _EXITED.match(status), _HEALTH.search(status)
    return Container(
        id=entry["Id"],
        name=entry["Names"][0].lstrip("/") if entry["Names"] else entry["Id"][:12],
        service=labels.get(SERVICE, ""),
        number=int(labels.get(NUMBER, 1)),
        state=entry["State"],
        health=health[1] if health else "",
        exit_code=int(exited[1]) if exited else None,
        config_hash=labels.get(CONFIG_HASH, ""),
        image_id=entry["ImageID"],
        wave=int(labels.get(WAVE, 0)),
        created_s=entry["Created"],
    )


def last_log_lines(client: "APIClient", container_id: str, count: int = 8) -> list[str]:
    """The end of a container's log."""
    raw: bytes = client.logs(container_id, stdout=True, stderr=True, tail=count)
    return raw.decode(errors="replace").splitlines()[-count:]


def status_of(
    client: "APIClient", containers: list[Container], endpoints: Endpoints | None, *, figures: bool = True
) -> list[ServiceStatus]:
    """One entry per container; endpoints: of a stack that became ready, so that its services are tried for real."""
    if not containers:
        return []
    with ThreadPoolExecutor(max_workers=len(containers)) as pool:
        return list(pool.map(lambda one: _status(client, one, endpoints, figures), containers))


def _status(client: "APIClient", one: Container, endpoints: Endpoints | None, figures: bool) -> ServiceStatus:
    details = client.inspect_container(one.id)
    endpoint = ", ".join(_published(details))
    if one.state != "running":
        done = one.state == "exited" and one.exit_code == 0 and details["HostConfig"]["RestartPolicy"]["Name"] == "no"
        what = "done" if done else f"{one.state}, exit code {one.exit_code}"
        return ServiceStatus(one.title, one.state, what, endpoint)
    memory_bytes, cpu_share = _figures(client, one.id) if figures else (None, None)
    return ServiceStatus(
        one.title,
        one.state,
        _health(one, details, endpoints),
        endpoint,
        details["State"]["Pid"],
        round(time.time() - datetime.fromisoformat(details["State"]["StartedAt"]).timestamp(), 1),
        memory_bytes,
        cpu_share,
    )


def _published(details: dict[str, Any]) -> list[str]:
    bindings = details["HostConfig"]["PortBindings"] or {}
    return [f"{entry['HostIp']}:{entry['HostPort']}" for entries in bindings.values() for entry in entries or []]


def _health(one: Container, details: dict[str, Any], endpoints: Endpoints | None) -> str:
    if one.health == "unhealthy":
        tests = details["State"]["Health"]["Log"]
        return " ".join(tests[-1]["Output"].split())[:200] or "unhealthy" if tests else "unhealthy"
    if one.health == "starting":
        return "starting"
    return health(endpoints, one.service) if endpoints else "healthy"


def _figures(client: "APIClient", container_id: str) -> tuple[int, float]:
    """Bytes of memory without reclaimable page cache, and the fraction of a core over a moment."""
    first = client.stats(container_id, stream=False, one_shot=True)
    time.sleep(SAMPLE_S)
    second = client.stats(container_id, stream=False, one_shot=True)
    return used_bytes(second["memory_stats"]), cpu_share(first, second)


def used_bytes(memory: dict[str, Any]) -> int:
    """As `docker stats` has it: what is used less the inactive part of the page cache (cgroup v1, then v2)."""
    details = memory.get("stats", {})
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    return max(0, int(memory.get("usage", 0)) - int(cache))


def cpu_share(first: dict[str, Any], second: dict[str, Any]) -> float:
    """CPU time over wall time between two samples, 1.0 is one core."""
    used_ns = second["cpu_stats"]["cpu_usage"]["total_usage"] - first["cpu_stats"]["cpu_usage"]["total_usage"]
    passed_s = (datetime.fromisoformat(second["read"]) - datetime.fromisoformat(first["read"])).total_seconds()
    return round(used_ns / 1e9 / passed_s, 3) if passed_s > 0 else 0.0
