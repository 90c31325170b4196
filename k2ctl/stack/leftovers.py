"""What of ours still runs although no stack knows it, such as after an `up` or a test that was killed."""

from pathlib import Path
from typing import Any, Final

import psutil

from k2ctl.home import Endpoints, state_dir
from k2ctl.stack.docker.client import docker_client, our_containers
from k2ctl.stack.docker.instance import load_instance
from k2ctl.stack.embedded import control_socket_path

DOCKER_PATIENCE_S: Final = 2.0


def leftover_processes(endpoints: Endpoints | None) -> list[tuple[str, int]]:
    """Service and process number of each server of this state directory that the endpoints do not name."""
    known = {process.pid for process in endpoints.processes.values()} if endpoints else set()
    servers = ((_service(one.info), one.pid) for one in psutil.process_iter(["cmdline", "cwd"]))
    return [(service, pid) for service, pid in servers if service and pid not in known]


def _service(process: dict[str, Any]) -> str:
    """Which service of this state directory a process is; empty for any other."""
    words, folder = process["cmdline"] or [], process["cwd"]
    if not words or not folder:
        return ""
    if "k2ctl.broker.embedded" in words and _names(words, folder, control_socket_path()):
        return "kafka"
    if "kafka.Kafka" in words and _names(words, folder, state_dir() / "kafka" / "server.properties"):
        return "kafka"
    # Redis writes its own command line anew, and works in the folder of its data.
    if "redis-server" in words[0] and Path(folder) == (state_dir() / "redis").resolve():
        return "redis"
    return ""


def _names(words: list[str], folder: str, path: Path) -> bool:
    """Whether an argument of a process that works in `folder` is this path."""
    wanted = path.resolve()
    return any((Path(folder) / word).resolve() == wanted for word in words if word.endswith(path.name))


def leftover_containers() -> list[str]:
    """Names of containers with the label of an instance that is down.

    Raises:
        StackError: Docker does not answer.
    """
    instance = load_instance()
    if instance is None or instance.active:
        return []
    with docker_client(DOCKER_PATIENCE_S) as client:
        return [one.name for one in our_containers(client, instance.id)]
