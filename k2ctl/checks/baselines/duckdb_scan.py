"""What the machine allows: DuckDB alone, on the very files that a query reads."""

import time
from collections.abc import Sequence

from k2ctl.domain.window import Window
from k2ctl.endpoints import Endpoints
from k2ctl.lake.catalog import Lake
from k2ctl.lake.follower import TableFollower
from k2ctl.query.history import History
from k2ctl.query.seam import planned


class BareScan:
    """DuckDB over planned files: the same columns and rows as a query reads there, on a warm connection.

    The files are those of the newest snapshot each time, for a query's are: consumers add files, and compaction
    replaces them. Pinning, planning and the stream are left out. Not thread-safe.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        self._lake = Lake.at(endpoints)
        self._table = TableFollower(self._lake)
        self._history = History(self._lake)

    def seconds(self, symbols: Sequence[str], window: Window, limit: int) -> float:
        """How long the newest `limit` rows take."""
        plan = planned(self._table.pin(), symbols, window)
        started_s = time.perf_counter()
        self._history.newest(plan, symbols, window, limit)
        return time.perf_counter() - started_s

    def close(self) -> None:
        """Close the connections."""
        self._history.close()
        self._lake.close()
