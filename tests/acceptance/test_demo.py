"""The main job: load, consume, kill, reconcile; and the real trades from end to end."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from k2ctl.endpoints import require_endpoints
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from tests.support.cli import run, until_nothing_is_left
from tests.support.polling import until


@pytest.mark.slow
def test_the_quick_demo_holds_in_four_acts_and_leaves_nothing_behind(home: Path) -> None:
    done = run("demo", "--quick", "--json", within_s=180)
    assert done.returncode == 0, done.stderr
    reported = json.loads(done.stdout)
    assert reported["held"]
    assert [len(act["checks"]) for act in reported["acts"]] == [2, 4, 10, 2, 4]
    assert reported["trades"] > 500_000
    assert reported["seconds"] < 120, "60 s where nothing else runs"
    assert list(home.iterdir()) == []


@pytest.mark.by_hand
@pytest.mark.slow
@pytest.mark.parametrize("act", ["1", "2", "3", "4"])
def test_each_act_can_be_played_alone(home: Path, act: str) -> None:
    done = run("demo", "--quick", "--act", act, "--json")
    assert done.returncode == 0, done.stderr
    assert [reported["billing"]["number"] for reported in json.loads(done.stdout)["acts"]] == [int(act), 0]
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "after", "code"),
    [
        (signal.SIGINT, "Starting a stack", 130),
        (signal.SIGTERM, "through the pipeline", 130),
        (signal.SIGKILL, "is queried all the while", -signal.SIGKILL),
    ],
)
def test_a_demo_that_is_ended_leaves_nothing_running(home: Path, number: int, after: str, code: int) -> None:
    """SIGKILL in the middle of the load, with a consumer, load workers and Kafka under way: its cleanup clears up."""
    demo = subprocess.Popen(
        [sys.executable, "-m", "k2ctl", "demo", "--quick", "--act", "2"], stdout=subprocess.PIPE, text=True
    )
    assert demo.stdout is not None
    assert any(after in line for line in demo.stdout)
    time.sleep(0.3)
    demo.send_signal(number)
    demo.stdout.close()
    assert demo.wait(30) == code
    until_nothing_is_left(home)


def test_the_notes_name_every_act() -> None:
    said = run("demo", "notes").stdout
    for title in ("The problem", "The architecture", "The innovations", "Scale and cost"):
        assert title in said


@pytest.mark.slow
def test_the_real_trades_are_stored_whole_and_answered(home: Path, asx: Path) -> None:
    run("stack", "up")
    consumer = subprocess.Popen(
        [sys.executable, "-m", "k2ctl", "consume", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        loaded = json.loads(run("load", "--replay", str(asx), "--json").stdout)
        assert (loaded["trades_acknowledged"], loaded["broken_lines"]) == (200_545, 0)
        consumer.send_signal(signal.SIGINT)
        out, _ = consumer.communicate(timeout=60)
        assert consumer.returncode == 130
        json.loads(out)
        run("consume", "--until-caught-up", "--json")
        again = json.loads(run("consume", "--until-caught-up", "--json").stdout)
        assert (again["table"]["stored"], again["table"]["duplicate"]) == (200_545, 0)
        for symbol, count in {"BHP": 91_631, "RIO": 108_671, "DVN": 232, "MWR": 11}.items():
            answer = run("query", "recent", symbol, "--window", "all", "--format", "csv")
            assert len(answer.stdout.splitlines()) == count + 1
        mwr = json.loads(run("query", "recent", "MWR", "--window", "all", "--format", "json").stdout)
        prices = sorted(float(line.split(",")[2]) for line in (asx / "3153.csv").read_text().splitlines())
        assert sorted(float(row["price"]) for row in mwr) == prices
        run("load", "--replay", str(asx / "3153.csv"), "--json")
        second = json.loads(run("consume", "--until-caught-up", "--json").stdout)
        assert (second["table"]["stored"], second["table"]["duplicate"]) == (200_545, 11)
    finally:
        consumer.kill()
        run("stack", "down")


def test_ctrl_c_ends_a_load_with_its_summary(home: Path) -> None:
    run("stack", "up")
    process = subprocess.Popen(
        [sys.executable, "-m", "k2ctl", "load", "--rate", "1000", "--duration", "60", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with BrokerAdmin(require_endpoints(Home.of_user())) as admin:
        topic = "market.equities.trades.asx"
        until(lambda: topic in admin.topics() and any(mark.high for mark in admin.watermarks(topic).values()))
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    run("stack", "down")
    summary = json.loads(out)
    assert process.returncode == 130
    assert summary["interrupted"]
    assert summary["trades_acknowledged"] > 0
