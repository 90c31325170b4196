"""The whole way on the real services, as an operator goes it: one test, from `up` to `down`, with a consumer killed."""

import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from k2ctl.endpoints import Endpoints, load_endpoints
from k2ctl.home import Home
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.stack import fleet
from k2ctl.stack.docker.instance import load_instance
from tests.support import docker_engine
from tests.support.cli import run
from tests.support.independent_reader import Sources, assert_stored_once
from tests.support.polling import until

UP = ("stack", "up", "--engine", "docker", "--port", "auto", "--without", docker_engine.NOT_TO_BE_HAD)
TOPIC = "market.equities.trades.asx"
BOTH = {"consumer-1", "consumer-2"}
LOAD = ("load", "--rate", "2000", "--duration", "25", "--duplicates", "0.02", "--json")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Docker; whatever the test leaves of its stack goes."""
    found = docker_engine.connect()
    monkeypatch.setenv("K2_PROJECT", docker_engine.project_name())
    yield found
    instance = load_instance(Home.of_user())
    if instance is not None:
        docker_engine.remove_all(found, f"io.k2ctl.instance={instance.id}")


def succeed(*arguments: str) -> str:
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def consumers() -> dict[str, fleet.Member]:
    endpoints = load_endpoints(Home.of_user())
    assert endpoints is not None
    return {member.name: member for member in fleet.look(endpoints, 0.6)}


def assigned_to(name: str) -> int:
    return len(consumers()[name].partitions)


def asked(query: str) -> list[dict[str, Any]]:
    """What the stack's own Prometheus answers."""
    instance = load_instance(Home.of_user())
    assert instance is not None
    url = f"http://127.0.0.1:{instance.ports['prometheus']}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return list(json.load(answer)["data"]["result"])


def up_of(job: str) -> list[str]:
    return [found["value"][1] for found in asked(f'up{{job="{job}"}}')]


def assert_balanced(endpoints: Endpoints, stored: int) -> None:
    with Lake.at(endpoints) as lake:
        checkpoints = checkpoints_of(lake.table())
    assert checkpoints.total().balanced
    assert checkpoints.total().stored == stored
    assert checkpoints.ledger.entries == ()


def assert_a_second_up_changes_nothing() -> None:
    started_s = time.monotonic()
    reported = succeed(*UP)
    assert time.monotonic() - started_s < 6, "under 2 s on a machine with nothing else to do"
    assert "nothing changed" in reported


@pytest.mark.slow
def test_a_stack_is_used_loses_a_consumer_and_keeps_every_trade_once(client: Any) -> None:
    started_s = time.monotonic()
    succeed(*UP)
    assert time.monotonic() - started_s < 45
    instance = load_instance(Home.of_user())
    assert instance is not None
    label = f"io.k2ctl.instance={instance.id}"
    assert_a_second_up_changes_nothing()
    started = json.loads(succeed("consume", "--detach", "--replicas", "2", "--json"))
    assert {member["name"] for member in started} == BOTH
    load = subprocess.Popen([sys.executable, "-m", "k2ctl", *LOAD], stdout=subprocess.PIPE, text=True)
    try:
        until(lambda: all(assigned_to(name) == 6 for name in BOTH), why=consumers)
        until(lambda: up_of("k2-consumer") == ["1", "1"])
        assert {found["value"][1] for found in asked("k2_degradation_level")} == {"0"}

        client.containers.get(started[0]["container"]).kill()
        until(lambda: assigned_to("consumer-2") == 12, 30, consumers)
        reported = run("consume", "status", "--json")
        assert (reported.returncode, json.loads(reported.stdout)[0]["state"]) == (3, "exited")
        status = json.loads(succeed("watch", "--once", "--json"))
        assert status["level"] == "NORMAL"
        assert status["seen"] >= status["stored"] > 0
        answer = run("query", "recent", "BHP", "--window", "15m", "--format", "json")
        rows = json.loads(answer.stdout)
        assert len({row["message_id"] for row in rows}) == len(rows) > 0
        assert "complete" in answer.stderr, answer.stderr

        succeed("consume", "scale", "2")
        until(lambda: all(assigned_to(name) == 6 for name in BOTH), why=consumers)
        assert "NORMAL  lag" in succeed("stack", "logs", "consumer-2")
        loaded = json.loads(load.communicate(timeout=90)[0].splitlines()[-1])
    finally:
        load.kill()
        load.wait()
    until(lambda: not any(member.lag_trades for member in consumers().values()), why=consumers)
    succeed("consume", "stop", "--all")
    verified = json.loads(succeed("verify", "--json"))
    assert verified["holds"]
    assert (verified["in_tail"], verified["acknowledged"]) == (0, loaded["trades_acknowledged"])
    endpoints = load_endpoints(Home.of_user())
    assert endpoints is not None
    assert assert_stored_once(Sources.of(endpoints), TOPIC) == verified["copies"] > 0
    assert_balanced(endpoints, verified["expected"])

    succeed(*UP, "--service", "api")
    until(lambda: up_of("k2-api") == ["1"])
    assert_a_second_up_changes_nothing()
    succeed("stack", "down", "--volumes", "--yes")
    assert docker_engine.left_of(client, label) == []
