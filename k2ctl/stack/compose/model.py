"""A Compose project as frozen models: the part of the Compose format that k2ctl implements, and not a key more."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from k2ctl.stack.compose import fields

Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]
Duration = Annotated[float, BeforeValidator(fields.duration_s)]
Words = Annotated[tuple[str, ...], BeforeValidator(fields.words)]


class _Strict(BaseModel):
    """Unknown keys are errors: what k2ctl does not implement it must not ignore."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Build(_Strict):
    """How an image is built; the context is a folder, absolute once read."""

    context: Path
    dockerfile: str = "Dockerfile"
    args: Annotated[dict[str, str], BeforeValidator(fields.texts)] = {}


class Healthcheck(_Strict):
    """How Docker asks a container whether it is healthy; Compose's defaults."""

    test: Annotated[tuple[str, ...], BeforeValidator(fields.health_test)]
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
    environment: Annotated[dict[str, str], BeforeValidator(fields.texts)] = {}
    ports: tuple[Annotated[Port, BeforeValidator(fields.port)], ...] = ()
    volumes: tuple[Annotated[Mount, BeforeValidator(fields.mount)], ...] = ()
    networks: Annotated[tuple[str, ...], BeforeValidator(fields.networks)] = ("default",)
    depends_on: Annotated[dict[str, Condition], BeforeValidator(fields.dependencies)] = {}
    healthcheck: Healthcheck | None = None
    secrets: tuple[str, ...] = ()
    user: str | None = None
    restart: Annotated[Literal["no", "always", "unless-stopped", "on-failure"], BeforeValidator(fields.restart)] = "no"
    stop_grace_period: Duration = 10.0
    mem_limit: Annotated[int, BeforeValidator(fields.size_bytes)] | None = None
    profiles: tuple[str, ...] = ()
    init: bool = False
    labels: Annotated[dict[str, str], BeforeValidator(fields.texts)] = {}
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
