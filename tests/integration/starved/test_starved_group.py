"""A group on a machine that has no time commits as much more seldom as there is less time, and never stands still."""

import contextlib
import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from threading import Event
from typing import Any

import pytest

from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.endpoints import Endpoints
from k2ctl.profiles import Profile
from tests.made_trades import make_trades, produce_trades
from tests.support.independent_reader import Sources, assert_stored_once
from tests.support.platforms import empty_market
from tests.support.polling import until
from tests.support.starved import AS_TWENTY_ON_TWO, starved

pytestmark = pytest.mark.slow

TEN_TIMES = 10
QUIET_LEAST_S = 0.6
"""Commits come every 0.2 s at most; a pause that is shorter on a quiet machine is not judged more strictly for it."""

QUIET_S, STARVED_S = 8.0, 20.0
SEND_EVERY_S = 0.2
TRADES = 20
"""Sent at once."""

SPAWN = multiprocessing.get_context("spawn")


def consume(endpoints: Endpoints, profile: Profile, stored: Any, stop: Any) -> None:
    """A member of the group, which says how many trades it has stored."""
    consumer, ended = Consumer(endpoints, ConsumerPlan(profile, group=True)), Event()

    def on_tick() -> None:
        stored.value = consumer.totals.stored
        if stop.is_set():
            ended.set()

    consumer.run(ended, on_tick)


class FedGroup:
    """Members in processes, and the trades that are sent to them all the while."""

    def __init__(self, endpoints: Endpoints, exchange: str, members: int) -> None:
        self.endpoints = endpoints
        self._profile, self.topic = empty_market(endpoints, exchange)
        self._trades, self._sent, self._stop = make_trades(20_000), 0, SPAWN.Event()
        self._stored = [SPAWN.Value("q", 0) for _ in range(members)]
        self.members: list[BaseProcess] = [
            SPAWN.Process(target=consume, args=(endpoints, self._profile, stored, self._stop))
            for stored in self._stored
        ]

    def start(self) -> None:
        """All of them; returns once each has stored something."""
        for member in self.members:
            member.start()

        def all_store() -> bool:
            self.send()
            return all(stored.value for stored in self._stored)

        until(all_store, 90, self.stored, every_s=SEND_EVERY_S)

    def stored(self) -> int:
        return sum(stored.value for stored in self._stored)

    def send(self) -> None:
        produce_trades(self.endpoints, self.topic, self._trades[self._sent : self._sent + TRADES])
        self._sent += TRADES

    def longest_pause_s(self, seconds: float) -> float:
        """The longest time without a commit, while trades are sent for so long, and until all of them are stored."""
        begun_s = last_s = sent_s = time.monotonic()
        before, longest_s = self.stored(), 0.0
        while (now_s := time.monotonic()) < begun_s + seconds or self.stored() < self._sent:
            assert now_s < begun_s + 10 * seconds, (self.stored(), self._sent, longest_s)
            longest_s = max(longest_s, now_s - last_s)
            if self.stored() != before:
                before, last_s = self.stored(), now_s
            if sent_s <= now_s < begun_s + seconds:
                self.send()
                sent_s = now_s + SEND_EVERY_S
            time.sleep(0.01)
        return longest_s

    def end(self) -> None:
        self._stop.set()
        for member in self.members:
            member.join(60)
            member.kill()


@contextlib.contextmanager
def fed(endpoints: Endpoints, exchange: str, members: int) -> Iterator[FedGroup]:
    """A group that is at work; in the end each trade is stored once."""
    group = FedGroup(endpoints, exchange, members)
    try:
        group.start()
        yield group
        assert group.longest_pause_s(1) < 60
    finally:
        group.end()
    assert_stored_once(Sources.of(endpoints), group.topic)


def starved_pause_s(group: FedGroup, busy: int) -> float:
    """With Kafka and its members beside so many busy programs."""
    with starved(busy) as machine:
        machine.put_beside(group.endpoints, *(member.pid for member in group.members))
        return group.longest_pause_s(STARVED_S)


@pytest.mark.by_hand  # beside nothing else: other tests take from the same processors
@pytest.mark.parametrize("members", [2, 4])
def test_a_group_pauses_ten_times_as_long_at_most_beside_busy_programs(
    endpoints: Endpoints, exchange: str, members: int
) -> None:
    with fed(endpoints, exchange, members) as group:
        quiet_s = group.longest_pause_s(QUIET_S)
        pause_s = starved_pause_s(group, busy=AS_TWENTY_ON_TWO)
    assert pause_s <= TEN_TIMES * max(quiet_s, QUIET_LEAST_S), quiet_s


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_a_group_goes_on_beside_twenty_busy_programs(endpoints: Endpoints, exchange: str) -> None:
    """Its sessions of a second run out, and to open partitions takes longer than the group waits."""
    with fed(endpoints, exchange, members=2) as group:
        assert starved_pause_s(group, busy=20) < 60
