"""New snapshots are loaded, and their files opened, beside the queries: the next one finds them in memory."""

import logging
import threading
import time
from dataclasses import replace
from typing import Final

from k2ctl.errors import K2Error
from k2ctl.lake.data_files import READ_WHOLE_BYTES, checked
from k2ctl.lake.snapshots import ScanPlan
from k2ctl.query.history import History
from k2ctl.query.seam import Pinner

_LOG: Final = logging.getLogger("k2ctl.query")
_LOOK_EVERY_S: Final = 0.1
_SHARE: Final = 20
"""A catalog that takes long to answer is asked less often: it is busy with this for a twentieth of the time."""
_FILES_AT_ONCE: Final = 32
"""Newest first; of a merge that replaces many, a query opens the others when it needs them."""


class LookAhead:
    """Follows the table on a thread of its own. What fails is left to the query that needs it, which says why.

    pin: keeps what it has loaded. history: a connection of its own, with the caches of those that queries have.
    """

    def __init__(self, pin: Pinner, history: History) -> None:
        self._pin, self._history = pin, history
        self._known: set[str] | None = None
        # Files so far; None before the first look, whose files are not opened.
        self.opened: int | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="k2-ahead", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the following."""
        self._stop.set()
        self._history.interrupt()
        self._thread.join(5.0)
        self._history.close()

    def _run(self) -> None:
        pause_s, problem = _LOOK_EVERY_S, ""
        while not self._stop.wait(pause_s):
            started_s = time.monotonic()
            try:
                self._look()
                problem = ""
            except K2Error as error:
                if str(error) != problem:
                    _LOG.info("nothing is opened ahead: %s", error)
                problem = str(error)
            pause_s = max(_LOOK_EVERY_S, _SHARE * (time.monotonic() - started_s))

    def _look(self) -> None:
        """Load a snapshot that is new and open its new files."""
        pinned = self._pin()
        if pinned is None:
            return
        plan = pinned.plan()
        known, self._known = self._known, set(plan.paths)
        new = [] if known is None else [file for file in plan.files if file.path not in known][:_FILES_AT_ONCE]
        if new:
            checked(pinned.table.io, new)
            self._open(replace(plan, files=tuple(new)))
        self.opened = len(new) + (self.opened or 0)

    def _open(self, plan: ScanPlan) -> None:
        """Small files are read whole, of others what says where the columns are."""
        small = tuple(file for file in plan.files if file.bytes <= READ_WHOLE_BYTES)
        large = tuple(file for file in plan.files if file.bytes > READ_WHOLE_BYTES)
        for files, whole in ((small, True), (large, False)):
            if files:
                self._history.open_ahead(replace(plan, files=files), whole=whole)
