"""What the machine allows: DuckDB alone, on the very files that a query reads."""

import time
from collections.abc import Sequence

from k2ctl.home import Endpoints
from k2ctl.lake.catalog import Lake
from k2ctl.lake.reading.pinned import pin
from k2ctl.query.history import History
from k2ctl.query.window import Window


class BareScan:
    """DuckDB over planned files; planning and the stream are left out. Not thread-safe."""

    def __init__(self, endpoints: Endpoints) -> None:
        with Lake.at(endpoints) as lake:
            self._pinned = pin(lake)
            self._history = History(lake)

    def seconds(self, symbols: Sequence[str], window: Window, limit: int) -> float:
        """How long the newest `limit` rows take."""
        files = self._pinned.files(symbols, window.since_us, window.until_us) if self._pinned else []
        started_s = time.perf_counter()
        self._history.newest(files, symbols, window, limit)
        return time.perf_counter() - started_s

    def close(self) -> None:
        """Give the connection back."""
        self._history.close()
