"""How long a process may work and how much it may take, looked at from outside; whoever looks ends it.

DuckDB checks its limits between two vectors: one function call can run for minutes, and take gigabytes that DuckDB does
not count, before that.
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from k2ctl.errors import TooLarge, TooLong

GRACE_S: Final = 0.5
"""Time beyond the limit for work that ends by itself and reports why."""
LOOK_EVERY_S: Final = 0.02
_SPARE_MB: Final = 128


class Endurance:
    """The limits of one piece of work of a process, counted from here on.

    memory_mb: beyond what the process has now.
    """

    def __init__(self, process: int, seconds: float, memory_mb: int) -> None:
        self._process = process
        self._ends_s = time.monotonic() + seconds + GRACE_S
        self._most_mb = _resident_mb(process) + memory_mb + _SPARE_MB

    def check(self) -> None:
        """Raises:
        TooLong, TooLarge: it is over.
        """
        if time.monotonic() > self._ends_s:
            raise TooLong
        if _resident_mb(self._process) > self._most_mb:
            raise TooLarge


def _resident_mb(process: int) -> float:
    """Memory of a process; 0 where the system does not show it, or the process has just ended."""
    with suppress(OSError):
        return int(Path(f"/proc/{process}/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return 0.0
