"""`k2ctl topic`: what lies in Kafka, decoded."""

import json
from pathlib import Path

import pytest

from k2ctl.clock import SystemClock
from k2ctl.endpoints import Endpoints, save_endpoints
from k2ctl.kafka.admin import BrokerAdmin
from tests.made_trades import frames, make_trades, produce_values
from tests.support.cli import called

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


def fill(number: int, price: str = "1.5", kind: str = "fill") -> bytes:
    return json.dumps({"kind": kind, "id": number, "time": SystemClock().now_us(), "price": price}).encode()


def test_the_newest_records_are_shown_with_the_trades_that_they_are(
    endpoints: Endpoints, topic: str, feed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    produce_values(endpoints, topic, [(0, fill(1)), (0, fill(2)), (1, fill(3, "cheap")), (1, fill(4, kind="status"))])
    code, out, _ = called(capsys, "topic", topic, "--feed", feed, "--json")
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
    _, out, _ = called(capsys, "topic", topic, "--limit", "3", "--json")
    assert len(json.loads(out)) == 3
    _, out, _ = called(capsys, "topic", topic, "--limit", "2", "--from", "1:3", "--feed", feed, "--json")
    assert [(one["offset"], one["trades"][0]["trade_id"]) for one in json.loads(out)] == [(3, 7), (4, 9)]
    code, _, err = called(capsys, "topic", topic, "--from", "1:5")
    assert (code, "There are: 0:0 to 4, 1:0 to 4" in err) == (2, True)
    assert called(capsys, "topic", topic, "--from", "one")[0] == 2


def test_k2s_own_records_are_trades_in_any_topic(
    endpoints: Endpoints, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    produce_values(endpoints, topic, [(0, value) for value in frames(make_trades(9), 3)])
    _, out, _ = called(capsys, "topic", topic, "--json")
    assert [len(one["trades"]) for one in json.loads(out)] == [3, 3, 3]


def test_records_that_nothing_describes_are_shown_with_what_to_do(
    endpoints: Endpoints, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    produce_values(endpoints, topic, [(0, fill(1))])
    code, out, _ = called(capsys, "topic", topic)
    assert code == 0
    assert '"kind": "fill"' in out
    assert f"k2ctl feed guess {topic}" in out


def test_all_topics_are_listed_with_their_records(
    endpoints: Endpoints, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    produce_values(endpoints, topic, [(number % 2, fill(number)) for number in range(5)])
    _, out, _ = called(capsys, "topic", "--json")
    listed = {one["topic"]: one for one in json.loads(out)}
    assert (listed[topic]["partitions"], listed[topic]["records"]) == (2, 5)
    code, out, _ = called(capsys, "topic")
    assert (code, topic in out) == (0, True)


def test_a_topic_that_is_not_there_is_said(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = called(capsys, "topic", "nowhere")
    assert (code, "There is no topic nowhere" in err) == (2, True)
    code, out, _ = called(capsys, "topic", topic)
    assert (code, out.strip()) == (0, f"There is no record in {topic}.")
