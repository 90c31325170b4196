"""A million trades, 5 % of them twice, in partitions of several consumers, which are killed, as their Redis is."""

import random
import threading
import time
from collections import Counter

import pytest

from k2ctl.endpoints import Endpoints
from tests.support.redis_server import RedisServer
from tests.support.spread import FilledGroup, shared_dedup, times_stored

PIECE = 330_000
PARTITIONS = 8
MEMBERS = ("one", "two", "three")


def kill_members(group: FilledGroup, over: threading.Event) -> Counter[str]:
    """kill -9 of one after the other, each of which begins again, until it is over."""
    rng, killed = random.Random(7), Counter[str]()
    while not over.wait(rng.uniform(1.0, 3.0)):
        name = rng.choice(MEMBERS)
        group.kill(name)
        killed[name] += 1
        group.start(name)
    return killed


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.parametrize("stack", ["local"], indirect=True)
def test_a_million_trades_are_stored_once_while_consumers_and_redis_are_killed(
    endpoints: Endpoints, exchange: str, fragile_redis: RedisServer
) -> None:
    settings = {"commit_interval_s": 0.5, "commit_rows": 40_000}
    group = FilledGroup(endpoints, exchange, PARTITIONS, dedup=shared_dedup("topic"), **settings)
    group.state = fragile_redis.url
    try:
        for name in MEMBERS:
            group.start(name)
        group.until_shared(*MEMBERS)

        # Consumers are killed: no trade is stored twice, and none is lost.
        over = threading.Event()
        killer = threading.Thread(target=kill_members, args=(group, over))
        killer.start()
        group.fill(PIECE)
        time.sleep(2.0)
        over.set()
        killer.join()
        group.until_all_is_stored()
        stored = times_stored(endpoints)
        assert (len(stored), max(stored.values())) == (group.spread.trades, 1)

        # Redis is killed, and comes back without its last second, or empty: what is stored twice was counted.
        group.until_healed()
        before = sum(tier.stored_reduced for tier in group.tiers().values())
        filler = threading.Thread(target=group.fill, args=(PIECE,))
        filler.start()
        for brought_back in (fragile_redis.start, fragile_redis.restart_empty, fragile_redis.start):
            time.sleep(2.0)
            fragile_redis.kill()
            time.sleep(0.5)
            brought_back()
        filler.join()
        group.until_all_is_stored()
        time.sleep(1.0)
        twice = sum(number - 1 for number in times_stored(endpoints).values())
        reduced = sum(tier.stored_reduced for tier in group.tiers().values()) - before
        assert reduced > 0
        assert twice <= reduced
        assert len(times_stored(endpoints)) == group.spread.trades

        # It is healed: nothing is stored twice any more.
        group.until_healed()
        group.until_all_is_stored()
        twice = sum(number - 1 for number in times_stored(endpoints).values())
        group.fill(PIECE)
        group.until_all_is_stored()
        stored = times_stored(endpoints)
        assert len(stored) == group.spread.trades
        assert sum(number - 1 for number in stored.values()) == twice
    finally:
        group.close()
