"""Programs in the background: one that never gets ready is ended, and so is one that nobody will know of."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from k2ctl.endpoints import ProcessId
from k2ctl.errors import StackError
from k2ctl.home import Home
from k2ctl.stack import processes
from k2ctl.stack.processes import end, ended_within, exit_code, is_readable, start_detached
from tests.support.polling import until


def ours(word: str) -> list[int]:
    """Processes with this argument."""
    return [one.pid for one in psutil.process_iter(["cmdline"]) if word in (one.info["cmdline"] or [])]


def test_one_that_never_says_that_it_is_ready_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "READY_WITHIN_S", 0.5)
    with pytest.raises(StackError, match="silent did not start"):
        start_detached(
            "silent",
            [sys.executable, "-c", "import time; time.sleep(60)", "never-ready"],
            read_line=True,
            home=Home.of_user(),
        )
    assert ours("never-ready") == []


def test_a_pipe_is_looked_at_also_in_a_process_that_has_many_open() -> None:
    ours, theirs = os.pipe()
    high = fcntl.fcntl(ours, fcntl.F_DUPFD, 1_024)
    try:
        assert not is_readable(high, 0.0)
        os.write(theirs, b"x")
        assert is_readable(high, 5.0)
    finally:
        for one in (ours, theirs, high):
            os.close(one)


def test_one_that_is_given_up_while_it_starts_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("k2ctl.stack.processes.is_readable", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start_detached(
            "slow",
            [sys.executable, "-c", "import time; time.sleep(60)", "given-up"],
            read_line=True,
            home=Home.of_user(),
        )
    assert ours("given-up") == []


def test_one_that_has_ended_by_itself_is_collected_when_it_is_stopped() -> None:
    process, _ = start_detached("brief", [sys.executable, "-c", ""], home=Home.of_user())
    until(lambda: not processes.is_alive(process))
    assert end([process]) == [0]
    assert not psutil.pid_exists(process.pid)


def test_one_that_ends_while_it_is_being_stopped_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    looks: Iterator[bool] = iter([True, False])  # before the signal, while it is waited for
    monkeypatch.setattr(processes, "is_alive", lambda _: next(looks))
    assert end([ProcessId(gone.pid, 0.0)]) == [None]


def test_several_end_at_once_and_one_that_ignores_the_signal_is_killed() -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    polite = "import time; print(1, flush=True); time.sleep(60)"
    started = [
        start_detached("x", [sys.executable, "-c", program], read_line=True, home=Home.of_user())[0]
        for program in (deaf, polite)
    ]
    assert end(started, patience_s=1.0) == [-signal.SIGKILL, -signal.SIGTERM]


def test_one_works_and_logs_in_the_state_directory_that_it_is_given(home: Path, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    other.path.mkdir()
    process, line = start_detached(
        "x", [sys.executable, "-c", "import os; print(os.environ['K2CTL_HOME'])"], read_line=True, home=other
    )
    end([process])
    assert line.strip() == str(other.path)
    assert (other.path / "logs" / "x.log").exists()
    assert list(home.iterdir()) == []


ENDS_BEFORE_ITS_THREADS = """
import ctypes, os, threading, time
threading.Thread(target=lambda: (time.sleep(0.5), os._exit(7))).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def test_the_exit_code_of_one_whose_threads_end_after_its_main_one_is_waited_for() -> None:
    process, _ = start_detached("x", [sys.executable, "-c", ENDS_BEFORE_ITS_THREADS], home=Home.of_user())
    assert ended_within([process], 10)
    assert exit_code(process) == 7


def test_a_child_that_somebody_else_has_ended_is_no_zombie_after_the_next_end() -> None:
    process, _ = start_detached("x", [sys.executable, "-c", "import time; time.sleep(60)"], home=Home.of_user())
    psutil.Process(process.pid).kill()
    until(lambda: not processes.is_alive(process))
    end([])
    assert not psutil.pid_exists(process.pid)
    assert exit_code(process) == -signal.SIGKILL
