"""The processes in which SQL runs: started when one is needed, kept, and killed when a query takes too much."""

import multiprocessing
import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import resource_tracker
from typing import Final

from k2ctl.api.problems import Refused
from k2ctl.endurance import LOOK_EVERY_S, Endurance
from k2ctl.errors import K2Error
from k2ctl.flight.worker import AskedSql, Computed, Failed, QueriedStack, run_queries
from k2ctl.signals import ENDING, held_back

_START_S: Final = 60.0


class Cancelled(Exception):
    """Whoever asked does not want the answer any more."""


class SqlWorkers:
    """Runs SQL, each query in a process of its own for as long as it takes. Thread-safe."""

    def __init__(self, place: QueriedStack) -> None:
        self._place = place
        # Linux ends a process that was promised to end with its parent when the thread ends that started it.
        self._starter = ThreadPoolExecutor(1, "k2-sql-start")
        self._free: queue.LifoQueue[SqlWorker | None] = queue.LifoQueue()
        self._limit = max(1, place.limits.queries // 2)
        for _ in range(self._limit):
            self._free.put(None)

    def answer(self, asked: AskedSql, cancelled: Callable[[], bool]) -> Computed | Failed:
        """What the query gives. `cancelled`: asked while it runs.

        Raises:
            Refused: as many run already as may run at once. TooLong, TooLarge: it was ended. Cancelled: so it was.
        """
        limits = self._place.limits
        try:
            worker = self._free.get(timeout=limits.waiting_s)
        except queue.Empty:
            detail = f"{self._limit} queries in SQL run already, as many as may run at once."
            raise Refused("too-many", detail, {"Retry-After": "1"}) from None
        try:
            if worker is None or not worker.take(asked):
                worker = self._starter.submit(SqlWorker, self._place).result()
                worker.take(asked)
            return worker.answer(cancelled)
        except BaseException:
            if worker is not None:
                worker.kill()
            worker = None
            raise
        finally:
            self._free.put(worker)

    def close(self) -> None:
        """End the processes."""
        with suppress(queue.Empty):
            while True:
                worker = self._free.get_nowait()
                if worker is not None:
                    worker.kill()
        self._starter.shutdown()


class SqlWorker:
    """One process. Of one thread at a time."""

    def __init__(self, place: QueriedStack) -> None:
        """Start it, and wait until it is ready."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._limits = place.limits
        self._process = context.Process(target=run_queries, args=(place, theirs), name="k2-sql", daemon=True)
        with held_back(*ENDING):
            resource_tracker.ensure_running()  # lets the signals through when it starts its own process
        with held_back(*ENDING):
            self._process.start()
        theirs.close()
        ready = self._pipe.poll(_START_S)
        try:
            if not ready:
                raise EOFError
            self._pipe.recv()
        except EOFError:
            self.kill()
            raise K2Error("The process for SQL did not start.", "Look at the machine: k2ctl doctor") from None

    def take(self, asked: AskedSql) -> bool:
        """Give it a query; False if it has ended since the last one."""
        try:
            self._pipe.send(asked)
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def answer(self, cancelled: Callable[[], bool]) -> Computed | Failed:
        """What the query gives that it took. See `SqlWorkers.answer`."""
        try:
            endurance = Endurance(self._process.pid or 0, self._limits.seconds, self._limits.sql_memory_mb)
            while not self._pipe.poll(LOOK_EVERY_S):
                if cancelled():
                    raise Cancelled
                endurance.check()
            answer: Computed | Failed = self._pipe.recv()
            return answer
        except (EOFError, OSError) as error:
            raise K2Error(
                "The process of the query was ended.", "The machine may be short of memory: a query that holds less."
            ) from error
