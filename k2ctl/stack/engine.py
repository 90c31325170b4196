"""What an engine is: one protocol, behind which embedded, local, docker and external look alike."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from k2ctl.endpoints import Endpoints
from k2ctl.errors import UsageError
from k2ctl.stack.progress import Event

Report = Callable[[Event], None]
"""Receives each event of the work; cheap, called often."""


@dataclass(frozen=True)
class Wanted:
    """How `up` shall go about it.

    services: these and what they need; all when empty. without: not these.
    ports: name → port, None for any free one; the name `auto` means all of them.
    """

    services: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    ports: Mapping[str, int | None] = field(default_factory=dict)
    timeout_s: float = 180.0
    wait: bool = True
    build: bool = False

    def refuse_containers(self, engine: str) -> None:
        """Raises:
        UsageError: it says something that only an engine of containers can do.
        """
        if self.services or self.without or self.ports or self.build or not self.wait:
            raise UsageError(
                f"--service, --port, --build and --no-wait mean nothing to the {engine} engine.",
                "They are for: k2ctl stack up --engine docker",
            )


@dataclass(frozen=True)
class Up:
    """What `up` did: the endpoints, whether they were there before, and what was found dead.

    changed: the services that were created, recreated or started, where the engine tells. web: service → URL of those
    that answer browsers; secrets: the folder with their passwords. left_out: by `--without`, now or before.
    """

    endpoints: Endpoints
    already_running: bool
    repaired: bool
    seconds: float
    changed: tuple[str, ...] = ()
    web: Mapping[str, str] = field(default_factory=dict)
    secrets: str = ""
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServiceStatus:
    """One service of the stack. state: running, exited, file or external; health: healthy, done, or what is wrong.

    cpu_share: of one core, so 2.0 is two cores busy.
    """

    service: str
    state: str
    health: str
    endpoint: str
    pid: int | None = None
    uptime_s: float | None = None
    memory_bytes: int | None = None
    cpu_share: float | None = None

    @property
    def fine(self) -> bool:
        """Healthy, or done for one that runs once."""
        return self.health in ("healthy", "done")


class Engine(Protocol):
    """Starts, inspects and stops one stack per state directory. The caller holds the lock."""

    @property
    def name(self) -> str:
        """What `--engine` calls it."""
        ...

    def up(self, profile: str, wanted: Wanted, report: Report) -> Up:
        """Make the stack run, changing only what has to change; what `up` left half done before is put right.

        Raises:
            StackError: what did not come up, and why.
        """
        ...

    def down(self, *, volumes: bool, report: Report) -> bool:
        """Stop what is ours, and with `volumes` delete its data; False when nothing was there."""
        ...

    def is_up(self) -> bool:
        """Whether there is something of ours that `down` has not ended, living or dead."""
        ...

    def status(self, *, figures: bool = True) -> list[ServiceStatus]:
        """Every service with its real health; figures: also CPU and memory, where measuring them takes seconds."""
        ...

    def log_lines(self, service: str, *, follow: bool) -> Iterator[str]:
        """The log of a service; with `follow`, for ever.

        Raises:
            UsageError: there is no such service.
        """
        ...
