"""The files of a ledger that has outgrown its property: written before the swap, deleted a while after another's."""

from collections import deque
from typing import Final

from pyiceberg.table import Table

from k2ctl.clock import Clock
from k2ctl.lake.side_folder import SideFolder

LEDGER_FILE_STAYS_S: Final = 30.0
"""How long a ledger file stays after another replaced it: a reader may just have read its name."""


class LedgerFiles:
    """Those that one writer has made."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._made: list[str] = []
        # When each was replaced.
        self._replaced: deque[tuple[float, str]] = deque()

    def written(self, location: str | None) -> None:
        """A swap is about to name this file, or none. Readers may use it as soon as the swap is tried."""
        if location is not None:
            self._made.append(location)

    def named(self, table: Table, current: str | None) -> None:
        """The table names this file now, or none: our other files are replaced, and deleted after a while."""
        now_s = self._clock.monotonic_s()
        self._replaced += [(now_s, file) for file in self._made if file != current]
        self._made = [] if current is None else [current]
        while self._replaced and self._replaced[0][0] < now_s - LEDGER_FILE_STAYS_S:
            SideFolder(table).delete(self._replaced.popleft()[1])
