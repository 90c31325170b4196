"""Consumers in the background: started, seen, scaled, stopped, and never unnoticed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from k2ctl.cli import main
from k2ctl.endpoints import Endpoints, load_endpoints
from k2ctl.errors import ExitCode
from k2ctl.home import Home
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.stack import fleet
from k2ctl.stack.replicas import records
from tests.support.cli import run, stack_is_down
from tests.support.independent_reader import Sources, assert_stored_once
from tests.support.polling import until

PARTITIONS = 12


@pytest.fixture(autouse=True)
def _stack_up_and_down(home: Path) -> object:
    assert run("stack", "up").returncode == 0
    yield
    stack_is_down()
    assert not any(record.alive for record in records(Home.of_user()))


def look() -> list[fleet.Member]:
    endpoints = load_endpoints(Home.of_user())
    assert endpoints is not None
    return fleet.look(endpoints, 0.6)


def until_held(expected: dict[str, int]) -> None:
    """Wait until each consumer says that it holds so many partitions, and has read all of them."""
    found: list[fleet.Member] = []

    def held() -> bool:
        found[:] = look()
        return {m.name: len(m.partitions) for m in found} == expected and not any(m.lag_trades for m in found)

    until(held, 40, lambda: found)


def stored_once(endpoints: Endpoints | None) -> int:
    """How many trades the table holds, each that Kafka holds once."""
    assert endpoints is not None
    assert assert_stored_once(Sources.of(endpoints), "market.equities.trades.asx") == 0
    with Lake.at(endpoints) as lake:
        total = checkpoints_of(lake.table()).total()
    assert total.balanced
    return total.stored


def test_consumers_are_detached_seen_scaled_and_stopped_and_store_everything() -> None:
    started = run("consume", "--detach", "--replicas", "2", "--json")
    assert started.returncode == 0, started.stderr
    assert {member["name"] for member in json.loads(started.stdout)} == {"consumer-1", "consumer-2"}
    until_held({"consumer-1": 6, "consumer-2": 6})
    loaded = json.loads(run("load", "--rate", "4k", "--duration", "3", "--json").stdout.splitlines()[-1])
    assert run("consume", "scale", "3").returncode == 0
    until_held({"consumer-1": 4, "consumer-2": 4, "consumer-3": 4})
    assert "NORMAL  lag" in run("stack", "logs", "consumer-1").stdout
    stopped = json.loads(run("consume", "stop", "consumer-2", "--json").stdout)
    assert [(member["name"], member["state"]) for member in stopped] == [("consumer-2", "exited")]
    until_held({"consumer-1": 6, "consumer-3": 6})
    ended = json.loads(run("consume", "stop", "--all", "--json").stdout)
    done = [member["done"]["stored"] for member in [*stopped, *ended]]
    assert sum(done) == stored_once(load_endpoints(Home.of_user())) == loaded["trades_acknowledged"]
    assert look() == []


def test_one_that_was_killed_is_seen_and_its_name_is_used_again() -> None:
    run("consume", "--detach")
    os.kill(records(Home.of_user())[0].process.pid, signal.SIGKILL)
    dead = run("consume", "status", "--json")
    assert (dead.returncode, json.loads(dead.stdout)[0]["state"]) == (3, "exited")
    assert run("consume", "scale", "1").returncode == 0
    until_held({"consumer-1": PARTITIONS})


@pytest.mark.slow
def test_down_ends_consumers_after_their_commit() -> None:
    run("consume", "--detach", "--replicas", "2")
    loaded = json.loads(run("load", "--rate", "4k", "--duration", "1", "--json").stdout.splitlines()[-1])
    until_held({"consumer-1": 6, "consumer-2": 6})
    endpoints = load_endpoints(Home.of_user())
    assert endpoints is not None
    run("stack", "down")
    assert not any(record.alive for record in records(Home.of_user()))
    with Lake.at(endpoints) as lake:
        total = checkpoints_of(lake.table()).total()
    assert total.balanced
    assert total.stored == loaded["trades_acknowledged"]


@pytest.mark.slow
def test_whoever_starts_them_may_be_killed_and_none_runs_unnoticed() -> None:
    starter = subprocess.Popen(
        [sys.executable, "-m", "k2ctl", "consume", "--detach", "--replicas", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(random.uniform(0.3, 2.0))
    starter.kill()
    starter.wait()
    assert run("consume", "scale", "2").returncode == 0
    until_held({"consumer-1": 6, "consumer-2": 6})
    assert len(json.loads(run("consume", "stop", "--all", "--json").stdout)) == 2


def test_scale_waits_for_those_that_are_starting_and_counts_them() -> None:
    """Whoever started them is killed as soon as both are there: neither has written itself down by then."""
    starter = subprocess.Popen(
        [sys.executable, "-m", "k2ctl", "consume", "--detach", "--replicas", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: len(psutil.Process(starter.pid).children()) == 2, every_s=0.001)
    starter.kill()
    starter.wait()
    assert records(Home.of_user()) == []
    scaled = run("consume", "scale", "2", "--json")
    assert [(one["name"], one["state"]) for one in json.loads(scaled.stdout)] == [
        ("consumer-1", "running"), ("consumer-2", "running"),
    ]  # fmt: skip
    assert len(json.loads(run("consume", "stop", "--all", "--json").stdout)) == 2


def test_what_cannot_be_is_said_with_the_next_command(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["--replicas", "2"], "--detach --replicas 2"),
        (["--detach", "--rebase"], "--rebase"),
        (["stop"], "--all"),
        (["stop", "consumer-9"], "consumer-9"),
        (["--group", "--name", "../x"], "letters"),
    ):
        assert main(["consume", *arguments]) == ExitCode.USAGE
        assert said in capsys.readouterr().err
