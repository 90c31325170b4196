"""The main job: load, consume, kill, reconcile; and the real trades from end to end."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.acceptance.test_cli import run


def test_the_quick_demo_holds_and_leaves_nothing_behind(home: Path) -> None:
    started_s = time.monotonic()
    done = run("demo", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["held"]
    assert len(told["checks"]) == 7
    assert time.monotonic() - started_s < 60
    assert list(home.iterdir()) == []


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
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    run("stack", "down")
    summary = json.loads(out)
    assert process.returncode == 130
    assert summary["interrupted"]
    assert summary["trades_acknowledged"] > 0
