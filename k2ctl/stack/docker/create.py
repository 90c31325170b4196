"""From a service of the Compose file to a container, a network or a volume of Docker, with the labels that own it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from k2ctl.errors import StackError
from k2ctl.stack.compose.model import Healthcheck, Project, Service
from k2ctl.stack.compose.render import config_hash
from k2ctl.stack.docker.client import CONFIG_HASH, INSTANCE, NUMBER, ONE_OFF, PROJECT, SERVICE, WAVE
from k2ctl.stack.docker.instance import Instance

if TYPE_CHECKING:
    from docker import APIClient

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
