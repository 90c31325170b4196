"""A query ends when its time or its memory is over, whatever it does, and leaves nothing half written."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.domain.topics import trades_topic
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.writer import TableWriter
from tests.made_trades import make_rows, make_trades
from tests.support.polling import until

LIMIT_S = 1.0
START_S = 60.0
"""Far more than a command needs to start; and far less than any of these queries takes."""
ENDLESS = {
    "one long text": "SELECT length(repeat('x', 2000000000) || repeat('y', n)) FROM range(50) AS t(n)",
    "folded before it runs": "SELECT length(reverse(repeat('xyzzy', 400000000)))",
    "a huge list": "SELECT len(list_sort(range(400000000)))",
    "a cross join": "SELECT count(*) FROM range(10000000) AS a(x), range(10000000) AS b(y) WHERE hash(x + y) = 1",
    "a regular expression": "SELECT regexp_replace(repeat('ab', 200000000), '(a|b)*c', 'x', 'g') AS v",
    "recursion": "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r",
    "a list of all": "SELECT len(string_agg(md5(n::VARCHAR), ',')) FROM range(2000000000) AS t(n)",
}


@pytest.fixture(scope="module")
def state(embedded_stack: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory of a platform with some trades."""
    folder = tmp_path_factory.mktemp("bounds")
    endpoints = replace(
        embedded_stack,
        catalog_uri=f"sqlite:///{folder}/catalog.db",
        warehouse=f"file://{folder}/warehouse",
        home=Home(folder),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("K2CTL_HOME", str(folder))
        save_endpoints(endpoints)
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(trades_topic("equities", "ASX"), 4)
    with Lake.at(endpoints) as lake:
        TableWriter(lake, SystemClock()).commit(
            [make_rows(make_trades(100), topic="another")],
            {TopicPartition("another", "e", 0): OffsetDelta(0, 100, Counts(100, 100))},
        )
    return folder


def asked(state: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[bytes], float]:
    """What the command did, and for how long."""
    begun_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "k2ctl", "query", "sql", *arguments],
        capture_output=True,
        env={**os.environ, "K2CTL_HOME": str(state)},
        timeout=120,
        check=False,
    )
    return done, time.monotonic() - begun_s


@pytest.mark.parametrize("text", ENDLESS.values(), ids=ENDLESS)
def test_every_query_ends_in_time_with_one_line_that_says_why(state: Path, text: str) -> None:
    done, took_s = asked(state, text, "--timeout", str(LIMIT_S), "--memory-mb", "256")
    assert done.returncode in {1, 2}
    said = done.stderr.decode()
    assert said.startswith("k2ctl: The query ")
    assert "Traceback" not in said
    assert done.stdout == b""
    assert took_s < LIMIT_S + START_S


def test_a_query_for_which_duckdb_finds_no_memory_says_how_to_allow_more(state: Path) -> None:
    done, _ = asked(state, "SELECT list(range) FROM range(50000000)", "--memory-mb", "32")
    assert done.returncode == 1
    assert "--memory-mb" in done.stderr.decode()


def test_what_duckdb_does_not_count_is_held_to_the_memory_limit(state: Path) -> None:
    done, _ = asked(state, "SELECT length(repeat('x', 3000000000))", "--memory-mb", "64")
    assert done.returncode == 1
    assert "took more memory than it may" in done.stderr.decode()


def test_an_export_that_is_ended_leaves_no_file(state: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    text = "SELECT n, repeat('x', 1000 + n % 7) FROM range(100000000) AS t(n)"
    done, _ = asked(state, text, "--timeout", "1", "--format", "csv", "-o", str(file))
    assert done.returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize("form", ["parquet", "arrow", "csv", "json"])
def test_an_export_that_fails_leaves_no_file(state: Path, tmp_path: Path, form: str) -> None:
    done, _ = asked(state, "SELECT error('no') FROM range(10)", "--format", form, "-o", str(tmp_path / "out"))
    assert (done.returncode, done.stderr.count(b"k2ctl: ")) == (2, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_type_that_parquet_lacks_is_named_and_leaves_no_file(state: Path, tmp_path: Path) -> None:
    done, _ = asked(state, "SELECT INTERVAL '1 day' AS kept", "--format", "parquet", "-o", str(tmp_path / "out"))
    assert done.returncode == 2
    assert b"Parquet has no type for: kept" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_reader_that_has_gone_ends_a_query_quietly(state: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "k2ctl", "query", "sql", "SELECT * FROM range(100000000)", "--format", "csv"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "K2CTL_HOME": str(state)},
    ) as running:
        assert running.stdout
        assert running.stderr
        assert running.stdout.readline() == b"range\n"
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 141


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_query_whose_whole_group_gets_a_signal_says_so(state: Path, number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "k2ctl", "query", "sql", ENDLESS["recursion"], "--timeout", "250"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "K2CTL_HOME": str(state)},
        start_new_session=True,
    ) as running:
        until(lambda: any(child.cpu_times().user > 1.0 for child in psutil.Process(running.pid).children()))
        os.killpg(running.pid, number)
        out, err = running.communicate(timeout=30)
    assert out == b""
    assert err == b"k2ctl: Interrupted.\n"
    assert running.returncode == 130


def test_a_query_that_gets_a_signal_says_so_and_leaves_no_process(state: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "k2ctl", "query", "sql", "SELECT * FROM range(10000000000)", "--format", "csv"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "K2CTL_HOME": str(state)},
    ) as running:
        assert running.stdout
        assert running.stderr
        assert running.stdout.readline() == b"range\n"
        running.terminate()
        while running.stdout.read(1 << 16):
            pass  # the pipe ends when nobody holds it any more
        assert running.stderr.read().count(b"Interrupted.") == 1
    assert running.returncode == 130
