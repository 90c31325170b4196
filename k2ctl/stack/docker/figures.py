"""State, health, ports, uptime, CPU and memory of our containers."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

from k2ctl.endpoints import Endpoints
from k2ctl.stack.docker.client import Container
from k2ctl.stack.engine import ServiceStatus
from k2ctl.stack.readiness import health

if TYPE_CHECKING:
    from docker import APIClient

SAMPLE_S = 0.5
"""How long CPU is measured."""


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
