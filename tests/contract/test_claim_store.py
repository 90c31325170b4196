"""What every store of claims promises, asked of the one in memory and of a real Redis."""

import uuid
from collections.abc import Iterator

import numpy as np
import pytest

from k2ctl.clock import ManualClock, SystemClock
from k2ctl.dedup.shared.claim_stores import open_claims
from k2ctl.dedup.shared.claims import (
    STORED,
    ClaimStore,
    Coverage,
    GenerationLost,
    places_of,
    tickets_of,
)
from k2ctl.dedup.shared.memory_claims import MemoryClaims
from k2ctl.dedup.shared.redis_claims import RedisClaims
from k2ctl.errors import UsageError
from k2ctl.sequence.state_store import namespace_of
from tests.support.claims import FIRST, NOON_US, SECOND, batch, claim, ids, rows
from tests.support.redis_server import RedisServer


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[ClaimStore]:
    namespace = namespace_of(str(uuid.uuid4()), "market.equities.trades.x")
    opened: ClaimStore = MemoryClaims(namespace, 3600, ManualClock())
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        opened = RedisClaims(server.url, namespace, 3600)
    yield opened
    opened.close()


def test_what_nobody_claimed_is_ours(store: ClaimStore) -> None:
    claimed = claim(store, batch("c0"), 1, 2, 3)
    assert claimed.holders.tolist() == [0, 0, 0]
    assert store.statistics().ids == 3


def test_an_empty_batch_can_be_claimed(store: ClaimStore) -> None:
    claimed = claim(store, batch("c0"))
    assert claimed.holders.tolist() == []
    assert store.batches([claimed.ticket.number]) == {claimed.ticket.number: batch("c0")}


def test_a_claim_of_another_names_its_ticket_and_its_partition(store: ClaimStore) -> None:
    theirs = claim(store, batch("c0", "c1", consumer="b"), 1, 2, 3, places=[0, 1, 1])
    ours = claim(store, batch("c2"), 3, 4, 1)
    assert tickets_of(ours.holders).tolist() == [theirs.ticket.number, 0, theirs.ticket.number]
    assert places_of(ours.holders).tolist() == [1, 0, 0]
    assert ours.ticket.number > theirs.ticket.number
    assert store.batches(tickets_of(ours.holders).tolist()) == {
        theirs.ticket.number: batch("c0", "c1", consumer="b"),
    }


def test_an_id_that_comes_twice_in_a_batch_is_ours_twice(store: ClaimStore) -> None:
    assert (
        store.claim(batch("c0"), ids(1, 1), np.array([NOON_US] * 2), np.zeros(2, np.uint16)).holders.tolist() == [0] * 2
    )


def test_an_id_is_compared_in_all_its_bytes(store: ClaimStore) -> None:
    alike = [number << shift for number in (1, 2) for shift in range(0, 120, 8)]
    times, places = np.full(len(alike), NOON_US), np.zeros(len(alike), np.uint16)
    assert not store.claim(batch("c0"), ids(*alike), times, places).holders.any()
    assert store.statistics().ids == len(alike)
    assert store.claim(batch("c0"), ids(*alike), times, places).holders.all()


def test_a_claim_is_taken_over_where_its_holder_is_still_the_expected_one(store: ClaimStore) -> None:
    theirs = claim(store, batch("c0"), 1, 2)
    ours, third = claim(store, batch("c1"), 1, 2, 3), claim(store, batch("c2"), 1, 2)
    first = store.take_over(third.ticket, *rows(1), third.holders[:1])
    assert first.tolist() == [0]
    both = store.take_over(ours.ticket, *rows(1, 2), ours.holders[:2])
    assert tickets_of(both).tolist() == [third.ticket.number, 0]
    again = claim(store, batch("c0"), 1, 2, 3)
    assert tickets_of(again.holders).tolist() == [third.ticket.number, ours.ticket.number, ours.ticket.number]
    assert tickets_of(third.holders).tolist() == [theirs.ticket.number] * 2


def test_a_claim_that_is_gone_is_taken_over(store: ClaimStore) -> None:
    ours = claim(store, batch("c1"), 1)
    assert store.take_over(ours.ticket, *rows(7), np.array([STORED])).tolist() == [0]
    assert tickets_of(claim(store, batch("c2"), 7).holders).tolist() == [ours.ticket.number]


def test_a_confirmed_batch_says_so(store: ClaimStore) -> None:
    claimed = claim(store, batch("c0"), 1)
    assert store.confirm(claimed.ticket, {FIRST: Coverage("", "c1", 7)})
    assert store.batches([claimed.ticket.number])[claimed.ticket.number].confirmed


def test_a_void_batch_has_no_record_and_leaves_its_claims(store: ClaimStore) -> None:
    claimed = claim(store, batch("c0"), 1)
    assert store.confirm(claimed.ticket, {})
    assert store.batches([claimed.ticket.number]) == {}
    assert tickets_of(claim(store, batch("c0"), 1).holders).tolist() == [claimed.ticket.number]
    assert not store.confirm(claimed.ticket, {FIRST: Coverage("", "c1", 7)})


def test_stored_rows_are_claims_that_are_decided(store: ClaimStore) -> None:
    first = claim(store, batch("c0"), 1)
    store.add_stored(first.ticket.generation, *rows(1, 2)[:2])
    found = claim(store, batch("c0"), 1, 2, 3).holders
    assert found.tolist() == [first.ticket.number << 16, STORED, 0]
    assert store.batches(tickets_of(found).tolist()).keys() == {first.ticket.number}


def test_nothing_is_covered_at_first(store: ClaimStore) -> None:
    assert store.covered().by_partition == {}
    claimed = claim(store, batch("c0"), 1)
    assert not claimed.covered.by_partition[FIRST].reaches("c0")


def test_a_partition_that_is_new_to_the_table_is_covered_from_its_first_claims_on(store: ClaimStore) -> None:
    claimed = claim(store, batch(""), 1)
    assert claimed.covered.by_partition[FIRST].reaches("c1"), "made on it by this batch"
    assert store.confirm(claimed.ticket, {FIRST: Coverage("", "c1", 7)})
    coverage = store.covered().by_partition[FIRST]
    assert (coverage.since, coverage.commit_id, coverage.sequence_number) == ("", "c1", 7)
    assert coverage.reaches("c1")
    assert not coverage.reaches("c2"), "nobody claimed on it"


def test_confirmed_batches_that_join_move_what_is_covered(store: ClaimStore) -> None:
    for base, moved in (("", "c1"), ("c1", "c2"), ("c2", "c3")):
        assert store.confirm(claim(store, batch(base), 1).ticket, {FIRST: Coverage("", moved, 7)})
    assert store.covered().by_partition[FIRST].reaches("c3")


def test_a_commit_without_claims_ends_what_is_covered(store: ClaimStore) -> None:
    assert store.confirm(claim(store, batch(""), 1).ticket, {FIRST: Coverage("", "c1", 7)})
    claimed = claim(store, batch("c2"), 2)
    assert not claimed.covered.by_partition[FIRST].reaches("c2")
    assert store.confirm(claimed.ticket, {FIRST: Coverage("", "c3", 9)})
    coverage = store.covered().by_partition[FIRST]
    assert (coverage.since, coverage.commit_id) == ("c2", "c3")
    assert not coverage.reaches("c3")


def test_only_partitions_that_the_commit_moved_are_covered_by_it(store: ClaimStore) -> None:
    claimed = claim(store, batch("", ""), 1)
    assert store.confirm(claimed.ticket, {SECOND: Coverage("", "c1", 7)})
    by_partition = store.covered().by_partition
    assert by_partition[SECOND].commit_id == "c1"
    assert by_partition[FIRST].commit_id == ""


def test_healing_covers_a_partition_that_nobody_claims(store: ClaimStore) -> None:
    before = store.covered()
    store.cover(before.generation, {FIRST: Coverage("", "c5", 9)}, before.by_partition)
    assert store.covered().by_partition == {FIRST: Coverage("", "c5", 9)}


@pytest.mark.parametrize(
    ("base", "covered"),
    [("c5", "c6"), ("c6", None)],
    ids=["a batch on what was healed joins", "a commit in between does not, and another round is needed"],
)
def test_healing_joins_what_was_claimed_meanwhile(store: ClaimStore, base: str, covered: str | None) -> None:
    before = store.covered()
    assert store.confirm(claim(store, batch(base), 1).ticket, {FIRST: Coverage("", "c6" if base == "c5" else "c7", 11)})
    store.cover(before.generation, {FIRST: Coverage("", "c5", 9)}, before.by_partition)
    coverage = store.covered().by_partition[FIRST]
    assert coverage.reaches(covered) if covered else coverage.since
    now = store.covered()
    store.cover(now.generation, {FIRST: Coverage("", "c8", 12)}, now.by_partition)
    assert store.covered().by_partition[FIRST].reaches("c8")


def test_healing_takes_back_nothing_that_another_healed_further(store: ClaimStore) -> None:
    before = store.covered()
    store.cover(before.generation, {FIRST: Coverage("", "c8", 12)}, before.by_partition)
    store.cover(before.generation, {FIRST: Coverage("", "c5", 9)}, before.by_partition)
    assert store.covered().by_partition[FIRST].reaches("c8")


def test_another_generation_is_refused(store: ClaimStore) -> None:
    ticket = claim(store, batch("c0"), 1).ticket._replace(generation="another")
    with pytest.raises(GenerationLost):
        store.take_over(ticket, *rows(1), np.array([0]))
    with pytest.raises(GenerationLost):
        store.add_stored("another", *rows(5)[:2])
    with pytest.raises(GenerationLost):
        store.cover("another", {FIRST: Coverage("", "c5", 9)}, {})
    assert not store.confirm(ticket, {FIRST: Coverage("", "c5", 9)})
    assert store.statistics().ids == 1
    assert store.covered().by_partition[FIRST].since


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "memory"
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url


def test_consumers_of_one_scope_share_claims_and_others_do_not(url: str) -> None:
    platform, clock = str(uuid.uuid4()), SystemClock()

    def opened(topic: str | None, of: str = platform) -> ClaimStore:
        return open_claims(url, of, topic, 3600, clock)

    for first in (opened("a"), opened(None)):
        claim(first, batch("c0"), 1)
    assert claim(opened("a"), batch("c0"), 1).holders.all()
    assert claim(opened(None), batch("c0"), 1).holders.all()
    assert not claim(opened("b"), batch("c0"), 1).holders.any()
    assert not claim(opened("a", str(uuid.uuid4())), batch("c0"), 1).holders.any()


def test_an_address_that_is_no_store_of_claims_is_refused() -> None:
    with pytest.raises(UsageError):
        open_claims("postgres://x", "p", "t", 3600, SystemClock())
