"""Trades as they arrive, at the end of a pipe and on a terminal with a pause key."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from k2ctl.domain.topics import trades_topic
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.kafka.admin import BrokerAdmin
from tests.made_trades import make_trades, produce_trades
from tests.support.cli import called
from tests.support.platforms import with_lake
from tests.support.terminal import Terminal

TOPIC = trades_topic("equities", "ASX")


@pytest.fixture
def stack(embedded_stack: Endpoints, home: Path) -> Endpoints:
    endpoints = with_lake(embedded_stack, home)
    save_endpoints(endpoints)
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(TOPIC, 4)
    return endpoints


def send(endpoints: Endpoints, symbol: str, first: int, count: int) -> None:
    made = make_trades(count, first)
    made["symbol"] = symbol.encode()
    produce_trades(endpoints, TOPIC, made)


def test_a_pipe_gets_an_object_a_line_until_ctrl_c(stack: Endpoints) -> None:
    command = [sys.executable, "-m", "k2ctl", "query", "follow", "S501", "--json", "--where", "trade_id <> 901"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        assert "followed all the same" in following.stderr.readline()
        send(stack, "S501", 900, 3)
        assert [json.loads(following.stdout.readline())["trade_id"] for _ in range(2)] == [900, 902]
        following.send_signal(signal.SIGINT)
        out, err = following.communicate(timeout=30)
    assert (following.returncode, out, err) == (0, "", "")


def test_it_ends_with_its_reader(stack: Endpoints) -> None:
    send(stack, "S501", 700, 3)
    command = f"{sys.executable} -m k2ctl query follow S501 --window 1h --json | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(done.stdout)["symbol"] == "S501"
    assert done.stderr == ""


def test_the_space_bar_pauses_and_q_ends(stack: Endpoints) -> None:
    terminal = Terminal("query", "follow", "S502")
    terminal.shows("The space bar pauses, q ends.")
    send(stack, "S502", 500, 1)
    terminal.shows("S502 ")
    terminal.types(" ")
    terminal.shows("paused, 0 trades")
    send(stack, "S502", 501, 2)
    assert "S502 " not in terminal.shows("paused, 2 trades")
    terminal.types(" ")
    terminal.shows("S502 ")
    terminal.shows("S502 ")
    terminal.types("q")
    terminal.shows("3 trades in")
    assert terminal.ends() == 0


def test_the_tail_of_a_topic_pauses_by_the_same_keys(stack: Endpoints) -> None:
    terminal = Terminal("topic", "tail", TOPIC, "-f", "-n", "0")
    terminal.shows("The space bar pauses, q ends.")
    terminal.types(" ")
    terminal.shows("paused, 0 records")
    send(stack, "S503", 500, 2)
    assert "S503 " not in terminal.shows("paused, 2 records")
    terminal.types(" ")
    terminal.shows("S503")
    terminal.types("q")
    assert terminal.ends() == 0


def test_a_symbol_in_lower_case_is_the_one_that_is_stored(stack: Endpoints, capsys: pytest.CaptureFixture[str]) -> None:
    send(stack, "S504", 600, 2)
    for command in (["recent"], ["ohlcv", "--bar", "1h"], ["explain"]):
        code, shown, _ = called(capsys, "query", *command[:1], "s504", *command[1:], "--window", "all")
        assert (code, "S504" in shown or "2 rows" in shown) == (0, True)
    rows = json.loads(called(capsys, "query", "recent", "s504", "--window", "all", "--json")[1])
    assert {row["symbol"] for row in rows} == {"S504"}
    following = ["query", "follow", "s504", "--window", "1h", "--limit", "1", "--format", "csv"]
    heading, row = called(capsys, *following)[1].splitlines()
    assert row.split(",")[heading.split(",").index("symbol")] == "S504"
