"""`k2ctl topic`: what lies in Kafka, decoded."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from k2ctl.clock import SystemClock
from k2ctl.domain.texts import instant_text
from k2ctl.domain.topics import CONSUMER_GROUP, dead_letter_topic
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.dead_letters import DeadLetter, DeadLetters
from k2ctl.kafka.reader import Reader
from tests.made_trades import frames, make_trades, produce_values
from tests.support.cli import called
from tests.support.polling import until

FEED = """
description: d
source: {format: json, columns: [kind, id, time, price]}
where: kind = 'fill'
trade:
  symbol: "'BHP'"
  exchange: "'ASX'"
  asset_class: "'equities'"
  timestamp: time
  price: price
  quantity: 1
  trade_id: id
identity: [id]
"""


@pytest.fixture
def topic(endpoints: Endpoints, exchange: str) -> str:
    """An empty topic of others."""
    save_endpoints(endpoints)
    name = f"prints.{exchange}"
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(name, 2)
    return name


@pytest.fixture
def feed(tmp_path: Path) -> str:
    path = tmp_path / "my.yaml"
    path.write_text(FEED)
    return str(path)


def wait_past(at_us: int) -> int:
    """A millisecond that is over, so that what was sent is before it."""
    until(lambda: SystemClock().now_us() > at_us + 2_000, 5)
    return at_us + 2_000


def fill(number: int, price: str = "1.5", kind: str = "fill") -> bytes:
    return json.dumps({"kind": kind, "id": number, "time": SystemClock().now_us(), "price": price}).encode()


def test_the_newest_records_are_shown_with_the_trades_that_they_are(
    endpoints: Endpoints, topic: str, feed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    produce_values(endpoints, topic, [(0, fill(1)), (0, fill(2)), (1, fill(3, "cheap")), (1, fill(4, kind="status"))])
    code, out, _ = called(capsys, "topic", "tail", topic, "--feed", feed, "--json")
    records = json.loads(out)
    assert code == 0
    found = {(one["partition"], one["offset"]): one for one in records}
    assert found[0, 1]["trades"][0]["trade_id"] == 2
    assert 'price is "cheap"' in found[1, 0]["reasons"][0]
    assert (found[1, 1]["trades"], found[1, 1]["reasons"]) == ([], [])
    assert json.loads(found[0, 0]["text"])["id"] == 1


def test_no_more_than_were_asked_for_and_those_from_a_place_on(
    endpoints: Endpoints, topic: str, feed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    produce_values(endpoints, topic, [(number % 2, fill(number)) for number in range(10)])
    _, out, _ = called(capsys, "topic", "tail", topic, "-n", "3", "--json")
    assert len(json.loads(out)) == 3
    _, out, _ = called(capsys, "topic", "tail", topic, "-n", "2", "--from", "1:3", "--feed", feed, "--json")
    assert [(one["offset"], one["trades"][0]["trade_id"]) for one in json.loads(out)] == [(3, 7), (4, 9)]
    code, _, err = called(capsys, "topic", "tail", topic, "--from", "1:5")
    assert (code, "There are: 0:0 to 4, 1:0 to 4" in err) == (2, True)
    assert called(capsys, "topic", "tail", topic, "--from", "one")[0] == 2


def test_k2s_own_records_are_trades_in_any_topic(
    endpoints: Endpoints, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    produce_values(endpoints, topic, [(0, value) for value in frames(make_trades(9), 3)])
    _, out, _ = called(capsys, "topic", "tail", topic, "--json")
    assert [len(one["trades"]) for one in json.loads(out)] == [3, 3, 3]


def test_records_that_nothing_describes_are_shown_with_what_to_do(
    endpoints: Endpoints, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    produce_values(endpoints, topic, [(0, fill(1))])
    code, out, _ = called(capsys, "topic", "tail", topic)
    assert code == 0
    assert '"kind": "fill"' in out
    assert f"k2ctl feed guess {topic}" in out


def test_all_topics_are_listed_with_their_records(
    endpoints: Endpoints, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    produce_values(endpoints, topic, [(number % 2, fill(number)) for number in range(5)])
    _, out, _ = called(capsys, "topic", "list", "--json")
    listed = {one["topic"]: one for one in json.loads(out)}
    assert (listed[topic]["partitions"], listed[topic]["records"]) == (2, 5)
    code, out, _ = called(capsys, "topic", "list")
    assert (code, topic in out) == (0, True)


def test_a_topic_that_is_not_there_is_said(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = called(capsys, "topic", "tail", "nowhere")
    assert (code, "There is no topic nowhere" in err) == (2, True)
    for command in ("describe", "count"):
        code, _, err = called(capsys, "topic", command, "nowhere")
        assert (code, "There is no topic nowhere" in err) == (2, True)
    code, out, _ = called(capsys, "topic", "tail", topic)
    assert (code, out.strip()) == (0, f"There is no record in {topic}.")


def test_records_from_a_time_on_and_as_their_bytes(
    endpoints: Endpoints, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    produce_values(endpoints, topic, [(0, b"one"), (1, b"two")])
    after_us = wait_past(SystemClock().now_us())
    produce_values(endpoints, topic, [(1, b"\x00\xff"), (0, b"four")])
    since = instant_text(after_us * 1000)
    code, out, _ = called(capsys, "topic", "tail", topic, "--from", since, "--raw", "hex", "--json")
    assert code == 0
    assert sorted(one["value"] for one in json.loads(out)) == ["00ff", b"four".hex()]
    _, out, _ = called(capsys, "topic", "tail", topic, "--from", "start", "--raw", "text", "--json")
    assert sorted(one["value"] for one in json.loads(out)) == ["\x00\\xff", "four", "one", "two"]
    _, out, _ = called(capsys, "topic", "tail", topic, "--raw", "hex")
    assert "  66 6f 75 72" in out
    later = instant_text((SystemClock().now_us() + 60_000_000) * 1000)
    assert json.loads(called(capsys, "topic", "tail", topic, "--from", later, "--json")[1]) == []
    _, out, _ = called(capsys, "topic", "count", topic, "--since", since, "--json")
    assert [one["records"] for one in json.loads(out)["partitions"]] == [1, 1]


def test_records_and_trades_are_counted_by_partition(
    endpoints: Endpoints, topic: str, feed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    values = [(0, fill(1)), (0, fill(2, "cheap")), (1, fill(3)), (1, fill(4)), (1, fill(5, kind="status"))]
    produce_values(endpoints, topic, values)
    _, out, _ = called(capsys, "topic", "count", topic, "--feed", feed, "--json")
    names = ("records", "trades", "unreadable", "filtered")
    counted = [[one[name] for name in names] for one in json.loads(out)["partitions"]]
    assert counted == [[2, 1, 1, 0], [3, 2, 0, 1]]
    _, out, _ = called(capsys, "topic", "count", topic, "--feed", feed)
    assert [line.split() for line in out.splitlines()][-1][:3] == ["all", "5", "3"]
    _, out, _ = called(capsys, "topic", "count", topic, "--json")
    assert [one["trades"] for one in json.loads(out)["partitions"]] == [None, None]


def test_a_topic_is_described_with_who_has_read_it(
    endpoints: Endpoints, topic: str, feed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    produce_values(endpoints, topic, [(0, fill(1)), (0, fill(2)), (1, fill(3))])
    with Reader(endpoints, topic, CONSUMER_GROUP) as reader:
        reader.assign({0: 0, 1: 0})
        reader.advise({0: 1}, {})
    code, out, _ = called(capsys, "topic", "describe", topic, "--json")
    assert code == 0
    described = json.loads(out)
    assert [(one["low"], one["high"], one["leader"] >= 0) for one in described["partitions"]] == [
        (0, 2, True),
        (0, 1, True),
    ]
    assert {"reader": CONSUMER_GROUP, "offsets": {"0": 1}, "behind": 2} in described["readers"]
    assert described["records"] == 3
    assert (described["settings"] is None) == (endpoints.engine == "embedded")
    code, out, _ = called(capsys, "topic", "describe", topic)
    assert code == 0
    assert f"group {CONSUMER_GROUP}" in out
    assert f"k2ctl feed guess {topic}" in " ".join(out.split())


def test_dead_letters_are_shown_beside_their_topic_and_with_their_reasons(
    endpoints: Endpoints, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(dead_letter_topic(topic), 1)
    DeadLetters(endpoints, topic, "epoch").publish([DeadLetter(1, 7, None, "price is cheap", b"raw")])
    code, out, _ = called(capsys, "topic", "tail", dead_letter_topic(topic))
    assert code == 0
    assert f"✗ a dead letter, 1:7 of {topic}: price is cheap" in " ".join(out.split())
    _, out, _ = called(capsys, "topic", "tail", dead_letter_topic(topic), "--raw", "text", "--json")
    (record,) = json.loads(out)
    assert (record["value"], record["headers"]["k2-reason"]) == ("raw", "price is cheap")
    _, out, _ = called(capsys, "topic", "list", "--json")
    assert {one["topic"]: one["dead_letters"] for one in json.loads(out)}[topic] == 1
    _, out, _ = called(capsys, "topic", "describe", topic)
    assert f"k2ctl dead-letters list --topic {topic}" in " ".join(out.split())


def test_what_comes_is_followed_line_by_line(endpoints: Endpoints, topic: str, feed: str) -> None:
    produce_values(endpoints, topic, [(0, fill(1)), (0, fill(2))])
    command = [sys.executable, "-m", "k2ctl", "topic", "tail", topic, "-f", "-n", "1", "--feed", feed, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert json.loads(following.stdout.readline())["trades"][0]["trade_id"] == 2
        produce_values(endpoints, topic, [(1, fill(3))])
        assert json.loads(following.stdout.readline())["trades"][0]["trade_id"] == 3
        following.send_signal(signal.SIGINT)
        _, err = following.communicate(timeout=30)
    assert (following.returncode, err) == (0, "")
