"""What the screen of `k2ctl watch` shows, got on threads, so that Kafka that does not answer keeps no key waiting."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, Generic, TypeVar

from k2ctl.domain.overview import Overview
from k2ctl.errors import K2Error, first_line

_SLICE_S: Final = 0.1
_ENDS_WITHIN_S: Final = 1.0

Value = TypeVar("Value")


class Wake:
    """Wakes a `select`, from any thread and from the handler of a signal."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def fileno(self) -> int:
        """What to wait for."""
        return self._read

    def __call__(self, *_: object) -> None:
        """Wake whoever waits; once is enough."""
        try:
            os.write(self._write, b".")
        except OSError:  # full: it is awake; or closed: nobody waits
            return

    def clear(self) -> None:
        """It is awake."""
        with suppress(BlockingIOError):
            while os.read(self._read, 65_536):
                pass


class Pace:
    """The time of a replay: it stands still while it is paused, and ends when nobody looks any more."""

    def __init__(self) -> None:
        self.paused = threading.Event()
        self.over = threading.Event()

    def sleep(self, seconds: float) -> None:
        """Wait so long, paused time not counted."""
        left_s = seconds
        while (left_s > 0 or self.paused.is_set()) and not self.over.is_set():
            step_s = min(_SLICE_S, max(left_s, 0.01))
            time.sleep(step_s)
            left_s -= 0 if self.paused.is_set() else step_s


class TickFeed:
    """Overviews as they come, taken from an iterator by a thread."""

    def __init__(self, ticks: Iterator[Overview], wake: Callable[[], object]) -> None:
        self._ticks = ticks
        self._wake = wake
        self._come: deque[Overview] = deque(maxlen=1000)
        self._over = threading.Event()
        # Whether nothing comes any more.
        self.ended = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="k2-watch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for tick in self._ticks:
                self._come.append(tick)
                self._wake()
                if self._over.is_set():
                    break
        except Exception as error:
            self._error = error
        self.ended = True
        self._wake()

    def taken(self) -> list[Overview]:
        """Those that have come since the last call.

        Raises:
            Exception: what the iterator has raised.
        """
        if self._error is not None:
            raise self._error
        return [self._come.popleft() for _ in range(len(self._come))]

    def close(self) -> bool:
        """End after the next overview; False where none comes in time, as from a Kafka that does not answer."""
        self._over.set()
        self._thread.join(_ENDS_WITHIN_S)
        return not self._thread.is_alive()


class Refreshed(Generic[Value]):
    """Something that takes its time, got again every few seconds while somebody wants it."""

    def __init__(self, get: Callable[[], Value], every_s: float, wake: Callable[[], object]) -> None:
        self._get = get
        self._every_s = every_s
        self._wake = wake
        self._due_s = 0.0
        self._running = False
        # The last one that was got.
        self.value: Value | None = None
        # Why the last try got none.
        self.trouble = ""

    def want(self) -> None:
        """Get it, unless that was a moment ago or is being done."""
        if not self._running and time.monotonic() >= self._due_s:
            self._running = True
            threading.Thread(target=self._run, name="k2-watch-lookup", daemon=True).start()

    def _run(self) -> None:
        try:
            self.value, self.trouble = self._get(), ""
        except (K2Error, OSError) as error:
            hint = error.hint if isinstance(error, K2Error) else ""
            self.trouble = " ".join(filter(None, (first_line(error), hint)))
        self._due_s = time.monotonic() + self._every_s
        self._running = False
        self._wake()
