"""`k2ctl stack` through its whole life, and after its death."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from k2ctl.endpoints import ProcessId, load_endpoints
from k2ctl.home import Home
from k2ctl.stack.processes import is_alive
from tests.support.cli import run, stack_is_down
from tests.support.other_user import CONNECT, READ, as_nobody, reachable


@pytest.fixture(autouse=True)
def _stack_is_down_afterwards(home: Path) -> object:
    yield
    stack_is_down()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's, wherever tests run."""
    with TemporaryDirectory(prefix="k2-", dir="/tmp") as folder:
        yield Path(folder)


def kafka() -> ProcessId:
    endpoints = load_endpoints(Home.of_user())
    assert endpoints is not None
    return endpoints.processes["kafka"]


def servers_of(home: Path) -> list[int]:
    """Embedded Kafkas of a state directory."""
    found = psutil.process_iter(["cmdline"])
    return [one.pid for one in found if str(home / "kafka.sock") in (one.info["cmdline"] or [])]


def test_up_twice_says_that_it_runs_and_changes_nothing() -> None:
    assert "is up" in run("stack", "up").stdout
    process = kafka()
    again = run("stack", "up")
    assert again.returncode == 0
    assert "runs already" in again.stdout
    assert kafka() == process


def test_status_is_healthy_and_then_gone() -> None:
    run("stack", "up")
    services = json.loads(run("stack", "status", "--json").stdout)
    assert {(service["service"], service["health"]) for service in services} == {
        ("kafka", "healthy"),
        ("catalog", "healthy"),
    }
    os.kill(kafka().pid, signal.SIGKILL)
    dead = run("stack", "status")
    assert dead.returncode == 3
    assert "exited" in dead.stdout


def test_a_stack_that_died_is_cleared_away_and_started_again() -> None:
    run("stack", "up")
    os.kill(kafka().pid, signal.SIGKILL)
    again = run("stack", "up")
    assert again.returncode == 0
    assert "had died" in again.stdout
    assert run("stack", "status").returncode == 0


def test_a_process_with_the_same_number_is_not_ours(home: Path) -> None:
    run("stack", "up")
    ours = kafka()
    run("stack", "down")
    file = home / "endpoints.json"
    file.write_text(json.dumps({
        "engine": "embedded", "bootstrap_servers": "127.0.0.1:1", "catalog_uri": "sqlite://", "warehouse": "",
        "processes": {"kafka": [os.getpid(), 1.0]},
    }))  # fmt: skip
    assert run("stack", "down").returncode == 0
    assert psutil.pid_exists(os.getpid())
    assert not is_alive(ours)


def test_a_damaged_state_file_is_reported_and_repaired(home: Path) -> None:
    (home / "endpoints.json").write_text("{half")
    reported = run("watch", "--once")
    assert reported.returncode == 3
    assert "k2ctl stack down" in reported.stderr
    assert run("stack", "up").returncode == 0


@pytest.mark.parametrize("then", ["up", "down"])
def test_a_stack_whose_endpoints_were_damaged_leaves_no_process_behind(home: Path, then: str) -> None:
    run("stack", "up")
    run("load", "--rate", "1k", "--duration", "1")
    run("consume", "--detach")
    server = kafka()
    consumer = json.loads((home / "consumers" / "consumer-1.json").read_text())["process"]
    (home / "endpoints.json").write_text("{half")
    assert run("stack", then).returncode == 0
    assert not is_alive(server)
    assert not is_alive(ProcessId(*consumer))
    assert len(servers_of(home)) == (then == "up")


@pytest.mark.parametrize("then", ["up", "down"])
def test_a_server_of_an_up_that_was_killed_before_it_wrote_it_down_is_ended(home: Path, then: str) -> None:
    command = [sys.executable, "-m", "k2ctl.kafka.embedded", str(home / "kafka.sock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        assert run("stack", then).returncode == 0
        assert server.wait(10) == 0
    assert len(servers_of(home)) == (then == "up")


def test_down_keeps_the_lake_and_volumes_deletes_it(home: Path) -> None:
    run("stack", "up")
    run("consume", "--until-caught-up")
    run("stack", "down")
    assert (home / "lake" / "catalog.db").exists()
    run("stack", "up")
    assert run("stack", "down", "--volumes", "--yes").returncode == 0
    assert not (home / "lake").exists()


def test_two_ups_at_once_make_one_stack() -> None:
    both = [
        subprocess.Popen([sys.executable, "-m", "k2ctl", "stack", "up"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60) for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes[0] == 0, outputs
    assert codes[1] in (0, 3)
    home = os.environ["K2CTL_HOME"]
    ours = [p for p in psutil.process_iter(["cmdline"]) if any(home in part for part in p.info["cmdline"] or [])]
    assert len(ours) == 1


def test_an_up_that_is_killed_in_the_middle_is_put_right_by_the_next() -> None:
    for delay_s in (0.3, 0.6, 0.9, 1.2):
        process = subprocess.Popen([sys.executable, "-m", "k2ctl", "stack", "up"], stdout=-3, stderr=-3)
        try:
            process.wait(delay_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert run("stack", "up").returncode == 0
    assert run("stack", "status").returncode == 0


def test_what_the_old_kafka_held_unread_is_reported_as_lost() -> None:
    run("stack", "up")
    run("consume", "--until-caught-up")
    run("load", "--rate", "2000", "--duration", "1")
    run("stack", "down")
    run("stack", "up")
    consumed = run("consume", "--until-caught-up")
    assert "2,000 records of it were unread and are lost" in " ".join(consumed.stderr.split())


def test_the_table_tells_another_state_directory_what_the_old_kafka_held_unread(home: Path, tmp_path: Path) -> None:
    run("stack", "up")
    run("load", "--rate", "2000", "--duration", "1")
    run("stack", "down")
    run("stack", "up")
    another = {"K2CTL_HOME": str(tmp_path / "another"), "K2CTL_ENDPOINTS": str(home / "endpoints.json")}
    consumed = run("consume", "--until-caught-up", **another)
    assert "2,000 records of it were unread and are lost" in " ".join(consumed.stderr.split())
    assert json.loads(run("lake", "status", "--json").stdout)["total"]["lost"] == 2_000


def test_a_long_path_still_has_room_for_the_socket(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 120)
    try:
        assert run("stack", "up", K2CTL_HOME=str(long)).returncode == 0
    finally:
        assert run("stack", "down", K2CTL_HOME=str(long)).returncode == 0


def test_a_socket_folder_that_another_user_made_first_is_refused(tmp_path: Path, short_folder: Path) -> None:
    theirs = short_folder / f"k2ctl-{os.geteuid()}"
    theirs.mkdir()
    theirs.chmod(0o755)  # whatever the umask
    refused = run("stack", "up", K2CTL_HOME=str(tmp_path / ("x" * 120)), XDG_RUNTIME_DIR=str(short_folder))
    assert "is open to others" in refused.stderr
    assert "chmod 700" in refused.stderr
    assert (refused.returncode, refused.stderr.count("\n")) == (3, 2), refused.stderr


def test_another_user_can_neither_look_into_the_state_nor_reach_a_socket(short_folder: Path) -> None:
    home = short_folder / "of-this-user"
    before = os.umask(0)
    try:
        up = run("stack", "up", K2CTL_HOME=str(home))
        assert "Every user of this machine can read and write this Kafka" in up.stdout
        run("load", "--rate", "1k", "--duration", "1", K2CTL_HOME=str(home))
        run("consume", "--until-caught-up", K2CTL_HOME=str(home))
        reachable(home)
        assert as_nobody(CONNECT, home / "kafka.sock") == "PermissionError"
        assert as_nobody(READ, home, *home.iterdir()) == ""
        home.chmod(0o755)  # as a person may have made it
        assert as_nobody(CONNECT, home / "kafka.sock") == "PermissionError"
        assert as_nobody(READ, *(home / name for name in ("endpoints.json", "lake", "logs", "acknowledged"))) == ""
    finally:
        os.umask(before)
        run("stack", "down", K2CTL_HOME=str(home))
