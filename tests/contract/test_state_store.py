"""What every state store promises, asked of the one in memory and of a real Redis."""

import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest

from k2ctl.errors import StateError, UsageError
from k2ctl.sequence.redis_store import TTL_S
from k2ctl.sequence.state_store import Fence, PartitionState, StateStore, Update
from k2ctl.sequence.store_view import open_store
from tests.support.redis_server import RedisServer

FIRST = Fence("e", 100, "c1", 1)
SECOND = Fence("e", 200, "c2", 2)


@pytest.fixture
def platform() -> str:
    return str(uuid.uuid4())


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "memory"
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url


@pytest.fixture
def store(url: str, platform: str) -> Iterator[StateStore]:
    opened = open_store(url, platform, "market.equities.trades.x")
    yield opened
    opened.close()


def test_an_empty_store_has_nothing(store: StateStore) -> None:
    assert store.load([0, 1]) == {}
    assert store.load([]) == {}
    assert store.statistics().partitions == ()


def test_what_is_published_is_there_with_its_fence(store: StateStore) -> None:
    assert store.publish([Update(0, None, FIRST, {b"X/A": b"a\x00\xff", b"X/B": b""})]) == {}
    found = store.load([0, 1])
    assert found.keys() == {0}
    assert (found[0].fence, dict(found[0].values)) == (FIRST, {b"X/A": b"a\x00\xff", b"X/B": b""})


def test_an_update_changes_what_it_names_and_leaves_the_rest(store: StateStore) -> None:
    store.publish([Update(0, None, FIRST, {b"X/A": b"1", b"X/B": b"1"})])
    assert store.publish([Update(0, FIRST, SECOND, {b"X/B": b"2"})]) == {}
    assert store.load([0])[0] == PartitionState(SECOND, {b"X/A": b"1", b"X/B": b"2"})


def test_a_whole_update_leaves_nothing_else(store: StateStore) -> None:
    store.publish([Update(0, None, FIRST, {b"X/A": b"1"})])
    store.publish([Update(0, FIRST, SECOND, {b"X/B": b"2"}, whole=True)])
    assert dict(store.load([0])[0].values) == {b"X/B": b"2"}


def test_an_update_from_another_base_is_refused_and_changes_nothing(store: StateStore) -> None:
    store.publish([Update(0, None, FIRST, {b"X/A": b"1"})])
    zombie = Update(0, None, SECOND, {b"X/A": b"9"}, whole=True)
    assert store.publish([zombie, Update(1, None, SECOND, {b"X/C": b"1"})]) == {0: FIRST}
    assert dict(store.load([0])[0].values) == {b"X/A": b"1"}
    assert store.load([1])[1].fence == SECOND
    assert store.publish([Update(2, FIRST, SECOND, {})]) == {2: None}


def test_updates_of_one_partition_apply_in_their_order(store: StateStore) -> None:
    steps = [Update(0, None, FIRST, {b"X/A": b"1"}), Update(0, FIRST, SECOND, {b"X/A": b"2"})]
    assert store.publish(steps) == {}
    assert dict(store.load([0])[0].values) == {b"X/A": b"2"}


def test_thousands_of_symbols_in_one_call(store: StateStore) -> None:
    values = {f"X/{number}".encode(): number.to_bytes(40, "little") for number in range(12_345)}
    assert store.publish([Update(0, None, FIRST, values), Update(1, None, FIRST, {b"X/A": b"1"})]) == {}
    assert store.load([0])[0].values == values
    assert dict(store.load([1])[1].values) == {b"X/A": b"1"}


def test_statistics_say_what_is_held(store: StateStore) -> None:
    store.publish([Update(p, None, FIRST, {b"X/A": b"a" * 40, b"X/B": b"b" * 40}) for p in (0, 7)])
    statistics = store.statistics()
    assert [(p.partition, p.symbols, p.fence) for p in statistics.partitions] == [(0, 2, FIRST), (7, 2, FIRST)]
    assert statistics.symbols == 4
    assert statistics.bytes >= 4 * 43


@pytest.mark.parametrize(("other_platform", "other_topic"), [(True, False), (False, True)])
def test_platforms_and_topics_do_not_see_each_other(
    store: StateStore, url: str, platform: str, other_platform: bool, other_topic: bool
) -> None:
    store.publish([Update(0, None, FIRST, {b"X/A": b"1"})])
    topic = "market.equities.trades.x" + "y" * other_topic
    other = open_store(url, str(uuid.uuid4()) if other_platform else platform, topic)
    assert other.load([0]) == {}
    assert other.statistics().partitions == ()
    other.close()


def test_state_in_redis_is_forgotten_after_a_week_without_publications(
    redis_server: RedisServer, platform: str
) -> None:
    store = open_store(redis_server.url, platform, "t")
    store.publish([Update(0, None, FIRST, {b"X/A": b"1"})])
    expires_s = store.statistics().partitions[0].expires_s
    assert expires_s is not None
    assert TTL_S - 5 < expires_s <= TTL_S
    store.close()


def test_a_redis_that_is_not_there_is_a_state_error_within_a_second() -> None:
    store = open_store("redis://127.0.0.1:1/0", "p", "t")
    for call in (lambda: store.load([0]), lambda: store.publish([Update(0, None, FIRST, {})]), store.statistics):
        with pytest.raises(StateError):
            call()
    store.close()


@pytest.fixture
def key(platform: str) -> str:
    return f"k2:{{{platform}:market.equities.trades.x}}:sequence:0"


DAMAGE = {
    "a string": lambda client, key: client.set(key, "x"),
    "a list": lambda client, key: client.rpush(key, "x"),
    "a set": lambda client, key: client.sadd(key, "x"),
    "a stream": lambda client, key: client.xadd(key, {"a": "b"}),
    "a hash without a fence": lambda client, key: client.hset(key, "X/A", "1"),
    "a fence that is no number": lambda client, key: client.hset(key, "@fence", "e\tnine\tc\t1"),
    "a fence of 5,000 digits": lambda client, key: client.hset(key, "@fence", f"e\t{'9' * 5000}\tc\t1"),
    "a fence of no text": lambda client, key: client.hset(key, "@fence", b"\xff\t1\tc\t1"),
    "an empty fence": lambda client, key: client.hset(key, "@fence", ""),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("before", [True, False], ids=["over its state", "in an empty store"])
def test_a_key_that_another_program_wrote_counts_as_empty_and_is_replaced_as_a_whole(
    redis_server: RedisServer, platform: str, key: str, damage: str, before: bool
) -> None:
    with closing(open_store(redis_server.url, platform, "market.equities.trades.x")) as store:
        if before:
            store.publish([Update(0, None, FIRST, {b"X/A": b"1"}), Update(1, None, FIRST, {b"X/B": b"1"})])
        with redis_server.client() as client:
            if "fence" not in damage or "without" in damage:
                client.delete(key)
            DAMAGE[damage](client, key)
        assert store.load([0, 1]).keys() == ({1} if before else set())
        assert key in store.statistics().damaged[0]
        assert store.publish([Update(0, FIRST, SECOND, {b"X/A": b"2"})]) == {0: None}
        assert store.publish([Update(0, None, SECOND, {b"X/A": b"2"}, whole=True)]) == {}
        assert store.load([0]) == {0: PartitionState(SECOND, {b"X/A": b"2"})}
        assert any(key in note for note in store.damaged)


def test_a_key_that_names_no_partition_is_reported_and_left(redis_server: RedisServer, platform: str, key: str) -> None:
    with closing(open_store(redis_server.url, platform, "market.equities.trades.x")) as store:
        with redis_server.client() as client:
            client.set(f"{key}x", "1")
        assert store.statistics().damaged == (f"{key}x: its name ends with no partition",)


def test_an_address_that_is_no_store_is_refused() -> None:
    with pytest.raises(UsageError):
        open_store("postgres://x", "p", "t")
