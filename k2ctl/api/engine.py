"""The warm engine behind the service: metadata and tail at hand, a few sessions, the platform's state."""

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from k2ctl.api.names import KnownSymbols
from k2ctl.api.platform import FollowedPlatform
from k2ctl.api.problems import Refused
from k2ctl.api.settings import Limits
from k2ctl.clock import SystemClock
from k2ctl.endpoints import Endpoints
from k2ctl.errors import K2Error
from k2ctl.lake.references import reference_symbols
from k2ctl.profiles import load_profile
from k2ctl.profiles.foreign import of_others
from k2ctl.query.session import Session
from k2ctl.query.tail import TailLimits
from k2ctl.query.warm_sessions import WarmSessions

Result = TypeVar("Result")


class WarmEngine:
    """Answers from memory and data files. Thread-safe; threads and connections last until `close`."""

    def __init__(self, endpoints: Endpoints, limits: Limits, topic: str | None = None) -> None:
        profile = load_profile(endpoints.profile)
        profile = of_others(profile, topic=topic) if topic else profile
        self.endpoints, self.topic = endpoints, topic
        self._limits = limits
        # A cold read, where memory does not have the tail, is kept short: the answer is then marked as cut.
        self._warm = WarmSessions(endpoints, profile, TailLimits(500_000, limits.seconds / 2))
        self._table, self.tail = self._warm.table, self._warm.tail
        self._warm.follow()
        self._deadlines = Deadlines()
        self._sessions: queue.Queue[Session] = queue.Queue()
        for _ in range(limits.queries):
            self._sessions.put(self._warm.session())
        self.symbols = KnownSymbols(lambda: self.ask(_every_symbol), lambda: self.tail.symbols, SystemClock())
        self.platform = FollowedPlatform(endpoints, self.problems)

    def close(self) -> None:
        """End the threads and close the connections."""
        self.platform.close()
        self._deadlines.close()
        while not self._sessions.empty():
            self._sessions.get_nowait().close()
        self._warm.close()

    @property
    def running(self) -> int:
        """Queries that run now."""
        return self._limits.queries - self._sessions.qsize()

    def ask(self, question: Callable[[Session], Result]) -> Result:
        """Answer with a session of the pool, within the time limit.

        Raises:
            Refused: all sessions are busy for too long. K2Error: what the question raises.
        """
        with self.turn() as session, self._deadlines.within(self._limits.seconds, session.interrupt):
            return question(session)

    @contextmanager
    def turn(self) -> Iterator[Session]:
        """A session of the pool, for as long as the block lasts: so many queries run at once.

        Raises:
            Refused: all sessions are busy for too long.
        """
        try:
            session = self._sessions.get(timeout=self._limits.waiting_s)
        except queue.Empty:
            detail = f"{self._limits.queries} queries run already, as many as may run at once."
            raise Refused("too-many", detail, {"Retry-After": "1"}) from None
        try:
            yield session
        finally:
            self._sessions.put(session)

    def problems(self) -> list[str]:
        """Why the service is not ready; empty when it is."""
        found = [self.tail.problem] if self.tail.problem else []
        try:
            self._table.pin()
        except K2Error as error:
            found.append(str(error))
        return found

    def table_figures(self) -> dict[str, float]:
        """Rows, files, bytes, snapshots and age of the table as it is known; NaN before there is one."""
        try:
            pinned = self._table.pin()
        except K2Error:  # `problems` asks the same, and reports why
            pinned = None
        if pinned is None or pinned.committed_at_us is None:
            return dict.fromkeys(("rows", "files", "bytes", "snapshots", "snapshot_age_seconds"), math.nan)
        whole = pinned.plan()
        return {
            "rows": pinned.rows,
            "files": whole.of_files,
            "bytes": whole.of_bytes,
            "snapshots": len(pinned.table.metadata.snapshots),
            "snapshot_age_seconds": max(0.0, (SystemClock().now_us() - pinned.committed_at_us) / 1e6),
        }

    def status(self) -> dict[str, Any]:
        """The service and the platform."""
        pinned = self._table.pin()
        return {
            "topics": self.tail.topics,
            "snapshot_id": None if pinned is None or pinned.snapshot_id is None else str(pinned.snapshot_id),
            "committed_at_us": pinned.committed_at_us if pinned else None,
            "rows": pinned.rows if pinned else 0,
            "tail_trades": self.tail.held_trades,
            "tail_problem": self.tail.problem,
            "queries_running": self.running,
            "platform": self.platform.overview,
            "platform_problem": self.platform.problem,
            "runbook": self.platform.alerts.found,
        }


def _every_symbol(session: Session) -> set[str]:
    """Those that either side has seen, and those of reference data."""
    seen: list[str] = session.symbols().table.column("symbol").to_pylist()
    return reference_symbols(session.seam.lake).union(seen)


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
