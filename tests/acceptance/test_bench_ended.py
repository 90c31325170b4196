"""`k2ctl bench` that is ended in the middle."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.cli import processes_under, until_nothing_is_left
from tests.support.polling import until


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_benchmark_that_is_ended_leaves_nothing_running(home: Path, number: int, code: int) -> None:
    """In the naive one a consumer in a process of its own is at work."""
    command = [sys.executable, "-m", "k2ctl", "bench", "naive", "--trades", "400k"]
    bench = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until(lambda: any("multiprocessing" in line for line in processes_under(home)))
    time.sleep(0.5)
    bench.send_signal(number)
    _, said = bench.communicate(timeout=60)
    assert bench.returncode == code
    assert "Traceback" not in said
    until_nothing_is_left(home)
