"""Consumers that stand still or die between claim and confirmation: each trade is stored once, and none is lost."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess

import psutil
import pytest

from k2ctl.domain.dedup_status import TierStatus
from k2ctl.domain.status_parts import SHARED
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.telemetry import TelemetryReader
from k2ctl.profiles import Profile
from tests.made_trades import PARTITIONS
from tests.support.consumers import has_uncommitted
from tests.support.platforms import empty_market
from tests.support.polling import until
from tests.support.redis_server import RedisServer
from tests.support.spread import (
    PATIENCE_S,
    SETTLING_POINTS,
    SpreadTrades,
    shared_dedup,
    start_consumer,
    times_stored,
)

TRADES = 3_000
STOPS_WITHIN_S = 4.0
"""The two seconds of a stop, and what Python takes to end."""


class TwoFeeds:
    """Two topics, each with a consumer in a process of its own; 30 % of the trades come in both."""

    def __init__(self, endpoints: Endpoints, exchange: str, redis: RedisServer) -> None:
        self.endpoints, self.redis = endpoints, redis
        made = [empty_market(endpoints, name, dedup=shared_dedup("feeds")) for name in (exchange, f"{exchange}b")]
        self.profiles: dict[str, Profile] = {topic: profile for profile, topic in made}
        places = [(topic, partition) for topic in self.profiles for partition in range(PARTITIONS)]
        self.spread = SpreadTrades(places, 0.3)
        self.processes: list[BaseProcess] = []
        self.telemetry = TelemetryReader(endpoints)

    def send(self) -> None:
        self.spread.send(self.endpoints, TRADES)
        self.spread.send_the_rest(self.endpoints)

    def start(
        self, topic: str, point: str | None = None, number: int = signal.SIGKILL, patience_s: float = PATIENCE_S
    ) -> BaseProcess:
        profile, state = self.profiles[topic], self.redis.url
        process = start_consumer(self.endpoints, profile, state, point, number=number, patience_s=patience_s)
        self.processes.append(process)
        return process

    def tier_of(self, topic: str) -> TierStatus:
        """What the consumer of a topic says of the shared tier."""
        said = [status for status in self.telemetry.poll(0.05).consumers.values() if status.topic == topic]
        return said[-1].dedup.tier if said else TierStatus()

    def until_stored(self, *topics: str) -> None:
        until(lambda: not any(has_uncommitted(self.endpoints, topic) for topic in topics), 60, every_s=0.2)

    def assert_stored_once(self) -> None:
        stored = times_stored(self.endpoints)
        assert (len(stored), max(stored.values())) == (self.spread.trades, 1)

    def close(self) -> None:
        self.telemetry.close()
        for process in self.processes:
            if process.is_alive():
                os.kill(process.pid or 0, signal.SIGKILL)
            process.join(10)


@pytest.fixture
def feeds(endpoints: Endpoints, exchange: str, redis_server: RedisServer) -> Iterator[TwoFeeds]:
    made = TwoFeeds(endpoints, exchange, redis_server)
    yield made
    made.close()


def is_stopped(process: BaseProcess) -> Callable[[], bool]:
    return lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_a_consumer_that_stood_still_beyond_the_patience_is_fenced_and_goes_on(feeds: TwoFeeds) -> None:
    """Who waits for it fences it; it opens its partitions again, and finds the copies that were stored meanwhile."""
    one, other = feeds.profiles
    feeds.send()
    asleep = feeds.start(one, "having settled", signal.SIGSTOP)
    until(is_stopped(asleep), 30)
    feeds.start(other)
    feeds.until_stored(other)
    assert has_uncommitted(feeds.endpoints, one)
    os.kill(asleep.pid or 0, signal.SIGCONT)
    feeds.until_stored(one)
    assert asleep.is_alive()
    feeds.assert_stored_once()


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_a_consumer_that_waits_for_another_ends_in_time_and_leaves_its_trades_in_kafka(feeds: TwoFeeds) -> None:
    one, other = feeds.profiles
    feeds.send()
    asleep = feeds.start(one, "having settled", signal.SIGSTOP)
    until(is_stopped(asleep), 30)
    waits = feeds.start(other, patience_s=60.0)
    until(lambda: feeds.tier_of(other).waiting > 0, 30, every_s=0.05)
    tier = feeds.tier_of(other)
    assert (tier.guarantee, "claimed them first" in tier.waits_for) == (SHARED, True)
    started_s = time.monotonic()
    os.kill(waits.pid or 0, signal.SIGTERM)
    waits.join(20)
    assert (waits.exitcode, time.monotonic() - started_s < STOPS_WITHIN_S) == (0, True)
    assert has_uncommitted(feeds.endpoints, other)


@pytest.mark.slow
@pytest.mark.parametrize("point", SETTLING_POINTS)
@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_a_consumer_that_dies_between_claim_and_confirmation_loses_and_doubles_nothing(
    feeds: TwoFeeds, point: str
) -> None:
    one, other = feeds.profiles
    feeds.send()
    dead = feeds.start(one, point)
    until(lambda: not dead.is_alive(), 30)
    feeds.start(other)
    feeds.until_stored(other)
    feeds.start(one)
    feeds.until_stored(one)
    feeds.assert_stored_once()
