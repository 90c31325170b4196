"""Kafka dies under a running consumer: what happened is said while it runs and when it ends."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, ExitCode, LakeError
from k2ctl.home import Home
from k2ctl.profiles import load_profile
from k2ctl.stack import lifecycle
from tests.made_trades import make_trades, produce_trades


@pytest.fixture
def own_stack(home: Path) -> Iterator[Endpoints]:
    """An embedded stack whose Kafka may be killed."""
    yield lifecycle.up("embedded", "laptop", lambda _: None, home=Home.of_user()).endpoints
    lifecycle.down(volumes=True, home=Home.of_user())


def kill_kafka(endpoints: Endpoints) -> None:
    os.kill(endpoints.processes["kafka"].pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_consumer_says_that_kafka_is_away_and_ends_unhealthy(own_stack: Endpoints) -> None:
    consumer = subprocess.Popen([sys.executable, "-m", "k2ctl", "consume"], stderr=subprocess.PIPE, text=True)
    try:
        lines = iter(consumer.stderr or ())
        assert any("lag 0 trades" in line for line in lines)
        kill_kafka(own_stack)
        said = next(line for line in lines if "has not answered for" in line)
        assert own_stack.bootstrap_servers in said
        assert "goes on by itself" in said
        consumer.send_signal(signal.SIGINT)
        rest = "".join(lines)
        assert consumer.wait(30) == ExitCode.UNHEALTHY
    finally:
        consumer.kill()
        consumer.wait()
        if consumer.stderr is not None:
            consumer.stderr.close()
    assert "has not answered for" in rest
    assert "k2ctl stack status" in rest


def test_a_consumer_that_is_to_end_by_itself_does_not_wait_for_ever(
    own_stack: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k2ctl.consume.consumer.KAFKA_AWAY_S", 6.0)
    consumer = Consumer(own_stack, ConsumerPlan(load_profile("laptop"), until_caught_up=True))
    consumer._goal = dict.fromkeys(consumer.assignment.highs, 1)
    kill_kafka(own_stack)
    with pytest.raises(BrokerError, match="has not answered for"):
        consumer.run(threading.Event())


def test_a_catalog_that_is_put_back_under_a_consumer_is_called_that(own_stack: Endpoints) -> None:
    profile = load_profile("laptop")
    catalog = Path(own_stack.catalog_uri.removeprefix("sqlite:///"))
    backup = catalog.with_name("backup.db")
    consumer = Consumer(own_stack, ConsumerPlan(profile))
    topic, steps = consumer.topic, iter(range(3))
    step = next(steps)
    produce_trades(own_stack, topic, make_trades(50))

    def put_back() -> None:
        nonlocal step
        stored = consumer.totals.stored
        if step == 0 and stored == 50:
            consumer.assignment.collect(wait_s=None)
            with closing(sqlite3.connect(catalog)) as now, closing(sqlite3.connect(backup)) as then:
                now.backup(then)
            produce_trades(own_stack, topic, make_trades(50, 50))
            step = next(steps)
        elif step == 1 and stored == 100:
            for path in catalog.parent.glob("catalog.db*"):
                path.unlink()
            backup.rename(catalog)
            produce_trades(own_stack, topic, make_trades(50, 100))
            step = next(steps)

    with pytest.raises(LakeError, match="rolled back") as ended:
        consumer.run(threading.Event(), put_back)
    assert "k2ctl lake register" in ended.value.hint
