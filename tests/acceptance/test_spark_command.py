"""Spark as a person types it: SQL, checks and maintenance on a running stack; and Ctrl-C in the middle."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from k2ctl.errors import ExitCode
from tests.support.cli import run
from tests.support.polling import until
from tests.support.spark import require_spark

pytestmark = pytest.mark.slow

AT = ("--master", "local[1]", "--conf", "spark.driver.memory=512m")


@pytest.fixture(autouse=True)
def _stored_trades(home: Path) -> Iterator[None]:
    require_spark()
    for command in ("stack up", "load --rate 1k --duration 2 --workers 1", "consume --until-caught-up"):
        done = run(*command.split())
        assert done.returncode == 0, done.stderr
    yield
    run("stack", "down")


def test_spark_answers_checks_and_maintains_and_leaves_nothing_after_ctrl_c() -> None:
    ours = run("query", "sql", "SELECT count(*) AS n, max(price) AS p FROM trades", "--format", "json")
    theirs = run(
        "query",
        "sql",
        "--engine",
        "spark",
        *AT,
        "SELECT count(*) AS n, max(price) AS p FROM trades",
        "--format",
        "json",
    )
    assert json.loads(theirs.stdout) == json.loads(ours.stdout), theirs.stderr
    assert "the stream is not in it" in theirs.stderr

    checked = run("verify", "--engine", "spark", *AT, "--json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["holds"]

    maintained = run("lake", "maintain", "--engine", "spark", *AT, "--json")
    assert maintained.returncode == 0, maintained.stderr
    assert json.loads(maintained.stdout)["hours"] == []  # the hour is not over

    command = [sys.executable, "-m", "k2ctl", "lake", "maintain", "--engine", "spark", *AT]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        until(lambda: "looking for unreachable" in running.stderr.readline(), 120, lambda: "")
        below = psutil.Process(running.pid).children(recursive=True)
        assert any("java" in process.name() for process in below)
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == ExitCode.INTERRUPTED
        until(lambda: not any(process.is_running() for process in below), 20, lambda: str(below))
    assert json.loads(run("lake", "status", "--json").stdout)["maintained_by"] is None
