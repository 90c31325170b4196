"""What of ours still runs although no stack knows it, such as after an `up` or a test that was killed."""

from pathlib import Path
from typing import Any, Final

import psutil

from k2ctl.endpoints import Endpoints, ProcessId
from k2ctl.home import Home
from k2ctl.stack.docker.client import docker_client, our_containers
from k2ctl.stack.docker.instance import load_instance
from k2ctl.stack.embedded import control_socket_path
from k2ctl.stack.engine import Report
from k2ctl.stack.processes import end
from k2ctl.stack.progress import note
from k2ctl.stack.replicas import started_records, stop_processes

DOCKER_PATIENCE_S: Final = 2.0


def leftover_processes(home: Home, endpoints: Endpoints | None) -> list[tuple[str, ProcessId]]:
    """Each server of this state directory that the endpoints do not name, with its service."""
    known = {process.pid for process in endpoints.processes.values()} if endpoints else set()
    running = psutil.process_iter(["cmdline", "cwd", "create_time"])
    servers = ((_service(home, one.info), ProcessId(one.pid, one.info["create_time"])) for one in running)
    return [(service, process) for service, process in servers if service and process.pid not in known]


def end_leftovers(home: Home, report: Report) -> bool:
    """End servers and consumers of a stack that is down and did not take them along; False when there were none.

    An `up` that was killed leaves them, and endpoints that were damaged.
    """
    consumers = [record.name for record in started_records(home) if record.alive]
    servers = leftover_processes(home, None)
    if not consumers and not servers:
        return False
    report(note("ending what a stack has left behind"))
    stop_processes(home, consumers)
    end([process for _, process in servers])
    return True


def _service(home: Home, process: dict[str, Any]) -> str:
    """Which service of this state directory a process is; empty for any other."""
    words, folder = process["cmdline"] or [], process["cwd"]
    if not words or not folder:
        return ""
    if "k2ctl.kafka.embedded" in words and _names(words, folder, control_socket_path(home)):
        return "kafka"
    if "kafka.Kafka" in words and _names(words, folder, home.path / "kafka" / "server.properties"):
        return "kafka"
    # Redis rewrites its own command line, and works in the folder of its data.
    if "redis-server" in words[0] and Path(folder) == (home.path / "redis").resolve():
        return "redis"
    return ""


def _names(words: list[str], folder: str, path: Path) -> bool:
    """Whether an argument of a process that works in `folder` is this path."""
    wanted = path.resolve()
    return any((Path(folder) / word).resolve() == wanted for word in words if word.endswith(path.name))


def leftover_containers(home: Home) -> list[str]:
    """Names of containers with the label of an instance that is down.

    Raises:
        StackError: Docker does not answer.
    """
    instance = load_instance(home)
    if instance is None or instance.active:
        return []
    with docker_client(DOCKER_PATIENCE_S) as client:
        return [one.name for one in our_containers(client, instance.id)]
