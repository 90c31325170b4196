"""The processes of an act: consumers, the naive consumer, load."""

import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Final

from k2ctl.endpoints import Endpoints
from k2ctl.errors import CheckFailed, ExitCode
from k2ctl.load.acknowledged_log import recorded
from k2ctl.load.generator import run_load
from k2ctl.load.plan import LoadPlan
from k2ctl.load.summary import LoadSummary
from k2ctl.log import background_environment
from k2ctl.stack.logs import last_lines, log_path

STOP_PATIENCE_S: Final = 30.0


class DemoProcess:
    """A program in a process of its own, out of reach of the terminal's Ctrl-C; its output goes to a log."""

    def __init__(self, name: str, module: str, *arguments: str) -> None:
        self._name = name
        with log_path(name).open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=background_environment(log_path(name)),
            )

    def require_running(self) -> None:
        """Raises:
        CheckFailed: it ended by itself.
        """
        if self._process.poll() is not None:
            raise CheckFailed(f"The {self._name} ended by itself: {last_lines(self._name)}", "Try: k2ctl demo --quick")

    def kill(self) -> None:
        """kill -9."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ctrl-C: it commits what it has in hand, and ends.

        Raises:
            CheckFailed: it did not end, or with an error.
        """
        self.require_running()
        self._process.send_signal(signal.SIGINT)
        self._wait(STOP_PATIENCE_S, ExitCode.OK, ExitCode.INTERRUPTED)

    def finish(self, patience_s: float) -> None:
        """Wait until it ends by itself.

        Raises:
            CheckFailed: it did not, or with an error.
        """
        self._wait(patience_s, ExitCode.OK)

    def _wait(self, patience_s: float, *good: ExitCode) -> None:
        try:
            code = self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            code = None
        if code not in good:
            self.kill()
            raise CheckFailed(f"The {self._name} did not finish: {last_lines(self._name)}", "Try: k2ctl demo --quick")


@dataclass(frozen=True)
class SentTotals:
    """What a load sent. distinct: different trades; the rest are retransmissions.

    withheld: numbered and never sent. holes: those of them between two sent trades of their symbol.
    """

    acknowledged: int
    distinct: int
    withheld: int
    holes: int
    summary: LoadSummary


class LoadProcess:
    """A load on a thread of its own."""

    def __init__(self, plan: LoadPlan, endpoints: Endpoints) -> None:
        self.plan = plan
        self._stop = threading.Event()
        self._summary: LoadSummary | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(endpoints,), daemon=True)
        self._thread.start()

    def _run(self, endpoints: Endpoints) -> None:
        try:
            self._summary = run_load(self.plan, endpoints, self._stop)
        except Exception as error:
            self._error = error  # raised where the load is watched

    @property
    def running(self) -> bool:
        """Whether it still sends."""
        return self._thread.is_alive()

    def raise_error(self) -> None:
        """Raises: what ended it, if something did."""
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Stop it, and wait until its workers are gone."""
        self._stop.set()
        self._thread.join(STOP_PATIENCE_S)

    def sent(self) -> SentTotals:
        """What it sent, once it has ended."""
        if self._summary is None:
            raise self._error or CheckFailed("The load has not ended.", "Try: k2ctl demo --quick")
        acknowledged, planned = self._summary.trades_acknowledged, self.plan.schedule.total
        if self.plan.faults.gaps:
            holes = sum(log.holes for log in recorded() if log.run.run_id == self.plan.run_id)
            return SentTotals(acknowledged, acknowledged, planned - acknowledged, holes, self._summary)
        return SentTotals(acknowledged, planned, 0, 0, self._summary)
