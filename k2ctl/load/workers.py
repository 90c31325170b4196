"""The worker processes of a load: started together, paused together, their reports added up."""

import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final

from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, K2Error
from k2ctl.load.plan import LoadPlan
from k2ctl.load.replay import ReplayState
from k2ctl.load.worker import WorkerReport, WorkerSignals, run_worker
from k2ctl.signals import ENDING, held_back
from k2ctl.timing import SlidingWindow, rate

READY_S: Final = 30.0
HEADSTART_S: Final = 0.05


@dataclass(frozen=True)
class LoadSnapshot:
    """A load under way. Counts are trades; rates trades per second."""

    elapsed_s: float
    # Duration, target and total of the schedule; 0 of a replay.
    duration_s: float
    target_rate: float
    rate: float
    sent: int
    total: int
    in_flight_records: int
    paused_s: float
    # Empty while it does not pause.
    paused_why: str
    # The venue's time that a replay has reached, in nanoseconds.
    reached_ns: int | None = None


class LoadWorkers:
    """The worker processes of one load, the newest report of each, and what went wrong first."""

    def __init__(self, plan: LoadPlan, endpoints: Endpoints) -> None:
        self._plan = plan
        self._endpoints = endpoints
        self._context = multiprocessing.get_context("spawn")
        with held_back(*ENDING):  # also from the process that Python starts to clear semaphores away
            make = self._context
            self.signals = WorkerSignals(make.Event(), make.Event(), make.Event(), make.Value("d", 0.0))
        self._pipes: list[Connection] = []
        self._processes: list[BaseProcess] = []
        self.reports: dict[int, WorkerReport] = {}
        self.failure: K2Error | None = None
        self._open: set[Connection] = set()
        self._recent = SlidingWindow[int](2.0)

    def start(self) -> None:
        """Start the processes; a signal for the whole group does not reach them, however early it comes."""
        for number in range(self._plan.workers):
            ours, theirs = self._context.Pipe(duplex=False)
            arguments = (self._endpoints, self._plan, number, self.signals, theirs)
            process = self._context.Process(target=run_worker, args=arguments, daemon=True)
            with held_back(*ENDING):
                process.start()
                self._processes.append(process)
            theirs.close()
            self._pipes.append(ours)
            self._open.add(ours)

    def begin(self) -> None:
        """Wait until all are ready, then let them start at the same moment.

        Raises:
            BrokerError: one takes too long.
        """
        for pipe in self._pipes:
            if not pipe.poll(READY_S):
                raise BrokerError(
                    "A load worker did not start in time.", "Look at the machine with: k2ctl stack status"
                )
            self._take(pipe)
        self.signals.start_s.value = time.monotonic() + HEADSTART_S
        self.signals.go.set()

    def listen(self) -> None:
        """Receive the workers' reports, for about a tenth of a second; `failure` names one that failed or died."""
        for pipe in wait(list(self._open), 0.1):
            self._take(pipe)  # type: ignore[arg-type]

    def hold(self, reason: str) -> None:
        """Pause the workers while there is a reason to."""
        if reason:
            self.signals.pause.set()
        else:
            self.signals.pause.clear()

    def _take(self, pipe: Connection) -> None:
        try:
            report = pipe.recv()
        except EOFError:
            self._open.discard(pipe)
            number = self._pipes.index(pipe)
            if not (number in self.reports and self.reports[number].finished):
                self._fail(_death_of(number, self._processes[number]))
            return
        if isinstance(report, WorkerReport):
            self.reports[report.worker] = report
            if report.ended_early:
                self._fail(BrokerError(report.failure, report.hint or "See: k2ctl stack status"))

    def _fail(self, failure: K2Error) -> None:
        """The first failure; later ones may be its consequence."""
        self.failure = self.failure or failure

    @property
    def working(self) -> bool:
        """Whether a worker has not ended."""
        return bool(self._open)

    @property
    def exact(self) -> bool:
        """Whether every worker has sent its last report; else what they sent is at least what they said last."""
        return len(self.reports) == self._plan.workers and all(r.finished for r in self.reports.values())

    def total(self, name: str) -> Any:
        """The sum of one figure over the workers."""
        return sum(getattr(report, name) for report in self.reports.values())

    @property
    def replay(self) -> ReplayState:
        """How far a replay is, which has one worker."""
        return next((report.replay for report in self.reports.values()), ReplayState())

    @property
    def paused_s(self) -> float:
        """Seconds paused; the workers pause together."""
        return max((report.paused_s for report in self.reports.values()), default=0.0)

    @property
    def elapsed_s(self) -> float:
        """Seconds of the schedule that have passed."""
        return max((max(0.0, report.elapsed_s) for report in self.reports.values()), default=0.0)

    def snapshot(self, paused_why: str) -> LoadSnapshot:
        """The load as it stands."""
        schedule, sent = self._plan.schedule, self.total("enqueued")
        self._recent.add(sent)
        return LoadSnapshot(
            elapsed_s=self.elapsed_s,
            duration_s=schedule.duration_s if self._plan.replay is None else 0.0,
            target_rate=schedule.rate_at(self.elapsed_s) if self._plan.replay is None else 0.0,
            rate=rate(self._recent.oldest, sent, self._recent.span_s),
            sent=sent,
            total=schedule.total if self._plan.replay is None else 0,
            in_flight_records=self.total("records") - self.total("acknowledged_records"),
            paused_s=self.paused_s,
            paused_why=paused_why,
            reached_ns=self.replay.reached_ns,
        )

    def kill(self) -> None:
        """End the workers at once: what they had in flight, nobody knows."""
        for process in self._processes:
            process.kill()

    def end(self) -> None:
        """Stop whoever still runs."""
        self.signals.stop.set()
        self.signals.go.set()
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()
        for pipe in self._pipes:
            pipe.close()


def _death_of(number: int, process: BaseProcess) -> BrokerError:
    process.join(1)
    code = process.exitcode
    how = f"was killed (signal {-code})" if code is not None and code < 0 else "died"
    return BrokerError(
        f"Load worker {number} {how}; what it sent in its last moments is not known exactly.",
        "What is missing or doubled: k2ctl verify. Load again with fewer workers: k2ctl load --workers 1",
    )
