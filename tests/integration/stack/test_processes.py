"""Programs in the background: one that never gets ready is ended, and so is one that nobody will know of."""

import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from k2ctl.endpoints import ProcessId
from k2ctl.errors import StackError
from k2ctl.stack import processes
from k2ctl.stack.processes import start_detached, stop


def ours(word: str) -> list[int]:
    """Processes with this argument."""
    return [one.pid for one in psutil.process_iter(["cmdline"]) if word in (one.info["cmdline"] or [])]


def test_one_that_never_says_that_it_is_ready_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "SPEAKS_WITHIN_S", 0.5)
    with pytest.raises(StackError, match="silent did not start"):
        start_detached("silent", [sys.executable, "-c", "import time; time.sleep(60)", "never-ready"], read_line=True)
    assert ours("never-ready") == []


def test_one_that_is_given_up_while_it_starts_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("k2ctl.stack.processes.select.select", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start_detached("slow", [sys.executable, "-c", "import time; time.sleep(60)", "given-up"], read_line=True)
    assert ours("given-up") == []


def test_one_that_has_ended_by_itself_is_collected_when_it_is_stopped() -> None:
    process, _ = start_detached("brief", [sys.executable, "-c", ""])
    while processes.is_alive(process):
        time.sleep(0.01)
    stop(process)
    assert not psutil.pid_exists(process.pid)


def test_one_that_ends_while_it_is_being_stopped_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    looks: Iterator[bool] = iter([True, False, False])  # before the signal, while it is waited for, before SIGKILL
    monkeypatch.setattr(processes, "is_alive", lambda _: next(looks))
    stop(ProcessId(gone.pid, 0.0))
