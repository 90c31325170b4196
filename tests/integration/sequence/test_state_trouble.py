"""Sequence state while its Redis is slow, gone, empty, full or a second behind: no false report, and all comes back.

A `Follower` is a consumer without Kafka and table: it reads a feed that stands for the topic, and `table` holds the
commits. Redis is real.
"""

import time
import uuid
from collections.abc import Iterator

import numpy as np
import pytest

from k2ctl.clock import SystemClock
from k2ctl.sequence.redis_store import RedisStateStore
from k2ctl.sequence.state_store import Fence
from k2ctl.sequence.state_sync import REDUCED, SHARED, SequenceCut, StateSync
from k2ctl.sequence.symbol_state import cut
from k2ctl.sequence.tracker import SequenceTracker
from tests.made_trades import make_trades
from tests.support.polling import until
from tests.support.redis_server import RedisServer

TOPIC = "t"


class Table:
    """Committed trades: offset 0 is the first trade, and so on."""

    def __init__(self) -> None:
        self.platform = str(uuid.uuid4())
        self.trades = make_trades(0)
        self.commit_id = ""

    @property
    def fence(self) -> Fence:
        return Fence("e", len(self.trades), self.commit_id)

    def commit(self, trades: np.ndarray) -> None:
        self.trades = np.concatenate([self.trades, trades])
        self.commit_id = uuid.uuid4().hex


class Follower:
    """One consumer's sequence state, from its start on."""

    def __init__(self, table: Table, url: str) -> None:
        self.table = table
        self.tracker = SequenceTracker()
        self.store = RedisStateStore(url, table.platform, TOPIC, timeout_s=0.3)
        self.state_sync = StateSync(self.store, self.tracker, SystemClock())
        self.covered = self.state_sync.restore({0: table.fence}, 0)
        self.tracker.step(table.trades[self.covered.get(0, 0) :])
        self.tracker.start_counting()
        self.state_sync.begin()

    def read(self, trades: np.ndarray) -> tuple[np.ndarray, SequenceCut]:
        self.tracker.step(trades, np.zeros(len(trades), np.int32))
        return trades, self.state_sync.cut()

    def commit(self, batch: tuple[np.ndarray, SequenceCut]) -> None:
        self.table.commit(batch[0])
        self.state_sync.committed(batch[1], {0: self.table.fence})

    def consume(self, trades: np.ndarray) -> None:
        self.commit(self.read(trades))

    @property
    def guarantee(self) -> str:
        return self.state_sync.snapshot().guarantee

    def caught_up(self) -> bool:
        status = self.state_sync.snapshot()
        return status.guarantee == SHARED and status.behind_symbols == 0


def store_has_what_is_committed(follower: Follower) -> bool:
    """The store stands where the table stands, and holds what a tracker makes of the whole table."""
    found = follower.store.load([0]).get(0)
    if found is None or not found.fence.same_commit(follower.table.fence):
        return False
    whole = SequenceTracker()
    whole.step(follower.table.trades)
    assert dict(found.values) == dict(cut(whole)[0])
    return True


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def follower(table: Table, fragile_redis: RedisServer) -> Iterator[Follower]:
    started = Follower(table, fragile_redis.url)
    started.consume(make_trades(100))
    until(started.caught_up)
    yield started
    started.state_sync.close()


def test_nothing_is_published_before_its_commit(follower: Follower) -> None:
    batch = follower.read(make_trades(100, start=100))
    time.sleep(0.05)
    assert follower.store.load([0])[0].fence.same_commit(follower.table.fence)
    assert store_has_what_is_committed(follower)
    follower.read(make_trades(100, start=200))  # read on while the first is being committed
    follower.commit(batch)
    until(lambda: store_has_what_is_committed(follower))


def test_a_slow_redis_delays_nobody_and_catches_up(follower: Follower, fragile_redis: RedisServer) -> None:
    fragile_redis.pause()
    try:
        started_s = time.monotonic()
        for start in range(100, 600, 100):
            follower.consume(make_trades(100, start=start))
        assert time.monotonic() - started_s < 2.0, "five times Redis's time limit, if the consumer waited for it"
        until(lambda: follower.guarantee == REDUCED)
        assert "in time" in follower.state_sync.snapshot().why
        assert follower.state_sync.snapshot().behind_symbols == 20
    finally:
        fragile_redis.resume()
    until(lambda: follower.caught_up() and store_has_what_is_committed(follower))
    assert follower.tracker.counts().open_gaps == follower.tracker.counts().resets == 0


def test_a_redis_that_is_killed_and_comes_back_empty_gets_everything_again(
    follower: Follower, fragile_redis: RedisServer
) -> None:
    fragile_redis.kill()
    follower.consume(make_trades(20, start=100))
    until(lambda: follower.guarantee == REDUCED)
    fragile_redis.restart_empty()
    until(lambda: follower.caught_up() and store_has_what_is_committed(follower))
    assert follower.state_sync.snapshot().rebuilt_partitions >= 1
    follower.consume(make_trades(20, start=120))
    until(lambda: store_has_what_is_committed(follower))


def test_a_flushed_redis_gets_everything_again(follower: Follower, fragile_redis: RedisServer) -> None:
    client = fragile_redis.client()
    client.flushall()
    client.close()
    follower.consume(make_trades(1, start=100))
    until(lambda: store_has_what_is_committed(follower))


def test_a_lost_second_of_writes_is_noticed_and_made_good(follower: Follower, fragile_redis: RedisServer) -> None:
    """AOF everysec: after a crash the file ends where it was a second ago."""
    client = fragile_redis.client()
    key = f"k2:{{{follower.table.platform}:{TOPIC}}}:sequence:0"
    before = client.dump(key)
    follower.consume(make_trades(40, start=100))
    until(lambda: store_has_what_is_committed(follower))
    client.restore(key, 0, before, replace=True)
    client.close()
    # Only some of the symbols trade now; those of the lost second must come back as well.
    follower.consume(make_trades(3, start=140))
    until(lambda: store_has_what_is_committed(follower))


def test_a_redis_out_of_memory_is_a_reduced_guarantee_until_it_has_room(
    follower: Follower, fragile_redis: RedisServer
) -> None:
    client = fragile_redis.client()
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)
    follower.consume(make_trades(100, start=100))
    until(lambda: follower.guarantee == REDUCED)
    assert "out of memory" in follower.state_sync.snapshot().why
    client.config_set("maxmemory", 0)
    client.close()
    until(lambda: follower.caught_up() and store_has_what_is_committed(follower))


def test_a_start_without_redis_rebuilds_from_the_table_and_publishes_later(
    follower: Follower, fragile_redis: RedisServer
) -> None:
    follower.state_sync.close()
    fragile_redis.kill()
    second = Follower(follower.table, fragile_redis.url)
    assert (second.covered, second.guarantee) == ({}, REDUCED)
    second.consume(make_trades(50, start=100))
    assert second.tracker.counts().open_gaps == second.tracker.counts().unverified == 0
    fragile_redis.start()
    until(lambda: second.caught_up() and store_has_what_is_committed(second))
    second.state_sync.close()


def test_who_takes_over_goes_on_without_the_table(follower: Follower, fragile_redis: RedisServer) -> None:
    follower.consume(make_trades(60, start=120))  # numbers 100 to 119 are missing: an open gap in each symbol
    until(lambda: store_has_what_is_committed(follower))
    second = Follower(follower.table, fragile_redis.url)
    assert second.covered == {0: 160}
    assert second.tracker.counts().missing_trades == follower.tracker.counts().missing_trades == 20
    second.consume(make_trades(20, start=100))
    counts = second.tracker.counts()
    assert (counts.out_of_order, counts.filled_gaps, counts.open_gaps, counts.resets) == (20, 20, 0, 0)
    second.state_sync.close()


def test_a_crash_between_commit_and_publication_is_rebuilt_from_the_table(
    follower: Follower, fragile_redis: RedisServer
) -> None:
    batch = follower.read(make_trades(40, start=100))
    follower.table.commit(batch[0])  # and the process is gone
    second = Follower(follower.table, fragile_redis.url)
    assert second.covered == {0: 100}
    assert second.tracker.counts().open_gaps == 0
    until(lambda: store_has_what_is_committed(second))
    second.state_sync.close()


def test_a_zombie_publishes_nothing_over_its_successor(follower: Follower, fragile_redis: RedisServer) -> None:
    second = Follower(follower.table, fragile_redis.url)
    stale = Fence("e", 110, "never committed")
    second.consume(make_trades(40, start=100))
    until(lambda: store_has_what_is_committed(second))
    follower.state_sync.committed(follower.read(make_trades(10, start=100))[1], {0: stale})
    until(lambda: follower.guarantee == REDUCED)
    assert "others" in follower.state_sync.snapshot().why
    assert store_has_what_is_committed(second)
    second.state_sync.close()


def test_a_table_that_was_turned_back_is_believed_and_not_the_store(
    follower: Follower, fragile_redis: RedisServer
) -> None:
    follower.consume(make_trades(40, start=100))
    until(lambda: store_has_what_is_committed(follower))
    follower.state_sync.close()
    follower.table.trades = follower.table.trades[:100]
    follower.table.commit_id = "an older one"
    second = Follower(follower.table, fragile_redis.url)
    assert second.covered == {}
    until(lambda: store_has_what_is_committed(second))
    second.state_sync.close()


def test_damaged_state_is_rebuilt_and_not_guessed(follower: Follower, fragile_redis: RedisServer) -> None:
    client = fragile_redis.client()
    client.hset(f"k2:{{{follower.table.platform}:{TOPIC}}}:sequence:0", "ASX/S00", b"\x01\x00short")
    client.close()
    second = Follower(follower.table, fragile_redis.url)
    assert second.covered == {}
    assert second.tracker.counts().symbols == 20
    until(lambda: store_has_what_is_committed(second))
    second.state_sync.close()


@pytest.mark.parametrize("when", ["while it runs", "before it starts"])
@pytest.mark.parametrize("kind", ["string", "list", "fence"])
def test_a_key_that_another_program_wrote_is_named_and_replaced_from_the_table(
    follower: Follower, fragile_redis: RedisServer, kind: str, when: str
) -> None:
    key = f"k2:{{{follower.table.platform}:{TOPIC}}}:sequence:0"
    with fragile_redis.client() as client:
        if kind == "fence":
            client.hset(key, "@fence", "of another program")
        else:
            client.delete(key)
            _ = client.set(key, "x") if kind == "string" else client.rpush(key, "x")
    reader = follower if when == "while it runs" else Follower(follower.table, fragile_redis.url)
    reader.consume(make_trades(20, start=100))
    until(lambda: reader.caught_up() and store_has_what_is_committed(reader))
    assert key in reader.state_sync.snapshot().damaged[-1]
    assert reader.tracker.counts().open_gaps == reader.tracker.counts().resets == 0
    if reader is not follower:
        reader.state_sync.close()


def test_a_fence_that_nobody_committed_is_passed_by_the_next_commit(
    follower: Follower, fragile_redis: RedisServer
) -> None:
    with fragile_redis.client() as client:
        key = f"k2:{{{follower.table.platform}:{TOPIC}}}:sequence:0"
        client.hset(key, "@fence", "e\t130\tnobody\t1")
    follower.consume(make_trades(20, start=100))
    until(lambda: follower.guarantee == REDUCED)
    follower.consume(make_trades(20, start=120))
    until(lambda: follower.caught_up() and store_has_what_is_committed(follower))
