"""Consumers that stand still or die between claim and confirmation: each trade is stored once, and none is lost."""

import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess

import psutil
import pytest

from k2ctl.endpoints import Endpoints
from k2ctl.profiles import Profile
from tests.made_trades import PARTITIONS
from tests.support.consumers import has_uncommitted
from tests.support.platforms import empty_market
from tests.support.polling import until
from tests.support.redis_server import RedisServer
from tests.support.spread import SETTLING_POINTS, SpreadTrades, shared_dedup, start_consumer, times_stored

TRADES = 3_000


class TwoFeeds:
    """Two topics, each with a consumer in a process of its own; 30 % of the trades come in both."""

    def __init__(self, endpoints: Endpoints, exchange: str, redis: RedisServer) -> None:
        self.endpoints, self.redis = endpoints, redis
        made = [empty_market(endpoints, name, dedup=shared_dedup("feeds")) for name in (exchange, f"{exchange}b")]
        self.profiles: dict[str, Profile] = {topic: profile for profile, topic in made}
        places = [(topic, partition) for topic in self.profiles for partition in range(PARTITIONS)]
        self.spread = SpreadTrades(places, 0.3)
        self.processes: list[BaseProcess] = []

    def send(self) -> None:
        self.spread.send(self.endpoints, TRADES)
        self.spread.send_the_rest(self.endpoints)

    def start(self, topic: str, point: str | None = None, number: int = signal.SIGKILL) -> BaseProcess:
        process = start_consumer(self.endpoints, self.profiles[topic], self.redis.url, point, number=number)
        self.processes.append(process)
        return process

    def until_stored(self, *topics: str) -> None:
        until(lambda: not any(has_uncommitted(self.endpoints, topic) for topic in topics), 60, every_s=0.2)

    def assert_stored_once(self) -> None:
        stored = times_stored(self.endpoints)
        assert (len(stored), max(stored.values())) == (self.spread.trades, 1)

    def close(self) -> None:
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
