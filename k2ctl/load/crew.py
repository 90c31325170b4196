"""The worker processes of a load: started together, paused together, their reports added up."""

import multiprocessing
import time
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final

from k2ctl.errors import BrokerError
from k2ctl.home import Endpoints
from k2ctl.load.plan import LoadPlan
from k2ctl.load.report import LoadSnapshot
from k2ctl.load.worker import Signals, WorkerReport, run_worker

READY_S: Final = 30.0
HEADSTART_S: Final = 0.05


class Crew:
    """The worker processes of one load, and the newest report of each."""

    def __init__(self, plan: LoadPlan, endpoints: Endpoints) -> None:
        context = multiprocessing.get_context("spawn")
        self._plan = plan
        self.signals = Signals(context.Event(), context.Event(), context.Event(), context.Value("d", 0.0))
        self._pipes: list[Connection] = []
        self._processes: list[BaseProcess] = []
        for number in range(plan.workers):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=run_worker, args=(endpoints, plan, number, self.signals, theirs), daemon=True
            )
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        self.reports: dict[int, WorkerReport] = {}
        self._open = set(self._pipes)
        self._recent: list[tuple[float, int]] = []

    def begin(self) -> None:
        """Wait until all are ready, then let them start at the same moment."""
        for pipe in self._pipes:
            if not pipe.poll(READY_S):
                raise BrokerError(
                    "A load worker did not start in time.", "Look at the machine with: k2ctl stack status"
                )
            self._take(pipe)
        self.signals.start_s.value = time.monotonic() + HEADSTART_S
        self.signals.go.set()

    def listen(self) -> None:
        """Take in what the workers say, for about a tenth of a second.

        Raises:
            BrokerError: a worker failed, or died.
        """
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
                raise BrokerError(f"Load worker {number} died.", "Try again with fewer: --workers 1") from None
            return
        if isinstance(report, WorkerReport):
            if report.failure and not report.enqueued:
                raise BrokerError(report.failure, report.hint or "See: k2ctl stack status")
            self.reports[report.worker] = report

    @property
    def finished(self) -> bool:
        """Every worker has sent its last report."""
        return len(self.reports) == self._plan.workers and all(r.finished for r in self.reports.values())

    def total(self, name: str) -> Any:
        """The sum of one figure over the workers."""
        return sum(getattr(report, name) for report in self.reports.values())

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
        now_s = time.monotonic()
        self._recent = [*[sample for sample in self._recent if sample[0] > now_s - 2], (now_s, sent)]
        since_s, before = self._recent[0]
        return LoadSnapshot(
            elapsed_s=self.elapsed_s,
            duration_s=schedule.duration_s if self._plan.replay is None else 0.0,
            target_rate=schedule.rate_at(self.elapsed_s) if self._plan.replay is None else 0.0,
            rate=(sent - before) / (now_s - since_s) if now_s > since_s else 0.0,
            sent=sent,
            total=schedule.total if self._plan.replay is None else 0,
            in_flight_records=self.total("records") - self.total("acknowledged_records"),
            paused_s=self.paused_s,
            paused_why=paused_why,
        )

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
