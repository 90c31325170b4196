"""A stack whose topics others have made, whose profile is named from another folder, whose folder was moved."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from confluent_kafka import Producer

from k2ctl.domain.topics import TELEMETRY, trades_topic
from k2ctl.endpoints import require_endpoints
from k2ctl.errors import ExitCode
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from tests.support.cli import run, stack_is_down
from tests.support.polling import until

TOPIC = trades_topic("crypto", "BINANCE")


@pytest.fixture(autouse=True)
def _stack_is_down_afterwards(home: Path) -> Iterator[None]:
    yield
    stack_is_down()


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """A market of JSON trades, in a folder of its own."""
    path = tmp_path / "folder" / "json.yaml"
    path.parent.mkdir()
    market = {"asset_class": "crypto", "exchange": "BINANCE", "currency": "USD"}
    path.write_text(yaml.safe_dump({"base": "laptop", "market": market, "topic": {"format": "json"}}))
    return path


def trade(number: int) -> bytes:
    return json.dumps(
        {
            "message_id": f"00000000-0000-4000-8000-{number:012}", "trade_id": number, "symbol": f"S{number % 7}",
            "exchange": "BINANCE", "currency": "USD", "asset_class": "crypto", "side": "BUY", "price": "1",
            "quantity": "1", "timestamp": 1767225600000000 + number, "ingestion_timestamp": 1767225600000000,
        }
    ).encode()  # fmt: skip


def produce(topic: str, values: list[bytes]) -> None:
    """As anybody's client does, which makes the topic when it is missing."""
    producer = Producer({"bootstrap.servers": require_endpoints(Home.of_user()).bootstrap_servers})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0


def test_trades_that_were_produced_before_the_first_consume_are_consumed_and_more_are_loaded(profile: Path) -> None:
    assert run("stack", "up", "--profile", str(profile)).returncode == 0
    produce(TOPIC, [trade(number) for number in range(100)])
    for topic in (f"{TOPIC}.dlq", "market.crypto.reference.binance", TELEMETRY):
        produce(topic, [b""])  # so that these have another size, too
    with BrokerAdmin(require_endpoints(Home.of_user())) as admin:
        assert admin.topics()[TOPIC] == 4
    first = run("consume", "--until-caught-up", "--json")
    assert (first.returncode, json.loads(first.stdout)["stored"]) == (0, 100), first.stderr
    loaded = run("load", "--rate", "1k", "--duration", "2", "--json")
    assert json.loads(loaded.stdout)["trades_acknowledged"] == 2000, loaded.stderr
    second = run("consume", "--until-caught-up", "--json")
    assert json.loads(second.stdout)["stored"] == 2000
    assert run("verify").returncode == 0


def test_consumers_speak_and_reference_data_is_read_where_others_have_made_these_topics(profile: Path) -> None:
    run("stack", "up", "--profile", str(profile))
    for topic in ("market.crypto.reference.binance", TELEMETRY):
        produce(topic, [b""])
    assert run("consume", "--detach").returncode == 0
    member = json.loads(run("consume", "status", "--json").stdout)[0]
    assert (member["state"], member["level"]) == ("running", "NORMAL")
    assert json.loads(run("load", "--rate", "1k", "--duration", "1", "--json").stdout)["trades_acknowledged"] == 1000
    until(lambda: references() >= 500, every_s=0.5)
    run("consume", "stop", "--all")
    assert references() == 500


def references() -> int:
    """How many symbols the reference table holds."""
    rows = run("query", "sql", "SELECT count(*) AS n FROM reference", "--format", "json")
    return int(json.loads(rows.stdout)[0]["n"]) if rows.returncode == 0 else 0


@pytest.mark.slow
def test_a_relative_profile_is_found_from_every_folder(profile: Path, tmp_path: Path) -> None:
    def in_folder(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "k2ctl", *arguments]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)

    assert in_folder(profile.parent, "stack", "up", "--profile", "json.yaml").returncode == 0
    assert require_endpoints(Home.of_user()).profile == str(profile)
    assert in_folder(profile.parent, "consume", "--detach", "--profile", "./json.yaml").returncode == 0
    scaled = in_folder(tmp_path, "consume", "scale", "2")
    assert scaled.returncode == 0, scaled.stderr
    assert in_folder(tmp_path, "load", "--rate", "1k", "--duration", "1").returncode == 0
    assert in_folder(Path("/"), "query", "recent", "BHP").returncode == 0


def test_a_relative_state_directory_is_found_from_every_folder(home: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "k2ctl", "stack", "up"]
    environment = {**os.environ, "K2CTL_HOME": "home"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=120, capture_output=True)
    assert run("load", "--rate", "1k", "--duration", "1").returncode == 0
    assert run("consume", "--until-caught-up").returncode == 0


@pytest.mark.slow
def test_a_state_directory_that_was_moved_says_so_and_a_link_makes_it_whole(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("stack", "up")
    run("load", "--rate", "1k", "--duration", "1")
    run("consume", "--until-caught-up")
    moved = tmp_path / "moved"
    home.rename(moved)
    monkeypatch.setenv("K2CTL_HOME", str(moved))
    for command in ("consume", "load", "query recent BHP", "stack status", "stack up", "verify"):
        refused = run(*command.split())
        assert refused.returncode == ExitCode.UNHEALTHY
        assert f"was moved from {home} to {moved}" in refused.stderr
        assert f"ln -s '{moved}' '{home}'" in refused.stderr
    home.symlink_to(moved)
    assert run("verify").returncode == 0
    assert run("stack", "down").returncode == 0
    home.unlink()
    assert "was moved from" in run("stack", "up").stderr
    moved.rename(home)
    monkeypatch.setenv("K2CTL_HOME", str(home))
    assert run("stack", "up").returncode == 0
    rows = run("query", "sql", "SELECT count(*) AS n FROM trades", "--format", "json")
    assert json.loads(rows.stdout)[0]["n"] == 1000


@pytest.mark.slow
def test_a_copy_of_a_state_directory_does_not_take_the_stack_of_the_other_for_its_own(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("stack", "up")
    shutil.copytree(home, tmp_path / "copy", ignore=shutil.ignore_patterns("*.sock"))
    monkeypatch.setenv("K2CTL_HOME", str(tmp_path / "copy"))
    refused = run("consume", "--until-caught-up")
    assert refused.returncode == ExitCode.UNHEALTHY
    assert f"is a copy of the state directory {home}" in refused.stderr
    monkeypatch.setenv("K2CTL_HOME", str(home))
    assert run("consume", "--until-caught-up").returncode == 0
