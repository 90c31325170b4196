"""`k2ctl feed guess` and `check` on a topic that others fill."""

import json
from pathlib import Path
from typing import Any

import pytest

from k2ctl.clock import SystemClock
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.kafka.admin import BrokerAdmin
from tests.made_trades import frames, make_trades, produce_values
from tests.support.cli import called

PARTITIONS = 3


@pytest.fixture
def topic(endpoints: Endpoints, exchange: str) -> str:
    """A topic of a name and with partitions that are not ours."""
    save_endpoints(endpoints)
    name = f"prints.{exchange}"
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(name, PARTITIONS)
    return name


def fill(number: int, **values: Any) -> bytes:
    at = SystemClock().now_us() // 1000
    side = "BUY" if number % 2 else "SELL"
    of_all = {"kind": "fill", "market": {"name": "BTC-USD"}, "px": 20.5, "size": number, "when": at, "no": number,
              "uid": f"{number:08x}-0000-4000-8000-000000000000", "side": side}  # fmt: skip
    return json.dumps({**of_all, **values}).encode()


def produce(endpoints: Endpoints, topic: str, values: list[bytes]) -> None:
    produce_values(endpoints, topic, [(at % PARTITIONS, value) for at, value in enumerate(values)])


def test_what_is_guessed_of_a_topic_is_a_feed_that_its_check_accepts(
    endpoints: Endpoints, topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = json.dumps({"kind": "status", "when": 1}).encode()
    produce(endpoints, topic, [*(fill(number) for number in range(1, 31)), status])
    code, text, said = called(capsys, "feed", "guess", topic)
    assert code == 0
    assert f"k2ctl feed check {topic}" in said
    assert "exchange" in said
    path = tmp_path / "my.yaml"
    path.write_text(text)
    code, out, _ = called(capsys, "feed", "check", topic, "--feed", str(path), "--json")
    checked = json.loads(out)
    assert (code, checked["passes"], checked["trades"], checked["filtered"]) == (0, True, 30, 1)
    trade = checked["first"][0]["trade"]
    assert (trade["symbol"], trade["price"], trade["currency"]) == ("BTC-USD", "20.5", "USD")


def test_a_record_that_fails_is_shown_with_its_place_and_the_check_with_its_exit_code(
    endpoints: Endpoints, topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    produce(endpoints, topic, [fill(number) for number in range(1, 7)])
    _, text, _ = called(capsys, "feed", "guess", topic)
    path = tmp_path / "my.yaml"
    path.write_text(text)
    produce(endpoints, topic, [fill(7, px="cheap")])
    code, out, _ = called(capsys, "feed", "check", topic, "--feed", str(path))
    assert code == 3
    assert "1 × price: not a decimal" in out
    assert '0:2 price is "cheap"' in out


def test_a_layout_that_is_shipped_is_guessed_as_that_feed(
    endpoints: Endpoints, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    at = SystemClock().now_us() // 1000
    trade = {"e": "trade", "E": at, "s": "BTCUSDT", "p": "0.1", "q": "5", "T": at, "m": True, "M": True}
    produce(endpoints, topic, [json.dumps({**trade, "t": number}).encode() for number in range(9)])
    code, out, _ = called(capsys, "feed", "guess", topic, "--json")
    guessed = json.loads(out)
    assert (code, guessed["shipped"]) == (0, "binance-websocket")
    assert guessed["feed"]["trade"]["symbol"] == "symbol"


def test_k2s_own_records_need_no_feed(endpoints: Endpoints, topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    produce(endpoints, topic, frames(make_trades(9), 1))
    code, _, err = called(capsys, "feed", "guess", topic)
    assert code == 2
    assert "K2's own records" in err


def test_a_topic_that_is_not_there_or_empty_is_said(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = called(capsys, "feed", "guess", topic)
    assert (code, "There is no record in" in err) == (2, True)
    code, _, err = called(capsys, "feed", "check", "nowhere", "--feed", "k2-json")
    assert (code, "There is no topic nowhere" in err) == (2, True)


def test_a_feed_of_files_checks_no_topic(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = called(capsys, "feed", "check", topic, "--feed", "binance-trades")
    assert code == 2
    assert "files hold, not topics" in err
