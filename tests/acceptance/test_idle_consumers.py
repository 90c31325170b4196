"""Consumers in the background that wait for trades leave the processor to others."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.cli import run

pytestmark = pytest.mark.slow

EIGHT = 8
MOST_EACH = 0.01
"""Of a core, on a machine on which others work too; on a quiet one a sixth of that is seen."""


@pytest.fixture
def stack(home: Path) -> Iterator[None]:
    """Apache Kafka as a local process; down again afterwards."""
    done = run("stack", "up", "--engine", "local")
    if done.returncode:
        pytest.skip(f"no local engine: {done.stderr.splitlines()[0]}")
    yield
    run("consume", "stop", "--all")
    run("stack", "down", "--volumes", "--yes")


def cpu_s(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


@pytest.mark.usefixtures("stack")
def test_eight_consumers_without_trades_take_a_twelfth_of_a_core_together() -> None:
    done = run("consume", "--replicas", str(EIGHT), "--detach")
    assert done.returncode == 0, done.stderr
    time.sleep(10.0)
    members = json.loads(run("consume", "status", "--json").stdout)
    processes = [psutil.Process(member["pid"]) for member in members]
    assert len(processes) == EIGHT
    before_s, began_s = cpu_s(processes), time.monotonic()
    time.sleep(30.0)
    share = (cpu_s(processes) - before_s) / (time.monotonic() - began_s)
    assert share < EIGHT * MOST_EACH
