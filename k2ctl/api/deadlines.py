"""Time limits of what runs on other threads, kept by one thread for all of them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_LOOK_EVERY_S: Final = 0.05


class Deadlines:
    """Calls whoever takes too long. Thread-safe.

    A `threading.Timer` per query would be a new thread each, and starting one waits until the system has run it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[object, tuple[float, Callable[[], None]]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="k2-deadlines", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; limits that are still running are not kept."""
        self._stop.set()
        self._thread.join(5.0)

    @contextmanager
    def within(self, seconds: float, late: Callable[[], None]) -> Iterator[None]:
        """Call `late` once if the block takes longer; never after it has ended. `late` must not wait."""
        key = object()
        with self._lock:
            self._running[key] = (time.monotonic() + seconds, late)
        try:
            yield
        finally:
            with self._lock:
                self._running.pop(key, None)

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            now_s = time.monotonic()
            with self._lock:
                for key, (due_s, late) in list(self._running.items()):
                    if due_s <= now_s:
                        del self._running[key]
                        late()
