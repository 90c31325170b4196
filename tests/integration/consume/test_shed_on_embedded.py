"""What is shed stays in the embedded Kafka while it fits: its logs turn over, consumers die, and nothing is lost.

Records are uncompressed and go to two partitions, so that some ten thousand of them push others out of a log. Whoever
sends them asks nobody whether there is room, but for the last test's load.
"""

import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Producer

from k2ctl.clock import SystemClock
from k2ctl.commands.backfill import rescue_shed
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.domain.status import ConsumerStatus
from k2ctl.domain.topics import CONSUMER_GROUP
from k2ctl.domain.trade import frames
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.clients import producer_config
from k2ctl.kafka.reader import Reader
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.load.intake import RetentionGate
from k2ctl.load.market import SyntheticMarket, new_run_id
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import Universe
from tests.made_trades import ids_of, quick_profile, stored_ids
from tests.support.consumers import CONTEXT, all_stored, die_at, pressed, run_until, topic_of
from tests.support.platforms import with_lake

LEVELS = {"NORMAL": 0, "SOFT": 200, "GRACEFUL": 300, "AGGRESSIVE": 10**9, "CIRCUIT_BREAK": 2 * 10**9}
"""LOW trades are shed, or spilled where they do not fit; all others are processed."""

BUDGET, LAG = 12_000.0, 3_000
"""Trades a second, and how many of them wait at least: a tenth of a log, so that there is room to shed."""

TURNS_TRADES = 80_000
"""Two thirds of them go to one partition, which keeps some 24,000."""

FITTING_TRADES, SLOW_BUDGET = 8_000, 1_500.0
"""They all fit into the room for what is shed, however late a commit is on a busy machine; read at this rate."""


@pytest.fixture
def endpoints(embedded_stack: Endpoints, home: Path) -> Endpoints:
    return with_lake(embedded_stack, home)


@pytest.fixture
def profile(endpoints: Endpoints, exchange: str) -> Profile:
    found = pressed(quick_profile(commit_interval_s=0.2), endpoints, exchange, cooldown_s=2.0)
    divisor = found.degradation.embedded_divisor
    levels = tuple(level.model_copy(update={"lag": LEVELS[level.name] * divisor}) for level in found.degradation.levels)
    degradation = found.degradation.model_copy(update={"levels": levels})
    topic = found.topic.model_copy(update={"partitions": 2, "critical_partitions": 1})
    return found.model_copy(update={"degradation": degradation, "topic": topic})


class Feed:
    """Sends trades of one market for as long as there are some left."""

    def __init__(self, endpoints: Endpoints, profile: Profile, count: int) -> None:
        self._topic, self._left = topic_of(profile), count
        with BrokerAdmin(endpoints) as admin:
            admin.create_topic(self._topic, profile.topic.partitions)
        self._market, self._clock = SyntheticMarket(Universe(profile), new_run_id()), SystemClock()
        self._producer = Producer(producer_config(endpoints, **{"compression.type": "none", "batch.size": 100_000}))
        self._producer.list_topics(self._topic, timeout=10)
        self._sent: list[np.ndarray] = []

    def send(self, count: int) -> None:
        """Send some more, all acknowledged."""
        now_us = self._clock.now_us()
        batch = self._market.take(min(count, self._left), now_us - 10_000, now_us)
        ends = np.cumsum(batch.per_partition).tolist()
        for partition, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            for value in frames(batch.trades[start:end], 1):
                self._producer.produce(self._topic, value, partition=partition)
        assert self._producer.flush(20) == 0
        self._left -= len(batch.trades)
        self._sent.append(batch.trades)

    @property
    def is_over(self) -> bool:
        return not self._left

    def until(self, done: Callable[[ConsumerStatus], bool]) -> Callable[[ConsumerStatus], bool]:
        """`done`, for a consumer that is kept `LAG` trades behind meanwhile."""

        def fed(status: ConsumerStatus) -> bool:
            waiting = LAG if status.lag_trades is None else status.lag_trades
            if self._left and waiting < LAG:
                self.send(LAG)
            return done(status)

        return fed

    @property
    def trades(self) -> np.ndarray:
        return np.concatenate(self._sent)


def assert_nothing_lost(endpoints: Endpoints, feed: Feed) -> None:
    assert stored_ids(endpoints) == ids_of(feed.trades)
    with Lake.at(endpoints) as lake:
        checkpoints = checkpoints_of(lake.table())
    total = checkpoints.total()
    assert total.balanced
    assert (total.stored, total.duplicate, total.shed, total.spilled, total.lost) == (len(feed.trades), 0, 0, 0, 0)
    assert checkpoints.ledger.entries == ()


def test_a_log_that_turns_over_takes_no_trade_along_that_was_shed_in_it(endpoints: Endpoints, profile: Profile) -> None:
    feed = Feed(endpoints, profile, TURNS_TRADES)
    said, _ = run_until(endpoints, profile, feed.until(lambda s: feed.is_over and all_stored(s)), budget=BUDGET)
    low = said[-1].by_priority["LOW"]
    assert low["shed"] > 0, "while they fit"
    assert low["spill"] > 0, "where they do not"
    assert max(status.backfilled for status in said if status.level == "GRACEFUL") > 0, "before they go"
    with BrokerAdmin(endpoints) as admin:
        assert admin.watermarks(topic_of(profile))[1].low > 0, "the log has turned over"
    assert_nothing_lost(endpoints, feed)


def test_what_is_shed_leaves_the_embedded_kafka_before_that_ends(endpoints: Endpoints, profile: Profile) -> None:
    """As `k2ctl stack down` does it, and `k2ctl backfill`."""
    feed, topic = Feed(endpoints, profile, FITTING_TRADES), topic_of(profile)
    said, _ = run_until(endpoints, profile, feed.until(lambda s: s.outstanding > 100), budget=SLOW_BUDGET)
    assert said[-1].outstanding > said[-1].outstanding_spilled == 0
    assert said[-1].outstanding_of == {"LOW": {"shed": said[-1].outstanding}}
    with BrokerAdmin(endpoints) as admin:
        needed, committed = admin.needed_from(topic, CONSUMER_GROUP)[1], admin.committed(topic, CONSUMER_GROUP)[1]
        assert needed is not None
        assert committed is not None
        assert needed < committed, "a load knows of it"
    lines: list[str] = []
    rescue_shed(endpoints, lines.append)
    assert len(lines) == 1
    assert "backfilling" in lines[0]
    run_until(endpoints, profile, all_stored, budget=None)
    assert_nothing_lost(endpoints, feed)


class Sent:
    """What a load has counted: records of one trade, uncompressed."""

    def total(self, name: str) -> float:
        return {"wire_bytes": 210.0}.get(name, 1.0)


def test_a_load_waits_where_what_is_shed_would_be_pushed_out(endpoints: Endpoints, profile: Profile) -> None:
    """The consumer that shed it may be dead: Kafka's group says what must stay."""
    feed, topic = Feed(endpoints, profile, 60_000), topic_of(profile)
    feed.send(60_000)  # 40,000 of them to the same partition; it keeps some 24,000
    with BrokerAdmin(endpoints) as admin:
        mark = admin.watermarks(topic)[1]
    reader, gate = Reader(endpoints, topic, CONSUMER_GROUP), RetentionGate(endpoints, topic)
    with reader:
        reader.assign({1: mark.high})
        for shed_from, waits in ((mark.high, False), (mark.low, True)):
            reader.advise({0: 10**6, 1: mark.high}, {1: shed_from})
            reader.fetch(1, 0.5)
            gate = RetentionGate(endpoints, topic)
            assert bool(gate.reason(Sent())) == waits


KILLED_AT = {
    "before a commit": ("k2ctl.lake.writer", "TableWriter.commit", "before"),
    "after a commit": ("k2ctl.lake.writer", "TableWriter.commit", "after"),
    "having read a part of the ledger": ("k2ctl.deferred.backfill", "Backfill._next_part", "after"),
    "before the group's offsets": ("k2ctl.kafka.reader", "Reader.advise", "before"),
}
KILLS = [
    ("before a commit", 14),
    ("having read a part of the ledger", 1),
    ("after a commit", 18),
    ("before the group's offsets", 30),
    ("having read a part of the ledger", 2),
    ("before a commit", 22),
    ("before the group's offsets", 41),
    ("after a commit", 16),
]
"""Points and their passages: a level is entered after two seconds of lag, which are some ten commits."""


def consume_and_die(endpoints: Endpoints, profile: Profile, point: str, call: int) -> None:
    """A consumer's process, which kills itself at a passage of a point."""
    die_at(point, call, KILLED_AT)
    Consumer(endpoints, ConsumerPlan(profile, budget=BUDGET)).run(threading.Event())


@pytest.mark.slow
def test_consumers_that_die_between_shedding_and_backfill_lose_nothing(endpoints: Endpoints, profile: Profile) -> None:
    feed, died, shed = Feed(endpoints, profile, 10 * TURNS_TRADES), 0, []
    feed.send(LAG)
    for point, call in KILLS:
        process = CONTEXT.Process(target=consume_and_die, args=(endpoints, profile, point, call))
        process.start()
        feed_while(process, endpoints, profile, feed)
        died += not process.is_alive()
        process.kill()
        process.join()
        with Lake.at(endpoints) as lake:
            shed.append(checkpoints_of(lake.table()).total().shed)
    assert max(shed) > 0, "what it had shed is left in Kafka by one that died"
    assert 2 * died > len(KILLS)
    with BrokerAdmin(endpoints) as admin:
        assert admin.watermarks(topic_of(profile))[1].low > 0, "the log has turned over"
    run_until(endpoints, profile, all_stored, budget=None)
    assert_nothing_lost(endpoints, feed)


def feed_while(
    process: BaseProcess, endpoints: Endpoints, profile: Profile, feed: Feed, patience_s: float = 10.0
) -> None:
    """Keep a consumer behind until it dies, or for `patience_s`. Nobody sends what a dead one does not read."""
    topic, until_s = topic_of(profile), time.monotonic() + patience_s
    with BrokerAdmin(endpoints) as admin:
        while process.is_alive() and time.monotonic() < until_s:
            committed, marks = admin.committed(topic, CONSUMER_GROUP), admin.watermarks(topic)
            if sum(mark.high - (committed[p] or 0) for p, mark in marks.items()) < 2 * LAG:
                feed.send(LAG)
