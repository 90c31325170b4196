"""What an engine is: one protocol behind which all engines look alike, and the events of `up` and `down`."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Protocol

from k2ctl.endpoints import Endpoints
from k2ctl.errors import UsageError


class Phase(StrEnum):
    """Where a service is on its way; the words that people see."""

    WAITING = "waits"
    PULL = "pull"
    BUILD = "build"
    CREATE = "create"
    START = "start"
    PROBE = "probe"
    HEALTHY = "healthy"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOP = "stop"
    REMOVED = "removed"
    NOTE = "note"


FINISHED: Final = {Phase.HEALTHY, Phase.RUNNING, Phase.DONE, Phase.FAILED, Phase.REMOVED}


@dataclass(frozen=True)
class Event:
    """One service has come to a phase, or is still in it. A NOTE is about the whole stack, and names no service."""

    phase: Phase
    service: str = ""
    detail: str = ""
    # The fraction that is done, 0 to 1, where it is known.
    share: float | None = None


def note(text: str) -> Event:
    """Something about the whole stack."""
    return Event(Phase.NOTE, detail=text)


@dataclass(frozen=True)
class Row:
    """A service on the board."""

    event: Event
    # Seconds of its first and last event, from the board's start.
    first_s: float
    last_s: float


@dataclass(frozen=True)
class Board:
    """All services, in the order of their first events."""

    title: str
    rows: dict[str, Row] = field(default_factory=dict)
    note: str = ""
    elapsed_s: float = 0.0

    def after(self, event: Event, elapsed_s: float) -> "Board":
        """The board after the event, `elapsed_s` after the start. A finished row's clock stands still."""
        if event.phase is Phase.NOTE:
            return replace(self, note=event.detail, elapsed_s=elapsed_s)
        before = self.rows.get(event.service)
        if before is not None and before.event.phase is event.phase and None not in (before.event.share, event.share):
            # What is to be done may turn out to be more; what is shown as done stays done.
            event = replace(event, share=max(before.event.share or 0.0, event.share or 0.0))
        first_s = elapsed_s if before is None or before.event.phase is Phase.WAITING else before.first_s
        finished = before is not None and before.event.phase in FINISHED and event.phase in FINISHED
        last_s = before.last_s if before is not None and finished else elapsed_s
        return replace(self, rows={**self.rows, event.service: Row(event, first_s, last_s)}, elapsed_s=elapsed_s)

    def at(self, elapsed_s: float) -> "Board":
        """The board later on, without a new event."""
        return replace(self, elapsed_s=elapsed_s)


Report = Callable[[Event], None]
"""Receives each event of the work; cheap, called often."""


@dataclass(frozen=True)
class Wanted:
    """How `up` shall go about it."""

    # These services and what they need; all when empty.
    services: tuple[str, ...] = ()
    # Not these.
    without: tuple[str, ...] = ()
    # Name → port, None for any free one; the name `auto` means all of them.
    ports: Mapping[str, int | None] = field(default_factory=dict)
    timeout_s: float = 180.0
    # Wait until every service works.
    wait: bool = True
    # Build the images that are made from this project.
    build: bool = False

    def refuse_containers(self, engine: str, *, always_waits: bool = True) -> None:
        """Raises:
        UsageError: it says something that only an engine of containers can do.
        """
        waits = not self.wait and always_waits
        if self.services or self.without or self.ports or self.build or waits:
            waiting = " and --no-wait" if always_waits else ""
            raise UsageError(
                f"--service, --port, --build{waiting} mean nothing to the {engine} engine.",
                "They are for: k2ctl stack up --engine docker",
            )


@dataclass(frozen=True)
class Up:
    """What `up` did."""

    endpoints: Endpoints
    already_running: bool
    # Something was found dead, and started again.
    repaired: bool
    seconds: float
    # Services that were created, recreated or started, if the engine reports them.
    changed: tuple[str, ...] = ()
    # Service → URL of those that answer browsers, and the folder with their passwords.
    web: Mapping[str, str] = field(default_factory=dict)
    secrets: str = ""
    # Services left out by `--without`, now or before.
    left_out: tuple[str, ...] = ()
    # Each service was used for real.
    tried: bool = True


@dataclass(frozen=True)
class ServiceStatus:
    """One service of the stack."""

    service: str
    # running, exited, file or external
    state: str
    # healthy, done, or what is wrong
    health: str
    endpoint: str
    pid: int | None = None
    uptime_s: float | None = None
    memory_bytes: int | None = None
    # Of one core: 2.0 is two cores busy.
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
