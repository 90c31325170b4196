"""A copy is a copy in whichever partition it arrives, of the same consumer or of another one."""

import threading

import pytest

from k2ctl.checks.verify.against_kafka import account
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.consume.topic_consumers import TopicConsumers
from k2ctl.endpoints import Endpoints
from k2ctl.errors import ProfileError
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from tests.made_trades import PARTITIONS
from tests.support.platforms import empty_market
from tests.support.redis_server import RedisServer
from tests.support.spread import SpreadGroup, SpreadTrades, shared_dedup, times_stored


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_two_consumers_store_a_trade_once_that_comes_in_partitions_of_both(
    endpoints: Endpoints, exchange: str, redis_server: RedisServer
) -> None:
    group = SpreadGroup(endpoints, exchange, dedup=shared_dedup("topic"))
    try:
        group.state = redis_server.url
        group.start("one")
        group.start("two")
        group.until_shared("one", "two")
        group.until_all_move()
        group.until_all_move()
        group.finish()
    finally:
        group.close()


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_one_process_stores_a_trade_once_that_comes_in_two_topics(endpoints: Endpoints, exchange: str) -> None:
    profile, topic = empty_market(endpoints, exchange, dedup=shared_dedup("feeds"))
    _, other = empty_market(endpoints, f"{exchange}b")
    spread = SpreadTrades([(name, partition) for name in (topic, other) for partition in range(PARTITIONS)], 0.3)
    spread.send(endpoints, 5_000)
    spread.send_the_rest(endpoints)
    TopicConsumers(endpoints, ConsumerPlan(profile, until_caught_up=True), [topic, other]).run(
        threading.Event(), lambda _: None, lambda _: None
    )
    stored = times_stored(endpoints)
    assert (len(stored), max(stored.values())) == (spread.trades, 1)
    with Lake.at(endpoints) as lake:
        total = checkpoints_of(lake.table()).total()
    assert total.balanced
    assert total.duplicate == spread.copies
    accounted = account(endpoints, profile, lambda _: None)
    assert {result.topic: result.holds for result in accounted} == {topic: True, other: True}


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
def test_a_group_without_a_store_that_it_shares_is_refused(endpoints: Endpoints, exchange: str) -> None:
    profile, _ = empty_market(endpoints, exchange, dedup=shared_dedup("topic"))
    with pytest.raises(ProfileError, match="share no store of claims"):
        Consumer(endpoints, ConsumerPlan(profile, group=True, state="memory"))
