"""What `up` and `down` are doing, as events; a board folds them into one row per service."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final


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
    """One service has come to a phase, or is still in it. share: the fraction that is done, 0 to 1, where known.

    A NOTE is about the whole stack, and names no service.
    """

    phase: Phase
    service: str = ""
    detail: str = ""
    share: float | None = None


def note(text: str) -> Event:
    """Something about the whole stack."""
    return Event(Phase.NOTE, detail=text)


@dataclass(frozen=True)
class Row:
    """A service on the board. seconds: of its first and last event, from the board's start."""

    event: Event
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
        first_s = elapsed_s if before is None or before.event.phase is Phase.WAITING else before.first_s
        finished = before is not None and before.event.phase in FINISHED and event.phase in FINISHED
        last_s = before.last_s if before is not None and finished else elapsed_s
        return replace(self, rows={**self.rows, event.service: Row(event, first_s, last_s)}, elapsed_s=elapsed_s)

    def at(self, elapsed_s: float) -> "Board":
        """The board later on, without a new event."""
        return replace(self, elapsed_s=elapsed_s)
