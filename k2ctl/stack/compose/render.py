"""A project written out again, every value resolved; and the hash by which a changed service is recognised."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from k2ctl.stack.compose.model import Mount, Port, Project, Service
from k2ctl.stack.compose.reading import escape

NOT_IN_THE_CONTAINER: Final = {"build", "depends_on", "profiles"}
"""Keys that say when a container is made, not how it is."""


def render(project: Project) -> str:
    """The resolved file, which Compose and k2ctl read as the same project."""
    tree = project.model_dump(mode="json", exclude_defaults=True)
    for name, service in project.services.items():
        tree["services"][name] |= _short_forms(service)
    return as_yaml(_escaped(tree))


def as_yaml(tree: Any) -> str:
    """A document for people to read and change."""
    return yaml.dump(tree, Dumper=_Readable, sort_keys=False, width=120, allow_unicode=True)


class _Readable(yaml.SafeDumper):
    """Shows scripts line by line."""


_Readable.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def _short_forms(service: Service) -> dict[str, Any]:
    short: dict[str, Any] = {}
    if service.ports:
        short["ports"] = [_port(port) for port in service.ports]
    if service.volumes:
        short["volumes"] = [_mount(mount) for mount in service.volumes]
    if service.depends_on:
        short["depends_on"] = {name: {"condition": condition} for name, condition in service.depends_on.items()}
    if service.healthcheck:
        check = service.healthcheck
        times = {key: _seconds(getattr(check, key)) for key in ("interval", "timeout", "start_period")}
        short["healthcheck"] = {"test": list(check.test), "retries": check.retries, **times}
    if "stop_grace_period" in service.model_fields_set:
        short["stop_grace_period"] = _seconds(service.stop_grace_period)
    return short


def _port(port: Port) -> str:
    return f"{port.address}:{port.host}:{port.container}" + ("" if port.protocol == "tcp" else f"/{port.protocol}")


def _mount(mount: Mount) -> str:
    return f"{mount.source}:{mount.target}" + (":ro" if mount.read_only else "")


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f}ms"


def _escaped(node: Any) -> Any:
    if isinstance(node, str):
        return escape(node)
    if isinstance(node, list):
        return [_escaped(entry) for entry in node]
    return {key: _escaped(entry) for key, entry in node.items()} if isinstance(node, dict) else node


def config_hash(project: Project, name: str) -> str:
    """What decides whether a container is still the one that the file describes.

    The service's own keys, and the content of the files and secrets that are mounted: a changed server.properties is
    a changed Kafka, though the file's name stays the same.
    """
    service = project.services[name]
    described = service.model_dump(mode="json", exclude=NOT_IN_THE_CONTAINER)
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    mounted = [Path(mount.source) for mount in service.volumes if not mount.named]
    for root in [*mounted, *(project.secrets[secret].file for secret in service.secrets)]:
        for path in _files(root):
            digest.update(str(path.relative_to(root.parent)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _files(root: Path) -> Iterator[Path]:
    if root.is_dir():
        yield from sorted(path for path in root.rglob("*") if path.is_file())
    elif root.is_file():
        yield root
