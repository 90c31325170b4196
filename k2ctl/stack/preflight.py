"""Is this machine fit for a stack: each check says what it found, and the command that helps."""

import errno
import os
import platform
import shutil
import socket
import stat
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import psutil

from k2ctl.endpoints import load_endpoints
from k2ctl.errors import K2Error, StackError
from k2ctl.home import Home
from k2ctl.kafka.embedded import library_path
from k2ctl.stack.compose.model import Project
from k2ctl.stack.docker.client import docker_address, our_containers
from k2ctl.stack.docker.create import image_id
from k2ctl.stack.docker.instance import Instance, compose_file, port_names
from k2ctl.stack.engine import Wanted
from k2ctl.stack.kafka_jars import kafka_source
from k2ctl.stack.redis_server import redis_server_binary

if TYPE_CHECKING:
    from docker import APIClient

DISK_WANTED_BYTES: Final = 5_000_000_000
DISK_NEEDED_BYTES: Final = 500_000_000
MEMORY_WANTED_BYTES: Final = 1_000_000_000
"""Python's own processes; the containers' limits are added by who starts them."""

DOCKERS: Final = ("docker-proxy", "dockerd")
"""Processes that listen for a container."""


class Verdict(StrEnum):
    """What a check comes to. A note is good to know and stops nothing."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True)
class Check:
    """One check: what was found, and for what is not ok the command or deed that helps."""

    name: str
    verdict: Verdict
    found: str
    help: str = ""


def ok(name: str, found: str) -> Check:
    """All is well."""
    return Check(name, Verdict.OK, found)


def wrong(name: str, error: K2Error) -> Check:
    """What an error says, as a check."""
    return Check(name, Verdict.WRONG, str(error), error.hint)


def disk() -> Check:
    """Room for the lake, Kafka's log and the state."""
    free = shutil.disk_usage(Home.of_user().path).free
    found = f"{free / 1e9:.1f} GB free for {Home.of_user().path}"
    if free >= DISK_WANTED_BYTES:
        return ok("disk", found)
    verdict = Verdict.WRONG if free < DISK_NEEDED_BYTES else Verdict.NOTE
    return Check("disk", verdict, found, "Make room, or put the state elsewhere: export K2CTL_HOME=/larger/disk")


def memory(needed_bytes: int = 0) -> Check:
    """Memory that is available now, against what the containers may take at most."""
    available, wanted = psutil.virtual_memory().available, needed_bytes + MEMORY_WANTED_BYTES
    found = f"{available / 1e9:.1f} GB available, {wanted / 1e9:.1f} GB may be taken"
    if available >= wanted:
        return ok("memory", found)
    return Check("memory", Verdict.NOTE, found, "Give the machine more, or end what is not needed.")


@dataclass(frozen=True)
class Published:
    """A port that a service wants. name: what `--port` calls it."""

    service: str
    name: str
    address: str
    port: int


def taken_port(
    wanted: Published, containers: Sequence[tuple[str, int]], starting: Collection[int] = ()
) -> Check | None:
    """Who holds a port and what to do, or None when it is free.

    containers: (name, published port) of all that run. starting: ports of our own that do not run: Docker holds one
    before it lists its container as running, as when whoever asked it to start was killed.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((wanted.address, wanted.port))
            return None
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            refused = error.errno == errno.EACCES
    other = f"k2ctl stack up --engine docker --port {wanted.name}={wanted.port + 10_000 if wanted.port < 50_000 else 0}"
    where = f"port {wanted.port} ({wanted.service})"
    if refused:
        return Check(where, Verdict.WRONG, "this user may not listen on it", f"Take another: {other}")
    container = next((name for name, port in containers if port == wanted.port), None)
    if container:
        return Check(where, Verdict.WRONG, f"held by container {container}", f"docker stop {container}; or: {other}")
    process = _listener(wanted.port)
    if wanted.port in starting and (process is None or _name(process) in DOCKERS):
        return None
    if process is None:
        return Check(where, Verdict.WRONG, "held by a process that this user may not see", f"Take another: {other}")
    found = f"held by process {process.pid} ({_shown(process)})"
    return Check(where, Verdict.WRONG, found, f"kill {process.pid}; or: {other}")


def _listener(port: int) -> psutil.Process | None:
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return None  # the check says that this user may not see who it is
    for found in connections:
        if found.status == psutil.CONN_LISTEN and found.laddr and found.laddr[1] == port and found.pid:
            with suppress(psutil.NoSuchProcess):  # it ended just now
                return psutil.Process(found.pid)
    return None


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


def _shown(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:60] or process.name()
    except psutil.Error:
        return "it ended just now"


def python() -> Check:
    """The interpreter, and whether it may write byte-code, without which every command starts half a second later."""
    found = f"Python {platform.python_version()} at {sys.executable}"
    if sys.dont_write_bytecode:
        return Check("python", Verdict.NOTE, f"{found}, writes no byte-code", "unset PYTHONDONTWRITEBYTECODE")
    return ok("python", found)


def state_directory() -> Check:
    """Only its owner may read it: there are passwords in it."""
    try:
        path = Home.of_user().path
    except StackError as error:
        return wrong("state directory", error)
    mode = stat.S_IMODE(path.stat().st_mode)
    found = f"{path}, mode {mode:04o}"
    if not os.access(path, os.W_OK):
        return Check("state directory", Verdict.WRONG, f"{found}, cannot be written", f"sudo chown -R $USER {path}")
    if mode & 0o077:
        return Check("state directory", Verdict.NOTE, f"{found}, open to others", f"chmod 700 {path}")
    return ok("state directory", found)


def local_engine() -> Check:
    """What `--engine local` needs: Java, Kafka's jars or where they come from, a Redis server."""
    try:
        found = f"{kafka_source()}; {redis_server_binary()}"
        return ok("engine local", found)
    except StackError as error:
        return wrong("engine local", error)


def embedded_engine() -> Check:
    """What `--engine embedded` needs: the librdkafka that confluent-kafka's wheel carries."""
    try:
        return ok("engine embedded", library_path().name)
    except StackError as error:
        return wrong("engine embedded", error)


def endpoints_file() -> Check:
    """The file that every command reads."""
    try:
        found = load_endpoints(Home.of_user())
    except StackError as error:
        return wrong("endpoints", error)
    return ok("endpoints", f"of the {found.engine} engine" if found else "none: no stack is up")


def examine(client: "APIClient", instance: Instance, project: Project, wanted: Wanted) -> list[Check]:
    """Every check that `up` makes; some 50 ms."""
    limits = memory_limits(project, wanted)
    return [disk(), memory(limits), *engine_checks(client, instance, project, wanted)]


def engine_checks(client: "APIClient", instance: Instance, project: Project, wanted: Wanted) -> list[Check]:
    """Those that are this engine's alone: Docker, ports, images."""
    names = set(project.chosen(wanted.services, wanted.without))
    return [_engine(client), *_ports(client, instance, project, names), *_images(client, project, names)]


def memory_limits(project: Project, wanted: Wanted) -> int:
    """Bytes that the wanted services may take together."""
    chosen = project.chosen(wanted.services, wanted.without).values()
    return sum(service.mem_limit or 0 for service in chosen)


def refuse(checks: Sequence[Check]) -> None:
    """Say all that is wrong at once, each with what helps.

    Raises:
        StackError: something is wrong.
    """
    found = [check for check in checks if check.verdict is Verdict.WRONG]
    if found:
        lines = "\n".join(f"  {check.name}: {check.found}\n    {check.help}" for check in found)
        raise StackError(f"This machine is not ready:\n{lines}", "Everything else: k2ctl doctor")


def _engine(client: "APIClient") -> Check:
    version = client.version()
    return ok("engine docker", f"Docker {version['Version']} at {docker_address()}")


def _ports(client: "APIClient", instance: Instance, project: Project, names: set[str]) -> list[Check]:
    running = client.containers()
    containers = our_containers(client, instance.id)
    ours = {one.id for one in containers}
    mine = {port["PublicPort"] for one in running if one["Id"] in ours for port in one["Ports"] if "PublicPort" in port}
    theirs = [
        (one["Names"][0].lstrip("/"), port["PublicPort"])
        for one in running
        if one["Id"] not in ours
        for port in one["Ports"]
        if "PublicPort" in port
    ]
    wanted = [port for port in published(instance, project, names) if port.port not in mine]
    starting = {port for one in containers if one.state != "running" for port in _bound(client, one.id)}
    found = [taken_port(port, theirs, starting) for port in wanted]
    taken = [check for check in found if check is not None]
    return taken or [ok("ports", f"{len(wanted)} free, {len(mine)} ours")]


def _bound(client: "APIClient", identity: str) -> set[int]:
    """The ports that a container has as soon as Docker starts it."""
    from docker.errors import NotFound

    try:
        bindings = client.inspect_container(identity)["HostConfig"]["PortBindings"] or {}
    except NotFound:
        return set()
    return {int(one["HostPort"]) for bound in bindings.values() for one in bound or () if one["HostPort"]}


def published(instance: Instance, project: Project, names: set[str]) -> list[Published]:
    """Every port that the services publish, with the name by which `--port` changes it."""
    defaults = port_names(compose_file().read_text())
    by_number = {instance.ports.get(name, default): name for name, default in defaults.items()}
    return [
        Published(name, by_number.get(port.host, name), port.address, port.host)
        for name in project.services
        if name in names
        for port in project.services[name].ports
    ]


def _images(client: "APIClient", project: Project, names: set[str]) -> list[Check]:
    images = {project.services[name].image for name in names}
    missing = sorted(image for image in images if image_id(client, image) is None)
    if not missing:
        return [ok("images", f"{len(images)} there")]
    return [Check("images", Verdict.NOTE, f"not here yet: {', '.join(missing)}", "`up` pulls them.")]
