"""The files of a ledger that has outgrown its property: written before the swap, deleted a while after another's."""

from collections import deque
from typing import Final

from pyiceberg.table import Table

from k2ctl.clock import Clock
from k2ctl.domain.ledger import Ledger
from k2ctl.lake.side_folder import SideFolder, ledger_file, ledger_text

LEDGER_FILE_STAYS_S: Final = 30.0
"""How long a ledger file stays after another replaced it: a reader may just have read its name."""


class LedgerFiles:
    """Those that one writer has made."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._made: list[str] = []
        # When each was replaced.
        self._replaced: deque[tuple[float, str]] = deque()

    def text(self, table: Table, ledger: Ledger) -> str:
        """The ledger's property. Readers may use a file that it names as soon as the swap is tried."""
        text = ledger_text(table, ledger)
        location = ledger_file(text)
        if location is not None:
            self._made.append(location)
        return text

    def named(self, table: Table, text: str) -> None:
        """The table has this property now: our other files are replaced, and deleted after a while."""
        current, now_s = ledger_file(text), self._clock.monotonic_s()
        self._replaced += [(now_s, file) for file in self._made if file != current]
        self._made = [] if current is None else [current]
        while self._replaced and self._replaced[0][0] < now_s - LEDGER_FILE_STAYS_S:
            SideFolder(table).delete(self._replaced.popleft()[1])
