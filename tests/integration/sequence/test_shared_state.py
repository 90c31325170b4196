"""Consumers in turn that use one Redis: what one of them knew goes on at the next, also when it was killed.

The feed has true gaps, which must be reported by every consumer, and nothing else may be.
"""

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.consume.report import StatusReporter
from k2ctl.domain.status_parts import SequenceCounts
from k2ctl.endpoints import Endpoints
from k2ctl.profiles import Profile
from k2ctl.sequence.state_sync import OWN, REDUCED, SHARED
from k2ctl.sequence.store_view import view_store
from tests.made_trades import make_trades, produce_trades
from tests.support.consumers import CONTEXT, assert_exact, die_at
from tests.support.platforms import catch_up
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.parametrize("stack", ["embedded"], indirect=True)

KILLED_AT = {
    "before the commit": ("k2ctl.lake.writer", "TableWriter.commit", "before"),
    "between commit and publication": ("k2ctl.lake.writer", "TableWriter.commit", "after"),
    "before the publication": ("k2ctl.sequence.redis_store", "RedisStateStore.publish", "before"),
    "after the publication": ("k2ctl.sequence.redis_store", "RedisStateStore.publish", "after"),
}


def run(endpoints: Endpoints, profile: Profile, url: str) -> Consumer:
    return catch_up(endpoints, profile, state=url)


def consume_and_die(endpoints: Endpoints, profile: Profile, url: str, point: str) -> None:
    os.environ["K2CTL_HOME"] = str(Path(endpoints.warehouse.removeprefix("file://")).parent)
    die_at(point, 1, KILLED_AT)
    Consumer(endpoints, ConsumerPlan(profile, state=url)).run(threading.Event())


def assert_only_true_gaps(counts: SequenceCounts, gaps: int) -> None:
    assert (counts.open_gaps, counts.missing_trades) == (gaps, gaps)
    assert (counts.resets, counts.duplicates, counts.out_of_order, counts.unverified) == (0, 0, 0, 0)


def feed(number: int) -> np.ndarray:
    """The n-th 200 trades, of which one is missing: another symbol's each time."""
    trades = make_trades(200, start=200 * number)
    return np.delete(trades, 100 + number)


def test_killed_consumers_leave_neither_false_gaps_nor_duplicates(
    platform: tuple[Endpoints, Profile, str], redis_server: RedisServer
) -> None:
    endpoints, profile, topic = platform
    fed = [feed(0)]
    produce_trades(endpoints, topic, fed[0])
    assert_only_true_gaps(run(endpoints, profile, redis_server.url).assignment.remembered.sequence, 1)
    for number, point in enumerate(KILLED_AT):
        for part in (2 * number + 1, 2 * number + 2):
            fed.append(feed(part))
            produce_trades(endpoints, topic, fed[-1])
        process = CONTEXT.Process(target=consume_and_die, args=(endpoints, profile, redis_server.url, point))
        process.start()
        process.join(30)
        assert process.exitcode == -signal.SIGKILL, f"{point}: exit {process.exitcode}"
        other = run(endpoints, profile, redis_server.url)
        assert_only_true_gaps(other.assignment.remembered.sequence, 2 * number + 3)
        assert other.assignment.remembered.state.guarantee == SHARED
    assert_exact(endpoints, topic, np.concatenate(fed))


def test_what_the_table_no_longer_holds_the_store_does(
    platform: tuple[Endpoints, Profile, str], redis_server: RedisServer
) -> None:
    """With a window of a blink, nothing is rebuilt from the table: symbols are known from the store, or not at all."""
    endpoints, profile, topic = platform
    dedup = profile.consumer.dedup.model_copy(update={"window_hours": 1e-9})
    blink = profile.consumer.model_copy(update={"dedup": dedup})
    profile = profile.model_copy(update={"consumer": blink})
    produce_trades(endpoints, topic, feed(0))
    run(endpoints, profile, redis_server.url)
    produce_trades(endpoints, topic, feed(1))
    second = run(endpoints, profile, redis_server.url)
    assert second.assignment.restored_rows == 0
    assert_only_true_gaps(second.assignment.remembered.sequence, 2)
    assert second.assignment.remembered.state.behind_symbols == 0
    view = view_store(endpoints, profile, redis_server.url)
    assert (view.store, view.symbols) == ("redis", 20)
    assert sum(part.behind for part in view.partitions) == 0
    produce_trades(endpoints, topic, feed(2))
    third = run(endpoints, profile, "memory")
    assert third.assignment.remembered.sequence.unverified == 20, (
        "without the store it is said that what came before is not known"
    )
    assert third.assignment.remembered.state.guarantee == OWN


def test_a_consumer_whose_redis_is_gone_goes_on_and_says_so(
    platform: tuple[Endpoints, Profile, str], fragile_redis: RedisServer
) -> None:
    endpoints, profile, topic = platform
    produce_trades(endpoints, topic, feed(0))
    run(endpoints, profile, fragile_redis.url)
    fragile_redis.kill()
    produce_trades(endpoints, topic, feed(1))
    consumer = Consumer(endpoints, ConsumerPlan(profile, until_caught_up=True, state=fragile_redis.url))
    reporter, said = StatusReporter(consumer), []
    consumer.run(threading.Event(), lambda: said.append(reporter.status()))
    assert {status.state and status.state.guarantee for status in said} == {REDUCED}
    assert_only_true_gaps(consumer.assignment.remembered.sequence, 2)
    assert_exact(endpoints, topic, np.concatenate([feed(0), feed(1)]))
    fragile_redis.start()
    third = run(endpoints, profile, fragile_redis.url)
    assert_only_true_gaps(third.assignment.remembered.sequence, 2)
    assert third.assignment.remembered.state.guarantee == SHARED
