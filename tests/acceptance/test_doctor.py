"""`k2ctl doctor` on a machine in order, and on what people meet: each fault is found, named and helped."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from k2ctl.endpoints import load_endpoints
from k2ctl.home import Home
from k2ctl.stack import lifecycle
from k2ctl.stack.processes_engine import control_socket_path
from tests.support.cli import run


@pytest.fixture(autouse=True)
def _stack_is_down_afterwards(home: Path) -> Iterator[None]:
    yield
    if home.is_dir():
        lifecycle.down(volumes=False, home=Home.of_user())


def doctor(*arguments: str, **environment: str) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit code, and each check by its name."""
    done = run("doctor", "--json", *arguments, **environment)
    return done.returncode, {check["check"]: check for check in json.loads(done.stdout)}


def kafka_pid() -> int:
    endpoints = load_endpoints(Home.of_user())
    assert endpoints is not None
    return endpoints.processes["kafka"].pid


def test_a_stack_in_order_has_nothing_wrong_and_other_engines_are_notes() -> None:
    run("stack", "up")
    run("load", "--rate", "2k", "--duration", "1")
    run("consume", "--until-caught-up")
    code, found = doctor(DOCKER_HOST="unix:///nowhere/docker.sock")
    assert code == 0
    assert found["service kafka"]["state"] == found["service catalog"]["state"] == found["balance"]["state"] == "ok"
    assert found["engine docker"]["state"] == "note"
    assert found["engine docker"]["help"]


def test_an_engine_that_is_judged_must_fit() -> None:
    code, found = doctor("--engine", "docker", DOCKER_HOST="unix:///nowhere/docker.sock")
    assert code == 3
    assert found["engine docker"]["state"] == "wrong"
    assert "engine local" not in found
    assert run("doctor", "--engine", "abacus").returncode == 2


def test_a_state_directory_that_cannot_be_is_the_only_thing_to_say(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, found = doctor(K2CTL_HOME=str(tmp_path / "file"))
    assert code == 3
    assert found["state directory"]["state"] == "wrong"
    assert "K2CTL_HOME" in found["state directory"]["help"]
    assert run("stack", "up", K2CTL_HOME=str(tmp_path / "file")).returncode == 3


def test_a_state_directory_that_others_can_read_is_a_note(home: Path) -> None:
    home.chmod(0o755)
    code, found = doctor()
    assert code == 0
    assert found["state directory"]["state"] == "note"
    assert found["state directory"]["help"] == f"chmod 700 {home}"


def test_a_service_that_died_is_named_with_the_command_that_starts_it_again() -> None:
    run("stack", "up")
    os.kill(kafka_pid(), signal.SIGKILL)
    code, found = doctor()
    assert code == 3
    assert found["service kafka"]["state"] == "wrong"
    assert "k2ctl stack up --engine embedded" in found["service kafka"]["help"]
    assert "clock" not in found
    assert "✗ service kafka" in run("doctor").stdout


def test_endpoints_that_cannot_be_read_are_reported(home: Path) -> None:
    (home / "endpoints.json").write_text("{")
    code, found = doctor()
    assert code == 3
    assert found["endpoints"]["state"] == "wrong"


def test_a_server_that_no_stack_knows_is_found_and_another_directorys_is_not(home: Path, tmp_path: Path) -> None:
    def serve(folder: Path) -> "subprocess.Popen[bytes]":
        command = [
            sys.executable,
            "-m",
            "k2ctl.kafka.embedded",
            str(folder / control_socket_path(Home.of_user()).name),
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    (tmp_path / "other").mkdir()
    ours, others = serve(control_socket_path(Home.of_user()).parent), serve(tmp_path / "other")
    try:
        code, found = doctor()
        assert code == 3
        assert found["leftover kafka"]["help"] == f"kill {ours.pid}"
        assert str(others.pid) not in json.dumps(found)
    finally:
        for process in (ours, others):
            process.kill()
            process.communicate()


def test_a_consumer_that_was_killed_is_named() -> None:
    run("stack", "up")
    run("load", "--rate", "1k", "--duration", "1")
    run("consume", "--detach")
    consumer = json.loads((Path(os.environ["K2CTL_HOME"]) / "consumers" / "consumer-1.json").read_text())
    os.kill(consumer["process"][0], signal.SIGKILL)
    code, found = doctor()
    assert code == 3
    assert found["consumer-1"]["state"] == "wrong"
    assert "k2ctl consume scale 1" in found["consumer-1"]["help"]
