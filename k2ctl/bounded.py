"""Work with a limit of time and memory: it runs in a child process, which is killed at the limit."""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import typer

from k2ctl.ending import concluded, last_words
from k2ctl.endurance import GRACE_S, LOOK_EVERY_S, Endurance
from k2ctl.errors import K2Error
from k2ctl.signals import end_with


@dataclass(frozen=True)
class Bounds:
    """The limits of work, counted from its beginning."""

    seconds: float
    # Beyond the memory that the process has when the work begins.
    memory_mb: int
    # A file that is deleted if the work is killed while it writes it.
    leaves: Path | None = None


Begun = Callable[[], None]
"""The work calls it when its preparations are done; time and memory count from then on."""


def bounded(work: Callable[[Begun], None], bounds: Bounds, program: str) -> None:
    """Do the work in a child process, and end with its exit code.

    If this process has other threads, a child could deadlock on their locks. Then the work is done in this process, and
    only the limits hold that the work checks itself.

    Raises:
        K2Error: it took too long or too much memory. typer.Exit: the child's exit code is not 0.
    """
    if _threads() > 1:
        work(lambda: None)
        return
    sys.stdout.flush()
    sys.stderr.flush()
    reading_end, writing_end = os.pipe()
    parent, child = os.getpid(), os.fork()
    if not child:
        os.close(reading_end)
        end_with(parent)
        os._exit(
            last_words(
                lambda: concluded(lambda: work(lambda: _write(writing_end)), program, debug="--debug" in sys.argv)
            )
        )
    os.close(writing_end)
    try:
        code = _Watched(child, reading_end, bounds).wait()
    finally:
        os.close(reading_end)
    if code:
        raise typer.Exit(code)


def _write(writing_end: int) -> None:
    os.write(writing_end, b".")


class _Watched:
    """A child process within its bounds."""

    def __init__(self, child: int, reading_end: int, bounds: Bounds) -> None:
        self._child = child
        # A pipe that gets one byte when the work begins, and closes when the child ends.
        self._reading_end = reading_end
        self._bounds = bounds

    def wait(self) -> int:
        """The child's exit code."""
        try:
            if not self._ends_within(None):
                endurance = Endurance(self._child, self._bounds.seconds, self._bounds.memory_mb)
                while not self._ends_within(LOOK_EVERY_S):
                    endurance.check()
        except KeyboardInterrupt:
            # On a terminal the child gets the signal too, and reports it itself.
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
        ready, _, _ = select.select([self._reading_end], [], [], seconds)
        return bool(ready) and not os.read(self._reading_end, 1)

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
