"""A machine that has no time: what takes a moment elsewhere takes as much longer as there is less time, and ends."""

import multiprocessing
import statistics
import time
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from k2ctl.clock import SystemClock
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.ending import begin_quickly
from k2ctl.endpoints import Endpoints
from k2ctl.lake.catalog import Lake
from k2ctl.profiles import Profile
from k2ctl.query.session import Session
from k2ctl.query.stream import KafkaStream
from tests.made_trades import make_trades, produce_trades
from tests.support.independent_reader import Sources, assert_stored_once
from tests.support.platforms import empty_market, with_lake
from tests.support.polling import until
from tests.support.starved import StarvedGroup, starved

pytestmark = pytest.mark.slow

TAIL_RECORDS = 15_600
TEN_TIMES = 10
QUIET_LEAST_S = 0.1
"""A tail that a quiet machine reads sooner is not judged more strictly for it."""

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def endpoints(embedded_stack: Endpoints, home: Path) -> Endpoints:
    return with_lake(embedded_stack, home)


def beside_busy_programs(group: StarvedGroup, endpoints: Endpoints, *pids: int | None) -> None:
    """Kafka and some processes."""
    for pid in (*(process.pid for process in endpoints.processes.values()), *pids):
        assert pid is not None
        group.put(pid)


def answer(endpoints: Endpoints, topic: str, pipe: Connection) -> None:
    """Asks for the newest trades as often as the pipe says, and sends how long each tail took."""
    begin_quickly()
    stream = KafkaStream(endpoints, topic)
    with Session(Lake.at(endpoints), stream, SystemClock()) as session:
        while times := pipe.recv():
            tails_s = list[float]()
            for _ in range(times):
                found = session.recent(None, limit=10)
                assert found.evidence.tail_records == TAIL_RECORDS, found.evidence
                tails_s.append(found.evidence.stages_ms["tail"] / 1000)
            pipe.send(tails_s)


@pytest.mark.by_hand  # beside nothing else: other tests take from the same processors
def test_a_tail_takes_ten_times_as_long_at_most_beside_six_busy_programs(endpoints: Endpoints, exchange: str) -> None:
    _, topic = empty_market(endpoints, exchange)
    produce_trades(endpoints, topic, make_trades(TAIL_RECORDS))
    ours, theirs = SPAWN.Pipe()
    child = SPAWN.Process(target=answer, args=(endpoints, topic, theirs), daemon=True)
    child.start()
    ours.send(5)
    quiet_s = statistics.median(ours.recv())
    with starved(busy=6) as group:
        beside_busy_programs(group, endpoints, child.pid)
        ours.send(20)
        tails_s = ours.recv()
    ours.send(0)
    child.join(20)
    assert max(tails_s) <= TEN_TIMES * max(quiet_s, QUIET_LEAST_S), (quiet_s, tails_s)


def consume(endpoints: Endpoints, profile: Profile, stored: "Synchronized[int]", stop: Any) -> None:
    """A member of the group, which says how many trades it has stored."""
    consumer, ended = Consumer(endpoints, ConsumerPlan(profile, group=True)), Event()

    def on_tick() -> None:
        stored.value = consumer.totals.stored
        if stop.is_set():
            ended.set()

    consumer.run(ended, on_tick)


def test_two_consumers_share_a_topic_beside_twenty_busy_programs(endpoints: Endpoints, exchange: str) -> None:
    """Their sessions of a second run out, and to open partitions takes longer than a loop may stand still."""
    profile, topic = empty_market(endpoints, exchange)
    trades, stop = make_trades(3_000), SPAWN.Event()
    counts = [SPAWN.Value("q", 0) for _ in range(2)]
    members = [SPAWN.Process(target=consume, args=(endpoints, profile, count, stop)) for count in counts]

    def send(first: int, within_s: float) -> None:
        produce_trades(endpoints, topic, trades[first : first + 1_000])
        until(
            lambda: sum(count.value for count in counts) >= first + 1_000, within_s, lambda: [c.value for c in counts]
        )

    try:
        for member in members:
            member.start()
        send(0, 60)
        time.sleep(2)
        with starved(busy=20) as group:
            beside_busy_programs(group, endpoints, *(member.pid for member in members))
            send(1_000, 60)
        send(2_000, 60)
    finally:
        stop.set()
        for member in members:
            member.join(30)
            member.kill()
    assert_stored_once(Sources.of(endpoints), topic)
