"""Before anything is created: does Docker answer, are the ports free, are the images there, is there room."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from k2ctl.errors import StackError
from k2ctl.stack import preflight
from k2ctl.stack.compose.model import Project
from k2ctl.stack.docker.client import docker_address, our_containers
from k2ctl.stack.docker.images import image_id
from k2ctl.stack.docker.instance import Instance, compose_file, port_names
from k2ctl.stack.engine import Wanted
from k2ctl.stack.preflight import Check, Published, Verdict

if TYPE_CHECKING:
    from docker import APIClient


def examine(client: "APIClient", instance: Instance, project: Project, wanted: Wanted) -> list[Check]:
    """Every check that `up` makes; some 50 ms."""
    limits = memory_limits(project, wanted)
    return [preflight.disk(), preflight.memory(limits), *engine_checks(client, instance, project, wanted)]


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
    return preflight.ok("engine docker", f"Docker {version['Version']} at {docker_address()}")


def _ports(client: "APIClient", instance: Instance, project: Project, names: set[str]) -> list[Check]:
    running = client.containers()
    ours = {one.id for one in our_containers(client, instance.id)}
    mine = {port["PublicPort"] for one in running if one["Id"] in ours for port in one["Ports"] if "PublicPort" in port}
    theirs = [
        (one["Names"][0].lstrip("/"), port["PublicPort"])
        for one in running
        if one["Id"] not in ours
        for port in one["Ports"]
        if "PublicPort" in port
    ]
    wanted = [port for port in published(instance, project, names) if port.port not in mine]
    found = [preflight.taken_port(port, theirs) for port in wanted]
    taken = [check for check in found if check is not None]
    return taken or [preflight.ok("ports", f"{len(wanted)} free, {len(mine)} ours")]


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
        return [preflight.ok("images", f"{len(images)} there")]
    return [Check("images", Verdict.NOTE, f"not here yet: {', '.join(missing)}", "`up` pulls them.")]
