"""A topic that a transactional producer fills: the marks of its transactions take offsets, and are never delivered."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from confluent_kafka import Producer

from k2ctl.checks.verify.sources import TradeSources
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.domain.trade import frames
from k2ctl.endpoints import Endpoints
from k2ctl.errors import K2Error
from k2ctl.feeds.records import SBE
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.clients import producer_config
from k2ctl.lake.catalog import Lake
from k2ctl.profiles import Profile
from k2ctl.query.session import Session
from k2ctl.query.stream import KafkaStream
from k2ctl.query.warm import WarmStream
from tests.made_trades import PARTITIONS, ids_of, make_trades, partition_of_made, stored_ids
from tests.support.polling import until

pytestmark = [pytest.mark.kafka, pytest.mark.parametrize("stack", ["local"], indirect=True)]

WITHIN_S = 20.0


class Paying:
    """A transactional producer of made trades."""

    def __init__(self, endpoints: Endpoints, topic: str) -> None:
        self._topic = topic
        self._producer = Producer(producer_config(endpoints, **{"transactional.id": topic, "linger.ms": 1}))
        self._producer.init_transactions(WITHIN_S)

    def send(self, trades: np.ndarray, *, commit: bool = True) -> None:
        """One transaction, into every partition; or one that is aborted behind its records."""
        self._producer.begin_transaction()
        partition = partition_of_made(trades)
        for number in range(PARTITIONS):
            for value in frames(trades[partition == number], 1):
                self._producer.produce(self._topic, value, partition=number)
        assert self._producer.flush(WITHIN_S) == 0
        if commit:
            self._producer.commit_transaction(WITHIN_S)
        else:
            self._producer.abort_transaction(WITHIN_S)


def await_ends(endpoints: Endpoints, topic: str, offsets: int) -> None:
    """Wait for the marks, which come a moment after the commit: each partition holds so many offsets then."""
    with BrokerAdmin(endpoints) as admin:
        until(
            lambda: {mark.high for mark in admin.watermarks(topic).values()} == {offsets},
            WITHIN_S,
            lambda: admin.watermarks(topic),
        )


def catch_up(endpoints: Endpoints, profile: Profile) -> Consumer:
    """One that reads up to the ends; stopped when that takes too long, which shows in its lag."""
    consumer, stop = Consumer(endpoints, ConsumerPlan(profile, until_caught_up=True)), threading.Event()
    timer = threading.Timer(WITHIN_S, stop.set)
    timer.start()
    consumer.run(stop)
    timer.cancel()
    assert not stop.is_set(), "it did not catch up"
    return consumer


def assert_all_is_stored(consumer: Consumer, trades: np.ndarray, ends: int) -> None:
    """Every trade is stored once and counted once; the table stands at the ends; an offset that never comes is none."""
    assert stored_ids(consumer.endpoints) == ids_of(trades)
    assert consumer.assignment.committed_offsets == dict.fromkeys(range(PARTITIONS), ends)
    counts = consumer.counts()
    assert counts.balanced
    assert (counts.seen, counts.stored, counts.lost) == (len(trades), len(trades), 0)
    assert consumer.totals.fenced == 0


def test_a_consumer_catches_up_with_transactions_and_goes_on_where_it_ended(
    platform: tuple[Endpoints, Profile, str],
) -> None:
    endpoints, profile, topic = platform
    paying, trades = Paying(endpoints, topic), make_trades(800)
    paying.send(trades[:400])
    await_ends(endpoints, topic, 101)
    assert_all_is_stored(catch_up(endpoints, profile), trades[:400], 101)
    paying.send(trades[400:])
    await_ends(endpoints, topic, 202)
    assert_all_is_stored(catch_up(endpoints, profile), trades, 202)


def test_a_transaction_that_was_aborted_is_passed_and_counts_for_nothing(
    platform: tuple[Endpoints, Profile, str],
) -> None:
    endpoints, profile, topic = platform
    paying, trades = Paying(endpoints, topic), make_trades(1200)
    paying.send(trades[:400])
    paying.send(trades[400:800], commit=False)
    await_ends(endpoints, topic, 202)
    assert_all_is_stored(catch_up(endpoints, profile), trades[:400], 202)
    paying.send(trades[400:800], commit=False)
    paying.send(trades[800:])
    await_ends(endpoints, topic, 404)
    assert_all_is_stored(catch_up(endpoints, profile), np.concatenate([trades[:400], trades[800:]]), 404)


LEFT_OPEN = """
import os, signal, sys
from confluent_kafka import Producer
servers, topic, partitions = sys.argv[1], sys.argv[2], int(sys.argv[3])
producer = Producer({"bootstrap.servers": servers, "transactional.id": "dead", "transaction.timeout.ms": 300000})
producer.init_transactions(20)
producer.begin_transaction()
for partition in range(partitions):
    producer.produce(topic, b"never committed", partition=partition)
assert producer.flush(20) == 0
os.kill(os.getpid(), signal.SIGKILL)
"""


def leave_a_transaction_open(endpoints: Endpoints, topic: str) -> None:
    """A producer in a process of its own, which is killed before it ends its transaction."""
    arguments = [sys.executable, "-c", LEFT_OPEN, endpoints.bootstrap_servers, topic, str(PARTITIONS)]
    assert subprocess.run(arguments, timeout=60, check=False).returncode == -signal.SIGKILL


def test_behind_an_open_transaction_a_query_answers_at_once_and_names_it(
    platform: tuple[Endpoints, Profile, str],
) -> None:
    endpoints, _, topic = platform
    paying, trades = Paying(endpoints, topic), make_trades(400)
    paying.send(trades)
    await_ends(endpoints, topic, 101)
    leave_a_transaction_open(endpoints, topic)
    stream = KafkaStream(endpoints, topic)
    warm = WarmStream(stream, lambda: None).start()
    try:
        for source in (stream, warm):
            with Session(Lake.at(endpoints), source) as session:
                begun_s = time.monotonic()
                answer = session.recent(None)
            assert time.monotonic() - begun_s < 15
            assert len(answer.table) == 400
            assert not answer.evidence.complete
            [reason] = answer.evidence.missing
            assert f"an open transaction holds back {PARTITIONS} offsets" in reason
            assert "partition 0: readable to 101, ends at 102" in reason
        sources = TradeSources(endpoints, Lake.at(endpoints), topic, stream.epoch(), SBE)
        assert sum(len(placed.trades) for _, placed in sources.trades(None)) == 400
        assert "readable to 101, ends at 102" in sources.unread
    finally:
        warm.close()


def test_a_consumer_says_which_open_transaction_keeps_its_lag(
    platform: tuple[Endpoints, Profile, str], running: Consumer
) -> None:
    endpoints, _, topic = platform
    Paying(endpoints, topic).send(make_trades(400))
    await_ends(endpoints, topic, 101)
    leave_a_transaction_open(endpoints, topic)
    until(lambda: "open transaction" in running.assignment.trouble, WITHIN_S)
    assert "readable to 101, ends at 102" in running.assignment.trouble


@pytest.fixture
def running(platform: tuple[Endpoints, Profile, str]) -> Iterator[Consumer]:
    """A consumer that goes on until the test ends."""
    consumer, stop = Consumer(platform[0], ConsumerPlan(platform[1])), threading.Event()
    failed: list[K2Error] = []

    def run() -> None:
        try:
            consumer.run(stop)
        except K2Error as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield consumer
    stop.set()
    thread.join(WITHIN_S)
    assert not failed


def test_each_commit_begins_where_the_last_ended_though_a_mark_is_between(
    platform: tuple[Endpoints, Profile, str], running: Consumer
) -> None:
    """Were the two an offset apart, the table would refuse the second, and its trades be dropped."""
    endpoints, _, topic = platform
    paying, trades, rounds = Paying(endpoints, topic), make_trades(800), 10

    def until_committed(end: int) -> None:
        until(
            lambda: set(running.assignment.committed_offsets.values()) == {end},
            WITHIN_S,
            lambda: running.assignment.committed_offsets,
        )

    for number in range(rounds):
        paying.send(trades[number * 80 : (number + 1) * 80])
        # Odd rounds follow at once, in the middle of a commit; even ones when the mark has been committed.
        if number % 2 == 0:
            until_committed((number + 1) * 21)
    await_ends(endpoints, topic, rounds * 21)
    until_committed(rounds * 21)
    assert running.assignment.snapshot().lag_records == 0
    assert_all_is_stored(running, trades, rounds * 21)
