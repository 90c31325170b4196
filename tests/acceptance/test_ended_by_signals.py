"""Whatever ends a program, it ends as it says: a summary, a well-formed acknowledged log, and a right exit code."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from k2ctl.cli import main
from k2ctl.endpoints import require_endpoints
from k2ctl.errors import ExitCode
from k2ctl.home import Home
from k2ctl.load.acknowledged_log import recorded
from tests.support.cli import run, stack_is_down
from tests.support.polling import until

K2CTL = [sys.executable, "-m", "k2ctl"]
LOAD = [*K2CTL, "load", "--rate", "4k", "--duration", "120", "--workers", "2", "--json"]


@pytest.fixture(autouse=True)
def _stack_up_and_down(home: Path) -> Iterator[None]:
    assert run("stack", "up").returncode == 0
    yield
    while STARTED:
        with STARTED.pop() as left, suppress(ProcessLookupError):
            os.killpg(left.pid, signal.SIGKILL)
    stack_is_down()


STARTED: list[subprocess.Popen[str]] = []
PATIENCE_S = 150
"""A program ends within seconds where it has the processors for itself."""


def start(*command: str) -> subprocess.Popen[str]:
    """A program in a process group of its own, as a shell or a supervisor starts it; a test leaves none behind."""
    STARTED.append(
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    )
    return STARTED[-1]


def started_load() -> subprocess.Popen[str]:
    load = start(*LOAD)
    await_sending()
    return load


def workers_of(load: subprocess.Popen[str]) -> list[psutil.Process]:
    return [one for one in psutil.Process(load.pid).children() if "spawn_main" in " ".join(one.cmdline())]


def await_sending(workers: int = 2) -> None:
    """Until each worker has written down what it sent, and sent more."""
    until(lambda: sum(log.run.sent > 0 for log in recorded(Home.of_user())) >= workers, every_s=0.05)


def summary_of(said: str) -> dict[str, object]:
    summary = json.loads(said.splitlines()[-1])
    assert isinstance(summary, dict)
    return summary


def acknowledged() -> int:
    return sum(log.run.acknowledged for log in recorded(Home.of_user()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_load_whose_whole_group_gets_a_signal_reports_what_it_sent_and_is_verified(number: int) -> None:
    load = started_load()
    os.killpg(load.pid, number)
    said, complaints = load.communicate(timeout=PATIENCE_S)
    summary = summary_of(said)
    assert load.returncode == ExitCode.INTERRUPTED, complaints
    assert summary["interrupted"]
    assert summary["exact"]
    assert summary["trades_failed"] == 0
    assert summary["trades_acknowledged"] == acknowledged() > 0
    assert all(log.run.finished for log in recorded(Home.of_user()))
    assert complaints == ""


@pytest.mark.parametrize("after_s", [0.8, 1.4])
def test_a_load_whose_group_gets_a_signal_while_it_starts_never_says_that_a_worker_died(after_s: float) -> None:
    load = start(*LOAD)
    time.sleep(after_s)
    os.killpg(load.pid, signal.SIGTERM)
    _, complaints = load.communicate(timeout=PATIENCE_S)
    assert "worker" not in complaints
    assert load.returncode in (ExitCode.INTERRUPTED, -signal.SIGTERM)  # the latter before Python itself is up


def test_a_load_and_a_consumer_under_timeout_take_its_two_signals_for_one() -> None:
    """`timeout` does on SIGALRM what it does when its time is over."""
    consumer = start("timeout", "300", *K2CTL, "consume", "--json")
    load = start("timeout", "300", *LOAD)
    await_sending()
    consuming = psutil.Process(consumer.pid).children()[0].pid
    until(lambda: _catches(consuming, signal.SIGTERM), every_s=0.05)
    outputs = []
    for program in (load, consumer):
        program.send_signal(signal.SIGALRM)
        outputs.append(program.communicate(timeout=PATIENCE_S))
        assert program.returncode == 124
    assert summary_of(outputs[0][0])["trades_acknowledged"] == acknowledged()
    assert "stored" in summary_of(outputs[1][0]), outputs


def test_a_load_whose_reader_is_ended_by_the_same_signal_is_interrupted_all_the_same() -> None:
    """As `k2ctl load | tee log` on Ctrl-C."""
    load = started_load()
    assert load.stdout is not None
    load.stdout.close()
    os.killpg(load.pid, signal.SIGINT)
    assert load.wait(PATIENCE_S) == ExitCode.INTERRUPTED
    assert load.stderr is not None
    load.stderr.close()
    assert all(log.run.finished for log in recorded(Home.of_user()))


def test_who_presses_ctrl_c_again_does_not_wait_for_a_kafka_that_hangs_and_gets_what_is_known() -> None:
    load = started_load()
    kafka = psutil.Process(require_endpoints(Home.of_user()).processes["kafka"].pid)
    kafka.suspend()  # so that the load has to wait for acknowledgements
    try:
        begun_s = time.monotonic()
        workers = workers_of(load)
        while any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers):
            load.send_signal(signal.SIGINT)
            time.sleep(1.0)
            assert time.monotonic() - begun_s < 25
        said, _ = load.communicate(timeout=PATIENCE_S)
    finally:
        kafka.resume()
    assert load.returncode == ExitCode.INTERRUPTED
    assert summary_of(said)["exact"] is False
    assert summary_of(said)["trades_acknowledged"] == pytest.approx(acknowledged(), abs=8000)


def test_a_load_whose_worker_is_killed_reports_what_is_known_and_the_log_of_the_other_is_whole() -> None:
    load = started_load()
    workers_of(load)[0].kill()
    said, complaints = load.communicate(timeout=PATIENCE_S)
    summary = summary_of(said)
    assert load.returncode == ExitCode.FAILED
    assert "was killed (signal 9)" in str(summary["failure"])
    assert "was killed (signal 9)" in complaints
    assert summary["exact"] is False
    assert sorted(log.run.finished for log in recorded(Home.of_user())) == [False, True]
    assert run("consume", "--until-caught-up").returncode == 0
    assert run("verify").returncode == 0


def test_a_load_that_cannot_write_down_what_it_sent_says_so_and_what_it_sent() -> None:
    limited = subprocess.run(
        ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh", *LOAD], capture_output=True, text=True, check=False, timeout=90
    )
    summary = summary_of(limited.stdout)
    assert limited.returncode == ExitCode.FAILED
    assert "cannot be written down" in str(summary["failure"])
    assert "cannot be written down" in limited.stderr
    assert summary["trades_failed"] == 0


def test_a_load_that_nobody_reads_ends_with_its_summary(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("k2ctl.load.intake.STUCK_AFTER_S", 2.0)
    code = main(["load", "--rate", "200k", "--duration", "20", "--json"])
    said = capfd.readouterr()
    summary = summary_of(said.out)
    assert code == ExitCode.FAILED
    assert "Nobody has read" in str(summary["failure"])
    assert "k2ctl consume" in said.err
    assert summary["exact"]
    assert summary["trades_acknowledged"] == acknowledged()


@pytest.mark.slow
def test_a_load_whose_kafka_dies_ends_with_its_summary_and_a_whole_log() -> None:
    load = started_load()
    until(lambda: acknowledged() > 0, every_s=0.05)
    psutil.Process(require_endpoints(Home.of_user()).processes["kafka"].pid).kill()
    said, complaints = load.communicate(timeout=PATIENCE_S)
    summary = summary_of(said)
    assert load.returncode == ExitCode.FAILED, complaints
    assert summary["failure"]
    assert summary["exact"] is True
    assert summary["trades_acknowledged"] == acknowledged() > 0
    assert all(log.run.finished for log in recorded(Home.of_user()))


@pytest.mark.parametrize("command", [["watch", "--json"], ["api", "--port", "0"], ["load", "--rate", "10", "--json"]])
def test_ctrl_c_ends_what_was_started_with_sigint_ignored(command: list[str]) -> None:
    program = start("sh", "-c", 'trap "" INT; exec "$@"', "sh", *K2CTL, *command)
    until(lambda: _catches(program.pid, signal.SIGINT), every_s=0.05)
    time.sleep(1.0)
    program.send_signal(signal.SIGINT)
    _, complaints = program.communicate(timeout=PATIENCE_S)
    # Python ends by the signal itself if that came while it ran the text of a program, as it does to make a dataclass.
    assert program.returncode in (ExitCode.OK, ExitCode.INTERRUPTED, -signal.SIGINT), complaints
    assert "Traceback" not in complaints


def _catches(pid: int, number: int) -> bool:
    caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)
