"""The symbols that a client may choose from while it types: at once, from memory, looked up again every half minute."""

import logging
import threading
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Final

from k2ctl.api.problems import Refused
from k2ctl.clock import Clock
from k2ctl.errors import K2Error
from k2ctl.timing import Every

AGAIN_AFTER_S: Final = 30.0
WAIT_S: Final = 1.0
"""How long the first question waits for the first look-up."""
MOST_NAMES: Final = 200_000
_LOG: Final = logging.getLogger("k2ctl.api")


@dataclass(frozen=True)
class FoundNames:
    """Symbols by name, and whether they are all there are of those that were asked for."""

    symbols: list[str]
    complete: bool


@dataclass(frozen=True)
class _Known:
    """What the last look-up brought: (name in lower case, name), in order."""

    names: list[tuple[str, str]] = field(default_factory=list)
    complete: bool = False

    @classmethod
    def of(cls, names: Iterable[str]) -> "_Known":
        every = sorted((name.casefold(), name) for name in names)
        return cls(every[:MOST_NAMES], len(every) <= MOST_NAMES)

    def beginning_with(self, folded: str, limit: int) -> list[tuple[str, str]]:
        first = bisect_left(self.names, (folded,))
        following = islice(self.names, first, first + limit)
        return list(takewhile(lambda name: name[0].startswith(folded), following))


class KnownSymbols:
    """Symbols of the table, of reference data and of the stream. Thread-safe.

    look_up: all of the first two; it may take as long as a query, and one at a time runs. fresh: those of the stream
    that are in memory.
    """

    def __init__(
        self, look_up: Callable[[], Collection[str]], fresh: Callable[[], Collection[str]], clock: Clock
    ) -> None:
        self._look_up = look_up
        self._fresh = fresh
        self._every = Every(AGAIN_AFTER_S, clock)
        self._lock = threading.Lock()
        self._looked = threading.Event()
        self._known = _Known()

    def beginning_with(self, prefix: str, limit: int) -> FoundNames:
        """The first `limit` symbols that begin so, in upper or lower case."""
        with self._lock:
            if self._every.due():
                threading.Thread(target=self._again, name="k2-symbols", daemon=True).start()
        self._looked.wait(WAIT_S)
        known, folded = self._known, prefix.casefold()
        fresh = {(name.casefold(), name) for name in self._fresh() if name.casefold().startswith(folded)}
        found = sorted(fresh.union(known.beginning_with(folded, limit + 1)))
        return FoundNames([name for _, name in found[:limit]], known.complete and len(found) <= limit)

    def _again(self) -> None:
        try:
            self._known = _Known.of(self._look_up())
        except (K2Error, Refused) as error:  # what is known stays so; the next question tries again
            _LOG.warning("symbols cannot be looked up: %s", error)
            with self._lock:
                self._every.restart(WAIT_S)
        finally:
            self._looked.set()
