"""From a service of the Compose file to what Docker has of it: images, networks, volumes and containers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from k2ctl.errors import StackError
from k2ctl.stack.compose.model import Healthcheck, Project, Service
from k2ctl.stack.compose.render import config_hash
from k2ctl.stack.docker.client import CONFIG_HASH, INSTANCE, NUMBER, ONE_OFF, PROJECT, SERVICE, WAVE
from k2ctl.stack.docker.instance import Instance

if TYPE_CHECKING:
    from docker import APIClient
from collections.abc import Iterable
from typing import TYPE_CHECKING

from k2ctl.stack.engine import Event, Phase, Report

_NS: Final = 1_000_000_000


def container_name(instance: Instance, service: str, number: int = 1) -> str:
    """As Compose names it."""
    return f"{instance.project}-{service}-{number}"


def network_name(instance: Instance, network: str) -> str:
    """As Compose names it."""
    return f"{instance.project}_{network}"


def ensure_networks(client: "APIClient", instance: Instance, project: Project, names: set[str]) -> None:
    """Make the networks that the services use and that are not there."""
    there = {found["Name"] for found in client.networks(filters={"label": f"{INSTANCE}={instance.id}"})}
    for network in sorted({used for name in names for used in project.services[name].networks}):
        name = network_name(instance, network)
        if name not in there:
            labels = {INSTANCE: instance.id, PROJECT: instance.project, "com.docker.compose.network": network}
            _refuse_conflict(client.create_network, "network", name, labels=labels, check_duplicate=True)


def ensure_volumes(client: "APIClient", instance: Instance, project: Project, names: set[str]) -> None:
    """Make the volumes that the services use and that are not there; one of the same name that is not ours is refused.

    Raises:
        StackError: a volume of that name belongs to somebody else.
    """
    used = {mount.source for name in names for mount in project.services[name].volumes if mount.named}
    for volume in sorted(used):
        name = network_name(instance, volume)
        labels = {INSTANCE: instance.id, PROJECT: instance.project, "com.docker.compose.volume": volume}
        # Docker returns the existing one, whoever made it: its labels say whose it is.
        made = client.create_volume(name, labels=labels)
        if (made.get("Labels") or {}).get(INSTANCE) != instance.id:
            raise StackError(
                f"There is a volume {name} that this k2ctl did not make.",
                f"Look at it (docker volume inspect {name}), or take another name: K2_PROJECT=mine k2ctl stack up",
            )


def create_container(
    client: "APIClient",
    instance: Instance,
    project: Project,
    name: str,
    *,
    number: int = 1,
    extra_arguments: tuple[str, ...] = (),
) -> str:
    """Make the container of a service, stopped; returns its id.

    Raises:
        StackError: the name is taken by a container that is not ours.
    """
    service = project.services[name]
    command = [*(service.command or ()), *extra_arguments] or (None if service.command is None else [])
    networks = {
        network_name(instance, network): {"Aliases": [name, container_name(instance, name, number)]}
        for network in service.networks
    }
    made = _refuse_conflict(
        client.create_container,
        "container",
        container_name(instance, name, number),
        image=service.image,
        command=command,
        entrypoint=None if service.entrypoint is None else list(service.entrypoint),
        environment=dict(service.environment),
        labels=_labels(instance, project, name, number),
        user=service.user,
        ports=[(port.container, port.protocol) for port in service.ports]
        + [(int(port), "tcp") for port in service.expose],
        healthcheck=_healthcheck(service.healthcheck),
        stop_timeout=round(service.stop_grace_period),
        host_config=_host_config(client, instance, project, service),
        networking_config={"EndpointsConfig": networks},
        use_config_proxy=False,
    )
    return str(made["Id"])


def _labels(instance: Instance, project: Project, name: str, number: int) -> dict[str, str]:
    waves = project.waves(set(project.services))
    return {
        **project.services[name].labels,
        INSTANCE: instance.id,
        PROJECT: instance.project,
        SERVICE: name,
        NUMBER: str(number),
        ONE_OFF: "False",
        CONFIG_HASH: config_hash(project, name),
        WAVE: str(next(index for index, wave in enumerate(waves) if name in wave)),
    }


def _host_config(client: "APIClient", instance: Instance, project: Project, service: Service) -> Any:
    binds = [
        f"{network_name(instance, mount.source) if mount.named else mount.source}:{mount.target}"
        f":{'ro' if mount.read_only else 'rw'}"
        for mount in service.volumes
    ]
    binds += [f"{project.secrets[secret].file}:/run/secrets/{secret}:ro" for secret in service.secrets]
    _refuse_missing_files(service, project)
    return client.create_host_config(
        binds=binds,
        port_bindings={f"{port.container}/{port.protocol}": (port.address, port.host) for port in service.ports},
        restart_policy={"Name": service.restart},
        network_mode=network_name(instance, service.networks[0]),
        mem_limit=service.mem_limit,
        init=service.init or None,
        read_only=service.read_only,
        tmpfs=dict(entry.partition(":")[::2] for entry in service.tmpfs) or None,
        cap_drop=list(service.cap_drop) or None,
        security_opt=list(service.security_opt) or None,
    )


def _refuse_missing_files(service: Service, project: Project) -> None:
    """Docker would make an empty folder in the place of a missing file, and the server would say something strange."""
    sources = [Path(mount.source) for mount in service.volumes if not mount.named]
    for path in [*sources, *(project.secrets[secret].file for secret in service.secrets)]:
        if not path.exists():
            raise StackError(
                f"{path} is mounted into a container, but it is not there.", "Put it there, or: k2ctl doctor"
            )


def _healthcheck(check: Healthcheck | None) -> dict[str, Any] | None:
    if check is None:
        return None
    return {
        "test": list(check.test),
        "interval": round(check.interval * _NS),
        "timeout": round(check.timeout * _NS),
        "retries": check.retries,
        "start_period": round(check.start_period * _NS),
    }


def _refuse_conflict(create: Any, kind: str, name: str, **options: Any) -> Any:
    from docker.errors import APIError

    try:
        return create(name=name, **options)
    except APIError as error:
        if error.status_code != 409:
            raise
        raise StackError(
            f"There is a {kind} {name} that this k2ctl did not make.",
            f"Remove or rename it (docker {kind} inspect {name}), or start under another name: "
            "K2_PROJECT=mine k2ctl stack up --engine docker",
        ) from error


def image_id(client: "APIClient", image: str) -> str | None:
    """The id of the image that a name means here and now, None when there is none."""
    from docker.errors import ImageNotFound

    try:
        return str(client.inspect_image(image)["Id"])
    except ImageNotFound:
        return None  # the caller pulls it, or says how to have it


def pull(client: "APIClient", name: str, service: Service, report: Report) -> None:
    """Pull the image of a service.

    Raises:
        StackError: it cannot be had; with how to build or load it.
    """
    from docker.errors import APIError

    try:
        layers: dict[str, tuple[int, int]] = {}
        report(Event(Phase.PULL, name, service.image))
        for line in client.pull(service.image, stream=True, decode=True):
            if "error" in line:
                raise _cannot_be_had(name, service, line["error"])
            report(Event(Phase.PULL, name, service.image, pulled_share(layers, line)))
    except APIError as error:
        raise _cannot_be_had(name, service, error.explanation or str(error)) from error


def pulled_share(layers: dict[str, tuple[int, int]], line: dict[str, Any]) -> float | None:
    """Note what a line of a pull says of a layer; the fraction of all bytes known so far, None before any is."""
    detail = line.get("progressDetail") or {}
    if line.get("status") == "Downloading" and detail.get("total"):
        layers[line["id"]] = (detail["current"], detail["total"])
    elif line.get("status") in ("Download complete", "Pull complete") and line.get("id") in layers:
        total = layers[line["id"]][1]
        layers[line["id"]] = (total, total)
    whole = sum(total for _, total in layers.values())
    return sum(current for current, _ in layers.values()) / whole if whole else None


def _cannot_be_had(name: str, service: Service, reason: str) -> StackError:
    help_ = (
        "Build it: k2ctl stack up --engine docker --build"
        if service.build
        else f"Bring it (docker save {service.image} on a machine that has it, docker load here), or: --without {name}"
    )
    return StackError(f"The image {service.image} is not here and cannot be pulled: {' '.join(reason.split())}", help_)


def build(client: "APIClient", name: str, service: Service, report: Report) -> None:
    """Build the image of a service that has a `build` section.

    Raises:
        StackError: the build failed, with its last lines.
    """
    if service.build is None:
        return
    if not (service.build.context / service.build.dockerfile).is_file():
        raise StackError(
            f"{service.image} is built from {Path(service.build.context)}, which has no {service.build.dockerfile}.",
            "Build it from a checkout of the project.",
        )
    report(Event(Phase.BUILD, name, service.image))
    stream = client.build(
        path=str(service.build.context),
        dockerfile=service.build.dockerfile,
        buildargs=service.build.args,
        tag=service.image,
        rm=True,
        forcerm=True,
        decode=True,
    )
    _follow(stream, name, service, report)


def _follow(stream: Iterable[dict[str, Any]], name: str, service: Service, report: Report) -> None:
    said: list[str] = []
    for line in stream:
        text = str(line.get("stream") or "").strip()
        if text:
            said = [*said[-5:], text]
            report(Event(Phase.BUILD, name, text.splitlines()[-1]))
        if "error" in line:
            listed = "\n".join(f"  {entry}" for entry in said)
            raise StackError(f"{service.image} could not be built: {line['error']}\n{listed}", "See the lines above.")
