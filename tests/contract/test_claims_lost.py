"""A Redis that loses claims: killed, emptied, paused, turned back, full, or written by another program."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from k2ctl.dedup.shared.claim_records import PART_IDS
from k2ctl.dedup.shared.claims import Coverage, GenerationLost
from k2ctl.dedup.shared.redis_claims import RedisClaims
from k2ctl.errors import StateError
from k2ctl.sequence.state_store import namespace_of
from tests.support.claims import FIRST, NOON_US, batch, claim, random_ids, rows
from tests.support.redis_server import RedisServer


@pytest.fixture
def namespace() -> str:
    return namespace_of(str(uuid.uuid4()), "t")


@pytest.fixture
def store(fragile_redis: RedisServer, namespace: str) -> Iterator[RedisClaims]:
    opened = RedisClaims(fragile_redis.url, namespace, 3600)
    yield opened
    opened.close()


def cover_all(store: RedisClaims) -> None:
    """The first partition is covered, as far as commit c1."""
    now = store.covered()
    store.cover(now.generation, {FIRST: Coverage("", "c1", 7)}, now.by_partition)
    assert store.covered().by_partition[FIRST].reaches("c1")


def expect_loss(store: RedisClaims, before: str) -> None:
    """Another generation has begun, in which nothing is covered."""
    now = store.covered()
    assert now.generation != before
    assert now.by_partition == {}


def test_an_emptied_redis_has_lost_its_generation(store: RedisClaims, fragile_redis: RedisServer) -> None:
    cover_all(store)
    claimed = claim(store, batch("c1"), 1)
    with fragile_redis.client() as client:
        client.flushall()
    assert not store.confirm(claimed.ticket, {FIRST: Coverage("", "c2", 9)})
    expect_loss(store, claimed.ticket.generation)
    assert claim(store, batch("c1"), 1).holders.tolist() == [0]


def test_a_restarted_redis_has_lost_its_generation_and_keeps_its_claims(
    store: RedisClaims, fragile_redis: RedisServer
) -> None:
    with fragile_redis.client() as client:
        client.config_set("appendfsync", "always")
    cover_all(store)
    claimed = claim(store, batch("c1"), 1)
    fragile_redis.kill()
    with pytest.raises(StateError):
        claim(store, batch("c1"), 2)
    fragile_redis.start()
    with pytest.raises(GenerationLost):
        store.take_over(claimed.ticket, *rows(1), claimed.holders)
    expect_loss(store, claimed.ticket.generation)
    again = claim(store, batch("c1"), 1, 2)
    assert again.holders.tolist() == [claimed.ticket.number << 16, 0]
    assert again.ticket.number > claimed.ticket.number


def test_a_redis_that_comes_back_from_an_older_copy_has_lost_its_generation(
    store: RedisClaims, fragile_redis: RedisServer, tmp_path: Path
) -> None:
    with fragile_redis.client() as client:
        client.config_set("appendfsync", "always")
    cover_all(store)
    claim(store, batch("c1"), 1)
    shutil.copytree(fragile_redis.folder, tmp_path / "copy")
    late = claim(store, batch("c1"), 2)
    fragile_redis.kill()
    shutil.rmtree(fragile_redis.folder)
    shutil.copytree(tmp_path / "copy", fragile_redis.folder)
    fragile_redis.start()
    other = claim(store, batch("c1", consumer="b"), 2)
    assert other.holders.tolist() == [0], "nobody has it any more"
    assert not store.confirm(late.ticket, {FIRST: Coverage("", "c2", 9)})
    assert not other.covered.by_partition[FIRST].reaches("c1")


def test_fewer_tickets_than_were_seen_are_a_loss(
    store: RedisClaims, fragile_redis: RedisServer, namespace: str
) -> None:
    claimed = claim(store, batch("c1"), 1)
    with fragile_redis.client() as client:
        client.hset(f"{namespace}:claims:generation", "tickets", 1)
    expect_loss(store, claimed.ticket.generation)
    other = claim(store, batch("c1"), 1)
    assert other.holders.tolist() == [0], "a ticket of the same number has other keys now"


def test_claims_that_redis_evicted_are_a_loss(store: RedisClaims, fragile_redis: RedisServer) -> None:
    claimed = claim(store, batch("c1"), *range(100))
    with fragile_redis.client() as client:
        client.config_set("maxmemory-policy", "volatile-random")
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 100_000)
        for number in range(200):
            client.set(f"other:{number}", "x" * 10_000, ex=1000)
    assert not store.confirm(claimed.ticket, {FIRST: Coverage("", "c2", 9)})


def test_a_full_redis_refuses_and_says_so(store: RedisClaims, fragile_redis: RedisServer) -> None:
    claimed = claim(store, batch("c1"), 1)
    with fragile_redis.client() as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(StateError, match="out of memory"):
            claim(store, batch("c1"), 2)
        client.config_set("maxmemory", 0)
    assert claim(store, batch("c1"), 1, 2).holders.tolist() == [claimed.ticket.number << 16, 0]
    assert store.covered().generation == claimed.ticket.generation


def test_a_paused_redis_is_an_error_within_a_second_and_goes_on_later(
    store: RedisClaims, fragile_redis: RedisServer
) -> None:
    claimed = claim(store, batch("c1"), 1)
    fragile_redis.pause()
    try:
        for call in (lambda: claim(store, batch("c1"), 2), store.covered, lambda: store.batches([2])):
            with pytest.raises(StateError):
                call()
    finally:
        fragile_redis.resume()
    assert store.confirm(claimed.ticket, {FIRST: Coverage("", "c2", 9)})


def test_an_address_without_a_redis_is_an_error(namespace: str) -> None:
    store = RedisClaims("redis://127.0.0.1:1/0", namespace, 3600)
    for call in (lambda: claim(store, batch("c1"), 1), store.covered, store.statistics):
        with pytest.raises(StateError):
            call()


@pytest.mark.parametrize("damage", ["another type", "a holder of another length"])
def test_claims_that_another_program_wrote_over_are_a_loss_and_are_named(
    store: RedisClaims, fragile_redis: RedisServer, damage: str
) -> None:
    claimed = claim(store, batch("c1"), 1)
    with fragile_redis.client() as client:
        (key,) = client.scan_iter("*:ids:*")
        if damage == "another type":
            client.delete(key)
            client.set(key, "x")
        else:
            client.hset(key, rows(1)[0].tobytes(), "x")
    again = claim(store, batch("c1"), 1)
    assert again.holders.tolist() == [0]
    assert again.ticket.generation != claimed.ticket.generation
    assert not store.confirm(claimed.ticket, {FIRST: Coverage("", "c2", 9)})
    assert key.decode() in store.statistics().damaged[0]


@pytest.mark.parametrize("part", ["generation", "coverage", "lock", "batch:2"])
@pytest.mark.parametrize("kind", ["a list", "a text"])
def test_other_keys_that_another_program_wrote_over_do_not_stop_anybody(
    store: RedisClaims, fragile_redis: RedisServer, namespace: str, part: str, kind: str
) -> None:
    first = claim(store, batch("c1"), 1)
    key = f"{namespace}:claims:{part}"
    with fragile_redis.client() as client:
        client.delete(key)
        client.rpush(key, "x") if kind == "a list" else client.set(key, "x")
    again = claim(store, batch("c1"), 1, 2)
    assert store.confirm(again.ticket, {FIRST: Coverage("", "c2", 9)})
    if part == "batch:2":
        assert store.batches([2]) == {}
        assert not store.confirm(first.ticket, {FIRST: Coverage("", "c2", 9)})
    elif part != "lock":
        assert again.ticket.generation != first.ticket.generation


def test_claims_and_records_expire_a_window_after_they_were_written(fragile_redis: RedisServer, namespace: str) -> None:
    store = RedisClaims(fragile_redis.url, namespace, 120)
    claimed = claim(store, batch("c1"), 1)
    with fragile_redis.client() as client:
        kept = {key: client.ttl(key) for key in client.scan_iter("*:claims:*")}
        assert all(0 < ttl_s <= 120 for key, ttl_s in kept.items() if b":ids:" in key or b":batch:" in key)
        client.delete(*(key for key in kept if b":batch:" in key))
    assert not store.confirm(claimed.ticket, {FIRST: Coverage("", "c2", 9)})
    with pytest.raises(GenerationLost):
        store.take_over(claimed.ticket, *rows(1), np.array([0]))
    store.close()


def test_of_two_batches_with_common_ids_one_has_claimed_all_of_them(fragile_redis: RedisServer, namespace: str) -> None:
    """Each batch is of several parts; each consumer has its own connection."""
    count = 3 * PART_IDS + 7
    ids, times, places = random_ids(count), np.full(count, NOON_US), np.zeros(count, np.uint16)
    found: dict[str, np.ndarray] = {}

    def run(consumer: str) -> None:
        store = RedisClaims(fragile_redis.url, namespace, 3600, timeout_s=5)
        at = np.random.default_rng(len(consumer)).permutation(count)
        found[consumer] = store.claim(batch("c1", consumer=consumer), ids[at], times, places).holders
        store.close()

    threads = [Thread(target=run, args=("a" * number,)) for number in range(1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int((holders != 0).sum()) for holders in found.values()) == [0, count, count]


def test_who_claims_meanwhile_is_waited_for_and_a_lock_that_was_left_ends_by_itself(
    store: RedisClaims, fragile_redis: RedisServer, namespace: str
) -> None:
    claim(store, batch("c1"), 1)
    with fragile_redis.client() as client:
        era = client.hget(f"{namespace}:claims:generation", "era").decode()
        client.set(f"{namespace}:claims:lock", f"abcd {era} 2", px=300)
        assert claim(store, batch("c1"), 2).holders.tolist() == [0]
        client.set(f"{namespace}:claims:lock", f"abcd {era} 2", px=60_000)
    with pytest.raises(StateError, match="claiming for a second"):
        claim(store, batch("c1"), 3)
