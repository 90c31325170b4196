"""The processes of an act: consumers, the naive consumer, load."""

import signal
import sys
import threading
from dataclasses import dataclass
from typing import Final

from k2ctl.endpoints import Endpoints
from k2ctl.errors import CheckFailed, ExitCode
from k2ctl.home import Home
from k2ctl.load.acknowledged_log import recorded
from k2ctl.load.generator import LoadSummary, run_load
from k2ctl.load.plan import LoadPlan
from k2ctl.stack.processes import end, ended_within, exit_code, is_alive, last_lines, send, start_detached

STOP_PATIENCE_S: Final = 30.0


class DemoProcess:
    """A program in a process of its own, out of reach of the terminal's Ctrl-C; its output goes to a log."""

    def __init__(self, home: Home, name: str, module: str, *arguments: str) -> None:
        self._home = home
        self._name = name
        self._process, _ = start_detached(name, [sys.executable, "-m", module, *arguments], home=home)

    def require_running(self) -> None:
        """Check that it still runs.

        Raises:
            CheckFailed: it ended by itself.
        """
        if not is_alive(self._process):
            raise self._failed("ended by itself")

    def kill(self) -> None:
        """kill -9."""
        end([self._process], signal.SIGKILL)

    def interrupt(self) -> None:
        """Ctrl-C: it commits what it has read, and ends.

        Raises:
            CheckFailed: it ended before.
        """
        self.require_running()
        send(self._process, signal.SIGINT)

    def require_stopped(self) -> None:
        """Wait until it has ended after an interrupt.

        Raises:
            CheckFailed: it did not end, or with an error.
        """
        self._wait(STOP_PATIENCE_S, ExitCode.OK, ExitCode.INTERRUPTED)

    def finish(self, patience_s: float) -> None:
        """Wait until it ends by itself.

        Raises:
            CheckFailed: it did not, or with an error.
        """
        self._wait(patience_s, ExitCode.OK)

    def _wait(self, patience_s: float, *good: ExitCode) -> None:
        ended = ended_within([self._process], patience_s)
        code = exit_code(self._process)
        if not ended or code not in good:
            self.kill()
            raise self._failed("did not finish")

    def _failed(self, what: str) -> CheckFailed:
        why = last_lines(self._name, self._home)
        return CheckFailed(f"The {self._name} {what}: {why}", "Try: k2ctl demo --quick")


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
    """A load on a thread of its own. Its workers start at once; they send from `begin` on."""

    def __init__(self, plan: LoadPlan, endpoints: Endpoints) -> None:
        self.plan = plan
        self._home = endpoints.home
        self._stop = threading.Event()
        self._begun = threading.Event()
        self._summary: LoadSummary | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(endpoints,), daemon=True)
        self._thread.start()

    def _run(self, endpoints: Endpoints) -> None:
        try:
            self._summary = run_load(self.plan, endpoints, self._stop, when_ready=self._begun.wait)
        except Exception as error:
            self._error = error  # raised where the load is watched

    def begin(self) -> None:
        """Let the workers send, as soon as they are ready."""
        self._begun.set()

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
        self._begun.set()
        self._thread.join(STOP_PATIENCE_S)

    def sent(self) -> SentTotals:
        """What it sent, once it has ended."""
        if self._summary is None:
            raise self._error or CheckFailed("The load has not ended.", "Try: k2ctl demo --quick")
        acknowledged, planned = self._summary.trades_acknowledged, self.plan.schedule.total
        if self.plan.faults.gaps:
            holes = sum(log.holes for log in recorded(self._home) if log.run.run_id == self.plan.run_id)
            return SentTotals(acknowledged, acknowledged, planned - acknowledged, holes, self._summary)
        return SentTotals(acknowledged, planned, 0, 0, self._summary)
