"""Deduplication against a plain set, through kills, late trades, bursts and clocks that jump.

A small world: a Kafka log, a table, and a consumer that reads, commits, saves, dies and comes back. Whatever happens,
a step lets through exactly the trades that are neither stored nor pending; the same id alone does not make a copy.
"""

import random
import uuid
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2ctl.clock import ManualClock
from k2ctl.dedup.bloom import words_of
from k2ctl.dedup.chunk_plan import ChunkPlan, plan_chunks
from k2ctl.dedup.deduplicator import HybridDeduplicator, Memory
from k2ctl.dedup.saved_state import DedupSaver, load, take_in
from k2ctl.domain.checkpoint import Checkpoint, Checkpoints, Counts, Tally, TopicPartition
from k2ctl.domain.rows import Rows
from k2ctl.domain.trade import TRADE
from k2ctl.errors import ProfileError
from k2ctl.lake.side_folder import DedupIndex
from k2ctl.lake.stored_lookup import Stored
from k2ctl.profiles import load_profile
from tests.made_trades import make_rows

HOUR_US = 3_600_000_000


class Folder:
    """The files beside the table, in memory."""

    table_id = "t"

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.last: DedupIndex | None = None

    def write(self, content: bytes) -> str:
        name = str(uuid.uuid4())
        self.files[name] = content
        return name

    def read(self, location: str) -> bytes:
        if location not in self.files:
            raise FileNotFoundError(location)
        return self.files[location]

    def delete(self, locations: set[str]) -> None:
        for location in locations:
            self.files.pop(location, None)

    def put_index(self, index: DedupIndex) -> None:
        self.last = index


class Sent(NamedTuple):
    """A record of the log."""

    id: bytes
    time_us: int
    produced_us: int
    symbol: bytes = b"BHP"
    exchange: bytes = b"ASX"

    @property
    def trade(self) -> tuple[bytes, bytes, bytes, int]:
        """What makes a copy."""
        return self.id, self.symbol, self.exchange, self.time_us


@dataclass
class World:
    """One consumer of one partition. stored: offset → sequence number."""

    plan: ChunkPlan
    rng: random.Random
    clock: ManualClock = field(default_factory=ManualClock)
    folder: Folder = field(default_factory=Folder)
    log: list[Sent] = field(default_factory=list)
    stored: dict[int, int] = field(default_factory=dict)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)

    def __post_init__(self) -> None:
        self.start(use_saved=True)

    def start(self, *, use_saved: bool) -> None:
        """A process begins: from what was saved and the rows since, or from the window of the table."""
        index, now_us = self.folder.last, self.clock.now_us()
        memory = load(self.folder, index, self.plan) if use_saved and index else None  # type: ignore[arg-type]
        if memory is not None and index is not None:
            since = [at for at, number in self.stored.items() if number > index.sequence_number]
        else:
            memory, earliest = Memory.empty(self.plan), now_us - self.plan.window_us
            memory.series.floor_us = earliest
            since = [at for at in self.stored if max(self.log[at].time_us, self.log[at].produced_us) >= earliest]
        if since:
            rows = self.rows(since)
            take_in(memory, words_of(rows.trades["message_id"]), rows.trades["event_ns"] // 1000, now_us, now_us)
        self.dedup = HybridDeduplicator(memory, self, self.clock)
        self.saver = DedupSaver(self.folder, "t", self.plan, self.checkpoints, self.clock)  # type: ignore[arg-type]
        self.position = (
            self.checkpoints.by_partition[TopicPartition("t", "e", 0)].next_offset
            if self.checkpoints.by_partition
            else 0
        )
        self.pending: list[int] = []
        self.in_flight: tuple[list[int], int] | None = None

    def rows(self, offsets: list[int]) -> Rows:
        trades = TRADE.empty(len(offsets))
        sent = [self.log[at] for at in offsets]
        trades["message_id"] = np.array([one.id for one in sent], "V16")
        trades["event_ns"] = np.array([one.time_us for one in sent]) * 1000
        trades["symbol"], trades["exchange"] = [one.symbol for one in sent], [one.exchange for one in sent]
        rows = make_rows(trades)
        return Rows(**{**vars(rows), "offset": np.array(offsets, np.int64)})

    def find(self, rows: Rows) -> Stored:
        """The lake, as the deduplicator asks it."""
        held = {self.log[at].trade: at for at in self.stored}
        at = np.array([held.get(self.log[at].trade, -1) for at in rows.offset.tolist()], np.int64)
        return Stored((at >= 0) & (at != rows.offset), at == rows.offset, np.zeros(len(at), np.bool_))

    def produce(self, ids: list[bytes], late_us: int) -> None:
        now_us = self.clock.now_us()
        self.log += [Sent(i, now_us - self.rng.randint(0, late_us), now_us) for i in ids]

    def repeat(self, count: int) -> None:
        """Copies of any earlier trades."""
        now_us = self.clock.now_us()
        self.log += [self.rng.choice(self.log)._replace(produced_us=now_us) for _ in range(count if self.log else 0)]

    def resemble(self, count: int) -> None:
        """Trades with the ids of earlier ones, of another symbol, venue or time."""
        for _ in range(count if self.log else 0):
            one, number = self.rng.choice(self.log), self.rng.randint(1, 3)
            changed: dict[str, Any] = self.rng.choice(
                [{"symbol": b"S%d" % number}, {"exchange": b"X%d" % number}, {"time_us": one.time_us - number}]
            )
            self.log.append(one._replace(**changed, produced_us=self.clock.now_us()))

    def read(self, count: int) -> None:
        offsets = list(range(self.position, min(len(self.log), self.position + count)))
        if not offsets:
            return
        taken = self.pending + (self.in_flight[0] if self.in_flight else []) + list(self.stored)
        known, expected = {self.log[at].trade for at in taken}, []
        for at in offsets:
            if self.log[at].trade not in known:
                known.add(self.log[at].trade)
                expected.append(at)
        tally = Tally()
        passed = self.dedup.step(self.rows(offsets), tally).offset.tolist()
        assert passed == expected
        assert tally.of(0).duplicate == len(offsets) - len(expected)
        self.position = offsets[-1] + 1
        self.pending += passed

    def seal(self) -> None:
        if self.in_flight is None:
            self.dedup.seal()
            self.in_flight, self.pending = (self.pending, self.position), []

    def land(self) -> None:
        """The commit is in the table; the process does not know it yet."""
        if self.in_flight is None:
            return
        number = self.checkpoints.sequence_number + 1
        self.stored.update(dict.fromkeys(self.in_flight[0], number))
        checkpoint = Checkpoint(self.in_flight[1], Counts(), str(number))
        self.checkpoints = Checkpoints(str(number), number, {TopicPartition("t", "e", 0): checkpoint})

    def commit(self) -> None:
        if self.in_flight is not None:
            self.land()
            self.in_flight = None
            self.dedup.publish()
            self.saver.note_commit(self.checkpoints, self.checkpoints.commit_id)

    def finish(self) -> None:
        """Read everything; then every trade is stored exactly once."""
        for _ in range(3):
            self.commit()
            self.read(len(self.log))
            self.seal()
        self.commit()
        assert sorted(self.log[at].trade for at in self.stored) == sorted({one.trade for one in self.log})

    def damage(self) -> None:
        name = self.rng.choice(sorted(self.folder.files)) if self.folder.files else None
        if name is not None and self.rng.random() < 0.5:
            del self.folder.files[name]
        elif name is not None:
            self.folder.files[name] = self.folder.files[name][:-1] + b"\x55"


def random_ids(rng: random.Random, count: int) -> list[bytes]:
    return [uuid.UUID(int=rng.getrandbits(128), version=4).bytes for _ in range(count)]


KINDS = (
    *("produce", "late", "ahead", "burst", "repeat", "repeat", "resemble", "read", "read", "read", "wait", "wait back"),
    *("seal", "commit", "commit", "save", "save and die", "land and die", "die", "die, damaged"),
)
STEPS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 60)), min_size=10, max_size=60)
"""What happens, and how much of it. A burst is more than five times what the smallest plan holds."""


def do(world: World, step: str, amount: int) -> None:
    late = {"produce": 1_000_000, "burst": 1_000_000, "late": 30 * HOUR_US}
    match step:
        case "produce" | "burst" | "late":
            world.produce(random_ids(world.rng, amount * (6 if step == "burst" else 1)), late[step])
        case "ahead":
            now_us = world.clock.now_us()
            world.log += [Sent(i, now_us + 300_000_000, now_us) for i in random_ids(world.rng, amount)]
        case "wait":
            world.clock.advance(amount * 900)
        case "wait back":
            world.clock.advance(-amount * 120)
        case "repeat":
            world.repeat(amount)
        case "resemble":
            world.resemble(amount)
        case "read":
            world.read(amount)
        case "seal":
            world.seal()
        case "commit":
            world.commit()
        case "save":
            world.saver.save(world.dedup)
        case "land and die":
            world.land()
            world.start(use_saved=True)
        case "die, damaged":
            world.damage()
            world.start(use_saved=True)
        case "save and die":
            world.saver.save(world.dedup)
            world.start(use_saved=True)
        case "die":
            world.start(use_saved=True)


@pytest.mark.parametrize(("ids", "error_rate", "limit"), [(16, 0.2, 4), (40, 0.2, 100), (64, 0.0005, 3)])
@settings(max_examples=150)
@given(steps=STEPS, seed=st.integers(0, 10**6))
def test_exactly_the_new_trades_pass(
    ids: int, error_rate: float, limit: int, steps: list[tuple[str, int]], seed: int
) -> None:
    """Also past the window, because what was forgotten is looked up; with one false positive in five; at any time."""
    world = World(ChunkPlan(24 * HOUR_US, ids, error_rate, limit), random.Random(seed))
    for step, amount in steps:
        do(world, step, amount)
    world.finish()


@settings(max_examples=150)
@given(steps=STEPS, seed=st.integers(0, 10**6))
def test_ids_with_a_sequence_pass_once_too(steps: list[tuple[str, int]], seed: int) -> None:
    """Mixed with random ones; all within the window, which interval sets do not reach beyond."""
    world = World(ChunkPlan(24 * HOUR_US, 16, 0.2, 4), random.Random(seed))
    numbers = iter(range(1, 1_000_000))
    for step, amount in steps:
        if step in {"produce", "burst"}:
            ids = [(7).to_bytes(8, "big") + next(numbers).to_bytes(8, "big") for _ in range(amount)]
            world.rng.shuffle(ids)
            world.produce(ids, 0)
        if step != "wait":
            do(world, step, amount)
    world.finish()


def test_a_trade_that_kafka_delivers_again_is_a_replay() -> None:
    """Its row is in the table already: the commit decides, as its offset is behind; and backfill drops it."""
    world = World(ChunkPlan(24 * HOUR_US, 100, 0.01, 10), random.Random(1))
    world.produce(random_ids(world.rng, 10), 0)
    world.read(10)
    world.seal()
    world.commit()
    tally = Tally()
    assert len(world.dedup.step(world.rows([3, 4]), tally)) == 2
    assert tally.of(0).duplicate == 0
    assert world.dedup.statistics().replays == 2
    world.start(use_saved=False)
    assert len(world.dedup.remember(world.rows([5]))) == 0


def test_look_ups_are_spared_while_time_goes_on() -> None:
    """Live trades meet one chunk or two, and only false positives reach the lake."""
    world = World(ChunkPlan(24 * HOUR_US, 5_000, 0.0005, 100), random.Random(1))
    world.dedup.memory.series.floor_us = 0
    for _ in range(100):
        world.clock.advance(1.0)
        world.produce(random_ids(world.rng, 500), 1_000_000)
        world.read(500)
        world.seal()
        world.commit()
    judged = world.dedup.statistics()
    assert (judged.checked, judged.chunks) == (50_000, 10)
    assert judged.queries <= judged.cleared < 100


def test_saved_files_are_replaced_and_closed_chunks_are_not_written_again() -> None:
    world = World(ChunkPlan(24 * HOUR_US, 100, 0.01, 10), random.Random(1))
    names = []
    for _ in range(5):
        world.produce(random_ids(world.rng, 50), 0)
        world.read(50)
        world.seal()
        world.commit()
        assert not world.saver.save_if_due(world.dedup)
        world.clock.advance(61)
        assert world.saver.save_if_due(world.dedup)
        assert world.folder.last is not None
        names.append({chunk.file for chunk in world.folder.last.chunks if chunk.kind == "closed"})
    assert [len(files) for files in names] == [0, 1, 1, 2, 2]
    assert names[1] == names[2] < names[3]
    assert world.folder.last is not None
    # The files of this index and of the one before, which somebody may be reading.
    assert len(world.folder.files) <= 2 * len(world.folder.last.files)


def test_what_others_have_stored_is_not_claimed_to_be_saved() -> None:
    world = World(ChunkPlan(24 * HOUR_US, 100, 0.01, 10), random.Random(1))
    partition = TopicPartition("t", "e", 0)
    world.saver.note_commit(Checkpoints("a", 1, {partition: Checkpoint(5, Counts(), "a")}), "a")
    world.saver.note_commit(Checkpoints("c", 3, {partition: Checkpoint(9, Counts(), "b")}), "c")
    world.saver.save(world.dedup)
    assert world.folder.last is not None
    assert world.folder.last.sequence_number == 1


@pytest.mark.parametrize("profile", ["laptop", "10K", "1M", "10M"])
def test_every_shipped_profile_fits_its_budget(profile: str) -> None:
    consumer = load_profile(profile).consumer
    plan = plan_chunks(consumer)
    assert plan.limit * plan.chunk_bytes <= consumer.dedup.budget_mb * 1_000_000


def test_a_plan_over_its_budget_is_refused_with_the_figures_and_the_ways_out() -> None:
    consumer = load_profile("laptop").consumer
    greedy = consumer.model_copy(update={"dedup": consumer.dedup.model_copy(update={"ids_per_s": 10_000})})
    with pytest.raises(ProfileError) as raised:
        plan_chunks(greedy)
    assert "10,000 random ids/s for 24 h at 0.10% need 1,711 MB, and budget_mb is 256" in str(raised.value)
    assert all(way in raised.value.hint for way in ("budget_mb to 1,711", "window_hours 3.6", "ids_per_s 1,4"))
    small = consumer.model_copy(update={"memory_limit_mb": 200})
    with pytest.raises(ProfileError, match="memory_limit_mb 200"):
        plan_chunks(small)
