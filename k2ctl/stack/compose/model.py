"""A Compose project as frozen models: the part of the Compose format that k2ctl implements, and not a key more."""

import re
import shlex
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_DURATION_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(us|ms|s|m|h)")
_DURATION_S: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE = re.compile(r"^([0-9]{1,15}(?:\.[0-9]{1,15})?)([bkmg])?b?$")
_SIZE_BYTES: Final = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_PORT = re.compile(
    r"^(?:(?P<ip>[0-9.]{1,15}):)(?P<host>[0-9]{1,5}):(?P<container>[0-9]{1,5})(?:/(?P<protocol>tcp|udp))?$"
)
_NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$")


def _duration_s(value: Any) -> Any:
    """`3s`, `1m30s`, `500ms` as seconds."""
    if not isinstance(value, str):
        raise ValueError("write a duration with its unit, like 3s")
    parts = _DURATION_PART.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError(f"'{value}' is not a duration; write 3s, 1m30s or 500ms")
    return sum(float(number) * _DURATION_S[unit] for number, unit in parts)


def _size_bytes(value: Any) -> Any:
    """`512m`, `2g` or a number of bytes; powers of 1,024, as Docker has them."""
    match = _SIZE.match(str(value).lower())
    if not match:
        raise ValueError(f"'{value}' is not a size; write 512m or 2g")
    return int(float(match[1]) * _SIZE_BYTES[match[2] or "b"])


def _words(value: Any) -> Any:
    """A command as a list; a text is split as a shell would."""
    if isinstance(value, str):
        return tuple(shlex.split(value))
    return value


def _health_test(value: Any) -> Any:
    """A health test as a list that begins with CMD, CMD-SHELL or NONE; a text is for the shell."""
    test = ("CMD-SHELL", value) if isinstance(value, str) else value
    if not isinstance(test, list | tuple) or not test or test[0] not in ("CMD", "CMD-SHELL", "NONE"):
        raise ValueError("a list begins with CMD, CMD-SHELL or NONE")
    return test


def _port(value: Any) -> Any:
    """`127.0.0.1:9092:9092` as its parts. A port without an address would be open to the whole network."""
    match = _PORT.match(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"'{value}' is not ADDRESS:PORT:PORT, like 127.0.0.1:9092:9092")
    host, container = int(match["host"]), int(match["container"])
    if not (0 < host < 65536 and 0 < container < 65536):
        raise ValueError(f"'{value}' has a port outside 1 to 65535")
    return {"address": match["ip"], "host": host, "container": container, "protocol": match["protocol"] or "tcp"}


def _mount(value: Any) -> Any:
    """`name:/path`, or `./file:/path:ro`, as its parts; a folder of the host may only be read."""
    parts = value.split(":") if isinstance(value, str) else []
    if not 2 <= len(parts) <= 3 or not PurePosixPath(parts[1]).is_absolute():
        raise ValueError(f"'{value}' is not NAME:/PATH or ./FILE:/PATH:ro")
    mode = parts[2] if len(parts) == 3 else "rw"
    named = _NAME.match(parts[0]) is not None
    if mode not in ("ro", "rw") or (mode == "rw" and not named):
        raise ValueError(f"'{value}' would let a container write to a folder of this machine; add :ro")
    return {"source": parts[0], "target": parts[1], "read_only": mode == "ro", "named": named}


def _texts(value: Any) -> Any:
    """A mapping of texts from a mapping, or from a list of NAME=VALUE; numbers become texts."""
    if isinstance(value, list):
        value = {name: entry if equals else None for name, equals, entry in (str(one).partition("=") for one in value)}
    if not isinstance(value, dict):
        raise ValueError("write NAME: VALUE")
    for name, entry in value.items():
        if entry is None or isinstance(entry, bool | list | dict):
            raise ValueError(f"{name} needs a value; quote true and false")
    return {str(name): str(entry) for name, entry in value.items()}


def _restart(value: Any) -> Any:
    """A restart policy; YAML reads a bare `no` as false."""
    return "no" if value is False else value


def _networks(value: Any) -> Any:
    """A list of names; the long form with aliases is not supported."""
    if isinstance(value, dict) and not any(value.values()):
        return tuple(value)
    return value


def _dependencies(value: Any) -> Any:
    """service → condition, from a list or from the long form."""
    if isinstance(value, list):
        return dict.fromkeys(map(str, value), "service_started")
    if not isinstance(value, dict) or not all(isinstance(entry, dict) for entry in value.values()):
        raise ValueError("write SERVICE: {condition: …}")
    for name, entry in value.items():
        for key in entry:
            if key != "condition":
                raise ValueError(f"{name}.{key} is not supported")
    return {name: entry.get("condition", "service_started") for name, entry in value.items()}


Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]
Duration = Annotated[float, BeforeValidator(_duration_s)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]


class _Strict(BaseModel):
    """Unknown keys are errors: what k2ctl does not implement it must not ignore."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Build(_Strict):
    """How an image is built; the context is a folder, absolute once read."""

    context: Path
    dockerfile: str = "Dockerfile"
    args: Annotated[dict[str, str], BeforeValidator(_texts)] = {}


class Healthcheck(_Strict):
    """How Docker asks a container whether it is healthy; Compose's defaults."""

    test: Annotated[tuple[str, ...], BeforeValidator(_health_test)]
    interval: Duration = 30.0
    timeout: Duration = 30.0
    retries: int = 3
    start_period: Duration = 0.0


class Port(_Strict):
    """A published port: `address:host` on this machine leads to `container`."""

    address: str
    host: int
    container: int
    protocol: str = "tcp"


class Mount(_Strict):
    """A named volume, or a file or folder of this machine (absolute once read) that may only be read."""

    source: str
    target: str
    read_only: bool
    named: bool


class Service(_Strict):
    """One service, with every value resolved."""

    image: str
    build: Build | None = None
    command: Words | None = None
    entrypoint: Words | None = None
    environment: Annotated[dict[str, str], BeforeValidator(_texts)] = {}
    ports: tuple[Annotated[Port, BeforeValidator(_port)], ...] = ()
    volumes: tuple[Annotated[Mount, BeforeValidator(_mount)], ...] = ()
    networks: Annotated[tuple[str, ...], BeforeValidator(_networks)] = ("default",)
    depends_on: Annotated[dict[str, Condition], BeforeValidator(_dependencies)] = {}
    healthcheck: Healthcheck | None = None
    secrets: tuple[str, ...] = ()
    user: str | None = None
    restart: Annotated[Literal["no", "always", "unless-stopped", "on-failure"], BeforeValidator(_restart)] = "no"
    stop_grace_period: Duration = 10.0
    mem_limit: Annotated[int, BeforeValidator(_size_bytes)] | None = None
    profiles: tuple[str, ...] = ()
    init: bool = False
    labels: Annotated[dict[str, str], BeforeValidator(_texts)] = {}
    tmpfs: Annotated[tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)] = ()
    read_only: bool = False
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    expose: tuple[Annotated[str, BeforeValidator(str)], ...] = ()


class Nothing(_Strict):
    """A volume or network without options, which is the only kind."""


class SecretFile(_Strict):
    """A secret in a file of this machine, absolute once read."""

    file: Path


class Project(_Strict):
    """A whole file."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    services: dict[str, Service]
    volumes: dict[str, Nothing | None] = {}
    networks: dict[str, Nothing | None] = {}
    secrets: dict[str, SecretFile] = {}

    def chosen(self, names: tuple[str, ...] = (), without: tuple[str, ...] = ()) -> dict[str, Service]:
        """The named services and what they need, in the file's order; without names, all that have no profile."""
        wanted: set[str] = set()
        usual = [name for name, service in self.services.items() if not service.profiles and name not in without]
        waiting = list(names) or usual
        while waiting:
            name = waiting.pop()
            if name not in wanted:
                wanted.add(name)
                waiting += self.services[name].depends_on
        return {name: service for name, service in self.services.items() if name in wanted}

    def one_shots(self) -> set[str]:
        """Services that somebody waits for to end: done when they exit 0."""
        return {
            needed
            for service in self.services.values()
            for needed, condition in service.depends_on.items()
            if condition == "service_completed_successfully"
        }

    def waves(self, names: set[str]) -> list[list[str]]:
        """The services in groups, each of which needs only those before it."""
        left, waves = [name for name in self.services if name in names], []
        while left:
            ready = [name for name in left if not set(self.services[name].depends_on) & set(left)]
            waves.append(ready)
            left = [name for name in left if name not in ready]
        return waves
