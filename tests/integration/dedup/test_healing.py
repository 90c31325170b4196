"""Claims of stored rows, added from a real table to a store that has lost them."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console, RenderableType

from k2ctl.clock import ManualClock, SystemClock
from k2ctl.dedup.shared.claims import STORED, ClaimStore, Coverage, GenerationLost
from k2ctl.dedup.shared.claims_view import claims_of
from k2ctl.dedup.shared.coverage import uncovered
from k2ctl.dedup.shared.healing import Healer, HealingProgress, heal
from k2ctl.dedup.shared.memory_claims import MemoryClaims
from k2ctl.dedup.shared.plan import SharedPlan
from k2ctl.dedup.shared.redis_claims import RedisClaims
from k2ctl.domain.checkpoint import Checkpoints, Counts, OffsetDelta, TopicPartition
from k2ctl.lake.catalog import Lake
from k2ctl.lake.maintenance.maintainer import compact_now, whole_hours
from k2ctl.lake.writer import TableWriter
from k2ctl.views.claims import claims_panel
from tests.made_trades import make_rows, make_trades
from tests.support.claims import batch
from tests.support.leases import of_this_machine
from tests.support.polling import until
from tests.support.redis_server import RedisServer

WINDOW_S = 3600


@dataclass
class World:
    """A table, and a store that knows nothing of it."""

    lake: Lake
    clock: ManualClock
    store: ClaimStore

    def __post_init__(self) -> None:
        self.writer = TableWriter(self.lake, self.clock)
        self.checkpoints = Checkpoints()

    def commit(self, start: int, count: int, topic: str = "t", epoch: str = "e", partition: int = 0) -> Checkpoints:
        """Store made trades without a claim."""
        rows = make_rows(make_trades(count, start), start, topic, epoch)
        rows.partition[:] = partition
        at = TopicPartition(topic, epoch, partition)
        known = self.checkpoints.by_partition.get(at)
        counts = Counts(seen=count, stored=count)
        delta = OffsetDelta(known.next_offset if known else start, start + count, counts, known and known.commit_id)
        self.checkpoints = self.writer.commit([rows], {at: delta}).checkpoints
        return self.checkpoints

    def commit_id(self, partition: int = 0) -> str:
        return self.checkpoints.by_partition[TopicPartition("t", "e", partition)].commit_id

    def round(self, topic: str | None = "t") -> list[HealingProgress]:
        return list(heal(self.lake, self.store, topic, WINDOW_S, self.clock))

    def known(self, start: int, count: int) -> int:
        """How many of some made trades somebody has claimed, or were added."""
        trades = make_trades(count, start)
        times_us = trades["event_ns"] // 1000
        claimed = self.store.claim(batch("?"), trades["message_id"], times_us, np.zeros(count, np.uint16))
        return int((claimed.holders == STORED).sum())

    def missing(self, topic: str | None = "t") -> list[TopicPartition]:
        return uncovered(self.store.covered(), self.checkpoints, topic)


def shown(panel: RenderableType) -> str:
    """As a terminal of 80 columns shows it."""
    console = Console(width=80, file=io.StringIO())
    with console.capture() as captured:
        console.print(panel)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    opened = Lake(f"sqlite:///{tmp_path}/catalog.db", f"file://{tmp_path}/warehouse")
    opened.ensure_table()
    yield opened
    opened.close()


@pytest.fixture
def world(lake: Lake) -> World:
    clock = ManualClock(SystemClock().now_us())
    return World(lake, clock, MemoryClaims("k2:{u:t}", WINDOW_S, clock))


def test_where_nothing_is_stored_nothing_is_missing(world: World) -> None:
    assert world.missing() == []
    assert world.round() == []


def test_rows_of_the_window_are_added_to_a_redis_and_their_partitions_covered(
    lake: Lake, redis_server: RedisServer
) -> None:
    clock = ManualClock(SystemClock().now_us())
    world = World(lake, clock, RedisClaims(redis_server.url, f"k2:{{{lake.table().metadata.table_uuid}:t}}", WINDOW_S))
    world.commit(0, 100)
    world.commit(100, 50, partition=1)
    assert len(world.missing()) == 2
    progress = world.round()
    assert (progress[0].percent, progress[-1].percent) == (0, 100)
    assert progress[-1] == HealingProgress(partitions=2, rows=150, of_rows=150)
    assert world.missing() == []
    assert world.round() == []
    assert world.known(0, 200) == 150
    world.store.close()


def test_what_is_claimed_and_covered_can_be_seen(lake: Lake, redis_server: RedisServer) -> None:
    clock, uuid = ManualClock(SystemClock().now_us()), lake.table().metadata.table_uuid
    world = World(lake, clock, RedisClaims(redis_server.url, f"k2:{{{uuid}:t}}", WINDOW_S))
    world.commit(0, 100)
    plan = SharedPlan("topic", WINDOW_S, 1000)
    before = claims_of(lake, world.store, plan, "t")
    assert (before.ids, before.partitions, before.uncovered) == (0, 1, ("t, partition 0",))
    assert "not covered" in shown(claims_panel(before))
    world.round()
    after = claims_of(lake, world.store, plan, "t")
    assert (after.ids, after.uncovered, after.planned_bytes) == (100, (), plan.bytes)
    assert re.search(r"covered +1 of 1 partition\n", shown(claims_panel(after)))
    world.store.close()


def test_rows_that_were_committed_before_the_window_are_left_out_also_from_a_compacted_file(lake: Lake) -> None:
    clock = ManualClock(SystemClock().now_us() - 2 * WINDOW_S * 1_000_000)
    world = World(lake, clock, MemoryClaims("k2:{u:t}", WINDOW_S, clock))
    world.commit(0, 100)
    clock.advance(2 * WINDOW_S)
    world.commit(100, 20)
    assert compact_now(lake, clock, whole_hours, of_this_machine)
    world.round()
    assert world.missing() == []
    assert world.known(0, 120) == 20


def test_only_commits_since_what_is_covered_are_read(world: World) -> None:
    world.commit(0, 100)
    world.round()
    world.commit(100, 20)
    assert len(world.missing()) == 1
    assert world.round()[-1].of_rows == 20
    assert world.missing() == []
    assert world.known(0, 120) == 120


def test_the_rows_of_another_topic_are_added_where_all_topics_are_the_scope(world: World) -> None:
    world.commit(0, 100)
    world.commit(1000, 100, topic="other")
    world.round("t")
    assert world.missing("t") == []
    assert world.missing(None) == [TopicPartition("other", "e", 0)]
    assert world.known(1000, 10) == 0
    world.round(None)
    assert world.missing(None) == []
    assert world.known(1010, 90) == 90


def test_the_rows_of_an_epoch_that_is_gone_are_added(world: World) -> None:
    world.commit(0, 100)
    world.checkpoints = world.writer.retire("t", "e", 0)
    assert len(world.missing()) == 1
    world.round()
    assert world.missing() == []
    assert world.known(0, 100) == 100


def test_a_commit_without_claims_while_healing_goes_on_is_left_for_the_next_round(world: World) -> None:
    world.commit(0, 100)
    healing = heal(world.lake, world.store, "t", WINDOW_S, world.clock)
    next(healing)
    world.commit(100, 20)
    assert list(healing)[-1].of_rows == 100
    assert len(world.missing()) == 1
    assert world.round()[-1].of_rows == 20
    assert world.missing() == []


def test_a_commit_with_claims_while_healing_goes_on_joins(world: World) -> None:
    world.commit(0, 100)
    base = world.commit_id()
    healing = heal(world.lake, world.store, "t", WINDOW_S, world.clock)
    next(healing)
    ticket = world.store.claim(batch(base), np.zeros(0, "V16"), np.zeros(0, np.int64), np.zeros(0, np.uint16)).ticket
    after = world.commit(100, 20)
    moved = Coverage("", world.commit_id(), after.sequence_number)
    assert world.store.confirm(ticket, {TopicPartition("t", "e", 0): moved})
    list(healing)
    assert world.missing() == []


def test_claims_that_are_lost_while_healing_goes_on_end_the_round_and_nothing_is_covered(world: World) -> None:
    world.commit(0, 100)
    healing = heal(world.lake, world.store, "t", WINDOW_S, world.clock)
    next(healing)
    assert isinstance(world.store, MemoryClaims)
    world.store.forget()
    with pytest.raises(GenerationLost):
        list(healing)
    assert len(world.missing()) == 1
    world.round()
    assert world.missing() == []


def test_one_of_several_consumers_heals_in_the_background(world: World) -> None:
    world.commit(0, 100)
    healers = [Healer(world.lake, world.store, "t", WINDOW_S, name, world.clock) for name in ("a", "b")]
    assert world.store.take_turn("a", 10)
    for healer in healers:
        healer.wake()
    until(lambda: world.missing() == [])
    assert not world.store.take_turn("b", 10)
    world.commit(100, 20)
    healers[0].wake()
    until(lambda: world.missing() == [])
    for healer in healers:
        healer.close()
        assert healer.progress is None
    assert world.known(0, 120) == 120


def test_healing_that_failed_is_tried_again(world: World) -> None:
    class Failing(MemoryClaims):
        """Loses its claims whenever something is added, until it is mended."""

        is_mended = False

        def add_stored(self, generation: str, ids: np.ndarray, times_us: np.ndarray) -> None:
            if not self.is_mended:
                self.forget()
            super().add_stored(generation, ids, times_us)

    failing = Failing("k2:{u:t}", WINDOW_S, world.clock)
    world = replace(world, store=failing)
    world.commit(0, 100)
    first = failing.covered().generation
    healer = Healer(world.lake, failing, "t", WINDOW_S, "a", world.clock)
    healer.wake()
    until(lambda: failing.covered().generation != first)
    failing.is_mended = True
    until(lambda: healer.wake() or world.missing() == [])
    healer.close()
