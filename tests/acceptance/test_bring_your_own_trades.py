"""What the README tells a new user to type, with a file and a topic of a venue: typed as it stands there."""

import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from confluent_kafka import Producer

from k2ctl.endpoints import load_endpoints
from k2ctl.home import Home
from tests.support.cli import run, stack_is_down

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("## Bring your own trades")[2].partition("\n## ")[0]
BLOCKS = [
    re.findall(r"^    (k2ctl .*)$", block, re.M) for block in re.split(r"\n(?=\S)", SECTION) if "    k2ctl " in block
]
FIRST_US = 1_735_689_600_010_866
ARCHIVE = "BTCUSDT-trades-2025-01-01"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield
    run("consume", "stop")
    stack_is_down()


def typed(line: str) -> str:
    """What a line of the README prints, with k2ctl as it is installed here."""
    command = line.partition("  #")[0].strip()
    words = shlex.split(command)
    to = words.index(">") if ">" in words else len(words)
    done = subprocess.run(
        [sys.executable, "-m", "k2ctl", *words[1:to]], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    if to < len(words):
        Path(words[to + 1]).write_text(done.stdout, encoding="utf-8")
    return done.stdout


def test_a_file_of_an_archive_is_bars_after_four_commands() -> None:
    up, consume, load, query = BLOCKS[0]
    lines = [
        f"{4435512345 + at},{93000 + at % 7}.01000000,0.50000000,1,{FIRST_US + at * 1_000_000},{at % 2 == 0},True\n"
        for at in range(7200)
    ]
    with zipfile.ZipFile(f"{ARCHIVE}.zip", "w") as packed:
        packed.writestr(f"{ARCHIVE}.csv", "".join(lines))
    for line in (up, consume, load):
        typed(line)
    bars = json.loads(typed(f"{query} --json"))
    assert [(bar["bar_start"], bar["open"], bar["trades"]) for bar in bars] == [
        ("2025-01-01T00:00:00.000000Z", "93000.01", 3600),
        ("2025-01-01T01:00:00.000000Z", "93002.01", 3600),
    ]


def test_a_topic_of_json_is_a_table_after_four_commands() -> None:
    _, guess, consume, query = BLOCKS[1]
    typed("k2ctl stack up")
    endpoints = load_endpoints(Home.of_user())
    assert endpoints is not None
    producer = Producer({"bootstrap.servers": endpoints.bootstrap_servers})
    for at in range(500):
        message = {"e": "trade", "s": "ETHUSDT", "t": at + 1, "p": "3300.10", "q": "0.2", "T": FIRST_US // 1000 + at}
        producer.produce("trades.raw", json.dumps({**message, "m": True, "M": True}))
    producer.flush(30)
    for line in (guess, consume):
        typed(line)
    assert json.loads(typed(f"{query} --format json")) == [
        {"symbol": "ETHUSDT", "count_star()": 500, "sum((price * quantity))": "330010"}
    ]
