"""Work that ends in time, whatever it does: in a process of its own, which is killed when it takes too much.

DuckDB looks at its time and its memory between two vectors. One call of a function can run for minutes, and take
gigabytes that it does not count, before it looks again.
"""

import ctypes
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from k2ctl.ending import concluded, last_words
from k2ctl.errors import ExitCode, K2Error, TooLarge, TooLong

GRACE_S: Final = 0.5
"""Beyond its time: for work that ends by itself, with what it has to say."""
_LOOK_EVERY_S: Final = 0.02
_SPARE_MB: Final = 128
_PDEATHSIG: Final = 1


@dataclass(frozen=True)
class Bounds:
    """What work may take once it has begun: seconds, and memory beyond what it had then.

    leaves: a file that it may be in the middle of, and that must not stay.
    """

    seconds: float
    memory_mb: int
    leaves: Path | None = None


Begun = Callable[[], None]
"""To be called when preparations are done: from then on time and memory count."""


def bounded(work: Callable[[Begun], None], bounds: Bounds, program: str) -> None:
    """Do the work in a child process, and end as it ends.

    Where this process has other threads, a child could hang on what they hold: then the work is done here, and only the
    limits that it knows itself are kept.

    Raises:
        K2Error: it took too long, or too much memory. typer.Exit: with the child's exit code.
    """
    if _threads() > 1:
        work(lambda: None)
        return
    sys.stdout.flush()
    sys.stderr.flush()
    heard, said = os.pipe()
    parent, child = os.getpid(), os.fork()
    if not child:
        os.close(heard)
        _end_with(parent)
        os._exit(last_words(lambda: concluded(lambda: work(lambda: _say(said)), program, debug="--debug" in sys.argv)))
    os.close(said)
    try:
        code = _Watched(child, heard, bounds).wait()
    finally:
        os.close(heard)
    if code:
        raise typer.Exit(code)


def _say(said: int) -> None:
    os.write(said, b".")


class _Watched:
    """A child that is held to its bounds. `heard`: where it says that it has begun, closed when it ends."""

    def __init__(self, child: int, heard: int, bounds: Bounds) -> None:
        self._child = child
        self._heard = heard
        self._bounds = bounds

    def wait(self) -> int:
        """The child's exit code."""
        try:
            if not self._ends_within(None):
                begun_s, held = time.monotonic(), _resident_mb(self._child)
                while not self._ends_within(_LOOK_EVERY_S):
                    if time.monotonic() - begun_s > self._bounds.seconds + GRACE_S:
                        raise TooLong
                    if _resident_mb(self._child) - held > self._bounds.memory_mb + _SPARE_MB:
                        raise TooLarge
        except KeyboardInterrupt:
            # On a terminal the child was told as well, and says so itself.
            if not self._ends_within(GRACE_S):
                os.kill(self._child, signal.SIGINT)
            if not self._ends_within(GRACE_S):
                self._kill()
                raise
        except K2Error:
            self._kill()
            raise
        return self._code(os.waitpid(self._child, 0)[1])

    def _ends_within(self, seconds: float | None) -> bool:
        """Wait until the child has ended; without a limit, until it has begun or ended."""
        ready, _, _ = select.select([self._heard], [], [], seconds)
        return bool(ready) and not os.read(self._heard, 1)

    def _code(self, status: int) -> int:
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            self._clear()
            raise K2Error(
                f"The query's process was ended by {signal.Signals(-code).name}.",
                "The machine may be short of memory: a smaller --memory-mb, or a query that holds less.",
            )
        return code

    def _kill(self) -> None:
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)
        self._clear()

    def _clear(self) -> None:
        if self._bounds.leaves is not None:
            self._bounds.leaves.unlink(missing_ok=True)


def _threads() -> int:
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else threading.active_count()


def _resident_mb(process: int) -> float:
    """Memory of a process; 0 where the system does not show it, or the process has just ended."""
    with suppress(OSError):
        return int(Path(f"/proc/{process}/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return 0.0


def _end_with(parent: int) -> None:
    """Have Linux end this process when its parent is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(ExitCode.FAILED)
