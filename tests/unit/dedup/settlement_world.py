"""A world for settlement: consumers that stop at every call they make, a table, and a store of claims that forgets.

Settlement, claims and offsets are the real ones; table, log and clock are made, and the log is the model: a trade that
a checkpoint has passed is in the table. Each consumer runs on a thread that goes on only when it may, up to its
next call of store, table or clock. So whatever may happen between two calls is made to happen there.
"""

import copy
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from k2ctl.clock import ManualClock
from k2ctl.dedup.shared.claims import Coverage, GenerationLost
from k2ctl.dedup.shared.memory_claims import MemoryClaims
from k2ctl.dedup.shared.settlement import Settlement
from k2ctl.dedup.shared.waiting import SettlementGivenUp
from k2ctl.domain.checkpoint import Checkpoint, Checkpoints, Counts, OffsetDelta, TopicPartition
from k2ctl.domain.copies import CopyIndex
from k2ctl.domain.decimals import of_int64
from k2ctl.domain.offers import fenced_partitions
from k2ctl.domain.rows import Rows
from k2ctl.domain.trade import TRADE
from k2ctl.errors import StateError
from k2ctl.lake.stored_lookup import Stored
from k2ctl.lake.written_offer import Committed

PARTITIONS = (*(TopicPartition("a", "e", p) for p in range(3)), TopicPartition("b", "e", 0))
PATIENCE_S = 10.0
Trade = tuple[int, int]
"""An id, and what was printed."""


class Killed(BaseException):
    """A process has ended at the call that it was about to make, or had made."""


class Actor:
    """Work on a thread that stands still between calls, until it may go on."""

    def __init__(self, work: Callable[["Actor"], None]) -> None:
        self._may_go, self._stands = threading.Semaphore(0), threading.Semaphore(0)
        self._killed = self.has_ended = False
        self._error: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._may_go.acquire()
        try:
            if not self._killed:
                self._work(self)
        except Killed:
            pass
        except BaseException as error:
            self._error = error
        self.has_ended = True
        self._stands.release()

    def stand(self) -> None:
        """By the actor itself: a call is about to be made, or was made."""
        if not self._killed:
            self._stands.release()
            self._may_go.acquire()
        if self._killed:
            raise Killed

    def go_on(self) -> None:
        """Up to its next call, or its end."""
        if not self.has_ended:
            self._may_go.release()
            self._stands.acquire()
        if self._error is not None:
            raise self._error

    def kill(self) -> None:
        self._killed = True
        self.go_on()


class MadeTable:
    """Rows and checkpoints; each commit is one step."""

    def __init__(self) -> None:
        self.now = Checkpoints()
        self.past: list[Checkpoints] = []
        # Trade → where it stands in Kafka and the batch that stored it, for each time that it is stored.
        self.rows: dict[Trade, list[tuple[TopicPartition, int, str]]] = defaultdict(list)
        self._prints: dict[int, set[int]] = defaultdict(set)
        first = {at: OffsetDelta(0, 0, Counts()) for at in PARTITIONS}
        self.now = self.now.after(first, "first", 1)
        self.past.append(self.now)

    def commit(self, rows: Rows, deltas: Mapping[TopicPartition, OffsetDelta], batch: str, *, whole: bool) -> Committed:
        fenced = fenced_partitions(self.now, deltas)
        left = {at: delta for at, delta in deltas.items() if at not in fenced}
        if not left or (fenced and whole):
            return Committed(batch, None, 0, tuple(sorted(fenced)), 1, 0, self.now)
        self.past.append(self.now)
        self.now = self.now.after(left, batch, self.now.sequence_number + 1)
        stored = 0
        for trade, partition, offset in zip(
            trades_of(rows), rows.partition.tolist(), rows.offset.tolist(), strict=True
        ):
            at = TopicPartition(rows.topic, rows.epoch, partition)
            if at in left:
                self.rows[trade].append((at, offset, batch))
                self._prints[trade[0]].add(trade[1])
                stored += 1
        return Committed(batch, 1, stored, tuple(sorted(fenced)), 1, 0, self.now)

    def find(self, rows: Rows) -> Stored:
        found = Stored(*(np.zeros(len(rows), np.bool_) for _ in range(3)))
        for n, trade in enumerate(trades_of(rows)):
            own = (TopicPartition(rows.topic, rows.epoch, int(rows.partition[n])), int(rows.offset[n]))
            places = [place[:2] for place in self.rows.get(trade, ())]
            found.itself[n] = own in places
            found.elsewhere[n] = any(place != own for place in places)
            found.reprinted[n] = bool(self._prints[trade[0]] - {trade[1]})
        return found


class FragileClaims(MemoryClaims):
    """A store that may be out of reach, before or after it has done what was asked, and that loses what it had."""

    def __init__(self, clock: ManualClock, rng: random.Random) -> None:
        super().__init__("model", 3600.0, clock)
        self._rng = rng
        self.is_away = False
        self.lost_answers = 0.0
        self._dumps: list[tuple[Any, ...]] = []

    def check_before(self) -> None:
        if self.is_away:
            raise StateError("out of reach")

    def check_after(self) -> None:
        if self.is_away or self._rng.random() < self.lost_answers:
            raise StateError("the answer is lost")

    def dump(self) -> None:
        self._dumps.append(copy.deepcopy((self._slices, self._batches, self._next)))

    def turn_back(self) -> None:
        """Begin again with what an older dump has."""
        dump = copy.deepcopy(self._dumps[-1]) if self._dumps else None
        self.forget()
        if dump is not None:
            self._slices, self._batches, self._next = dump


class Standing:
    """A part of the world as one actor calls it: it stands before each call, and behind it."""

    def __init__(self, part: Any, actor: Actor) -> None:
        self._part, self._actor = part, actor

    def __getattr__(self, name: str) -> Any:
        made = getattr(self._part, name)

        def call(*arguments: Any, **named: Any) -> Any:
            self._actor.stand()
            getattr(self._part, "check_before", lambda: None)()
            result = made(*arguments, **named)
            getattr(self._part, "check_after", lambda: None)()
            self._actor.stand()
            return result

        return call


class ActorsTable:
    """The table as settlement asks it."""

    def __init__(self, world: "World", actor: Actor) -> None:
        self._world, self._actor = world, actor

    def checkpoints(self) -> Checkpoints:
        self._actor.stand()
        return self._world.table.now

    def find(self, rows: Rows) -> Stored:
        self._actor.stand()
        found = self._world.table.find(rows)
        self._actor.stand()
        return found

    def move(self, deltas: Mapping[TopicPartition, OffsetDelta]) -> Committed:
        self._actor.stand()
        return self._world.commit(Rows.empty("a", "e"), deltas, whole=False)

    def waits(self) -> bool:
        return True


class ActorsClock(ManualClock):
    """The world's clock: to sleep is to stand."""

    def __init__(self, world: "World", actor: Actor) -> None:
        self._world, self._actor = world, actor

    def now_us(self) -> int:
        return self._world.clock.now_us()

    def monotonic_s(self) -> float:
        return self._world.clock.monotonic_s()

    def sleep(self, seconds: float) -> None:
        self._world.seen["waits"] += 1
        self._actor.stand()


class World:
    """One run: `step` makes something happen, `end` lets all consumers come to an end; both check what always holds."""

    whole = True

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.clock = ManualClock()
        self.table = MadeTable()
        self.store = FragileClaims(self.clock, self.rng)
        self.log: dict[TopicPartition, list[Trade]] = {at: [] for at in PARTITIONS}
        # Batches whose consumer has said that no copy of their trades can be stored.
        self.shared: set[str] = set()
        self.seen: Counter[str] = Counter()
        self._numbers = iter(range(1, 1 << 30))
        self._checked: dict[TopicPartition, int] = dict.fromkeys(PARTITIONS, 0)
        self.assigned: list[set[TopicPartition]] = [{PARTITIONS[0]}, {PARTITIONS[1], PARTITIONS[2]}, {PARTITIONS[3]}]
        self.consumers = [self.consumer(n) for n in range(len(self.assigned))]
        self.zombies: list[Actor] = []
        self.healer: Actor | None = None
        self.reads = True

    # Consumers.

    def consumer(self, n: int) -> Actor:
        assigned = sorted(self.assigned[n])
        return Actor(lambda actor: self.consume(actor, assigned, f"c{n}"))

    def consume(self, actor: Actor, assigned: Sequence[TopicPartition], name: str) -> None:
        clock = ActorsClock(self, actor)
        store: Any = Standing(self.store, actor)
        settling = Settlement(store, ActorsTable(self, actor), name, None, clock, PATIENCE_S)
        actor.stand()
        known = self.table.now
        while assigned:
            committed = self.one_commit(actor, settling, assigned, known)
            if committed is None or committed.fenced:
                actor.stand()
                known = self.table.now
            else:
                known = committed.checkpoints
            for name in ("hits", "copies", "fences"):
                self.seen[name] += getattr(settling.totals, name)
                setattr(settling.totals, name, 0)

    def one_commit(
        self, actor: Actor, settling: Settlement, assigned: Sequence[TopicPartition], known: Checkpoints
    ) -> Committed | None:
        rows, deltas = self.read(assigned, known)
        if not deltas:
            actor.stand()
            return None
        before = settling.totals.stored_reduced
        settling.begin()
        try:
            settled = settling.settle([rows], deltas, known)
        except SettlementGivenUp:
            self.seen["given up"] += 1
            return None
        actor.stand()
        (part,) = settled.parts
        committed = self.commit(part.rows, deltas, whole=self.whole)
        actor.stand()
        settling.confirm(settled, committed)
        if committed.snapshot_id is not None:
            if settling.totals.stored_reduced == before:
                self.shared.add(committed.commit_id)
                self.check_copies(part.rows)
            self.seen["shared" if committed.commit_id in self.shared else "reduced"] += 1
        return committed

    def read(
        self, assigned: Sequence[TopicPartition], known: Checkpoints
    ) -> tuple[Rows, dict[TopicPartition, OffsetDelta]]:
        """What comes next in Kafka, without copies among it."""
        found, deltas = list[tuple[Trade, int, int]](), {}
        for at in assigned:
            stands: Checkpoint = known.by_partition[at]
            end = min(len(self.log[at]), stands.next_offset + self.rng.randint(0, 4))
            if (self.reads and self.rng.random() < 0.3) or end == stands.next_offset:
                continue
            offsets = range(stands.next_offset, end)
            found += [(self.log[at][offset], at.partition, offset) for offset in offsets]
            deltas[at] = OffsetDelta(stands.next_offset, end, Counts(), stands.commit_id)
        rows = rows_of(assigned[0].topic, found)
        return rows.take(~CopyIndex(rows.trades).within.copies) if len(rows) else rows, deltas

    # What happens.

    def step(self) -> None:
        happens, weight = zip(*self.happenings().items(), strict=True)
        self.rng.choices(happens, weight)[0]()

    def happenings(self) -> dict[Callable[[], None], float]:
        return {
            self.trades_come: 10, self.a_consumer_goes_on: 60, self.a_zombie_goes_on: 10, self.the_healer_goes_on: 20,
            self.time_passes: 3, self.a_consumer_is_killed: 1.5, self.a_partition_moves: 1.5, self.a_dump_is_made: 2,
            self.the_store_is_emptied: 0.5, self.the_store_is_turned_back: 0.7, self.the_store_goes: 0.4,
            self.the_store_comes: 3, self.answers_are_lost: 0.5, self.somebody_gives_up: 0.3,
        }  # fmt: skip

    def trades_come(self) -> None:
        """Of few ids, so that most come twice and in several partitions; some of them printed otherwise."""
        recent = self.seen["ids"]
        for at in self.rng.sample(PARTITIONS, self.rng.randint(1, len(PARTITIONS))):
            for _ in range(self.rng.randint(1, 3)):
                number = recent + 1 if self.rng.random() < 0.5 else max(1, recent - self.rng.randint(0, 5))
                self.log[at].append((number, int(self.rng.random() < 0.1)))
        self.seen["ids"] += self.rng.randint(0, 2)

    def a_consumer_goes_on(self) -> None:
        self.go_on(self.rng.choice(self.consumers))

    def a_zombie_goes_on(self) -> None:
        if self.zombies:
            self.go_on(self.rng.choice(self.zombies))

    def go_on(self, actor: Actor) -> None:
        """Some calls: often a whole commit, often one call."""
        for _ in range(self.rng.choice([1, 1, 2, 4, 12])):
            actor.go_on()

    def the_healer_goes_on(self) -> None:
        if self.healer is None or self.healer.has_ended:
            self.healer = Actor(self.heal)
        self.go_on(self.healer)

    def heal(self, actor: Actor) -> None:
        """Claim what the table has."""
        store: Any = Standing(self.store, actor)
        try:
            before = store.covered()
            actor.stand()
            table, stored = self.table.now, [trade for trade, rows in self.table.rows.items() if rows]
            rows = rows_of("a", [(trade, 0, 0) for trade in stored])
            store.add_stored(before.generation, rows.trades["message_id"], rows.trades["event_ns"] // 1000)
            healed = {
                at: Coverage("", found.commit_id, table.sequence_number) for at, found in table.by_partition.items()
            }
            store.cover(before.generation, healed, before.by_partition)
            self.seen["healed"] += 1
        except (StateError, GenerationLost):
            self.seen["healing failed"] += 1

    def time_passes(self) -> None:
        self.clock.advance(self.rng.choice([0.3, 2.0, PATIENCE_S + 1.0]))

    def a_consumer_is_killed(self) -> None:
        n = self.rng.randrange(len(self.consumers))
        self.consumers[n].kill()
        self.consumers[n] = self.consumer(n)

    def a_partition_moves(self) -> None:
        """To the other consumer of its topic; who had it has ended, or is suspended and goes on as it was."""
        at = self.rng.choice(PARTITIONS[:3])
        for n in (0, 1):
            if self.rng.random() < 0.5:
                self.zombies.append(self.consumers[n])
            else:
                self.consumers[n].kill()
        self.assigned[0] ^= {at}
        self.assigned[1] = {*PARTITIONS[:3]} - self.assigned[0]
        for n in (0, 1):
            self.consumers[n] = self.consumer(n)
        for zombie in self.zombies[:-3]:
            zombie.kill()
        self.zombies = self.zombies[-3:]

    def a_dump_is_made(self) -> None:
        self.store.dump()

    def the_store_is_emptied(self) -> None:
        self.store.forget()

    def the_store_is_turned_back(self) -> None:
        self.store.turn_back()

    def the_store_goes(self) -> None:
        self.store.is_away = True

    def the_store_comes(self) -> None:
        self.store.is_away, self.store.lost_answers = False, 0.0

    def answers_are_lost(self) -> None:
        self.store.lost_answers = 0.2

    def somebody_gives_up(self) -> None:
        """A consumer ends, and begins again."""
        self.a_consumer_is_killed()

    # What always holds.

    def commit(self, rows: Rows, deltas: Mapping[TopicPartition, OffsetDelta], *, whole: bool) -> Committed:
        committed = self.table.commit(rows, deltas, f"batch {next(self._numbers)}", whole=whole)
        self.seen["fenced"] += bool(committed.fenced)
        self.check_nothing_is_lost()
        return committed

    def check_nothing_is_lost(self) -> None:
        for at, stands in self.table.now.by_partition.items():
            for offset in range(self._checked[at], stands.next_offset):
                assert self.table.rows.get(self.log[at][offset]), f"offset {offset} of {at} is lost"
            self._checked[at] = stands.next_offset

    def check_copies(self, rows: Rows) -> None:
        for trade in trades_of(rows):
            batches = [batch for *_, batch in self.table.rows[trade] if batch in self.shared]
            assert len(batches) <= 1, f"{trade} was stored by {batches}, and nobody said that it may be"

    def end(self) -> None:
        """Left alone, everybody comes to an end, and everything is stored."""
        self.the_store_comes()
        self.reads = False
        for _ in range(200):
            for actor in (*self.zombies, *self.consumers):
                for _ in range(12):
                    actor.go_on()
            self.clock.advance(1.0)
            stands = self.table.now.by_partition
            if all(stands[at].next_offset == len(log) for at, log in self.log.items()):
                break
        else:
            raise AssertionError(f"somebody waits for ever: {self.table.now}")

    def close(self) -> None:
        for actor in (*self.zombies, *self.consumers, *filter(None, [self.healer])):
            actor.kill()


def run_world(seed: int, steps: int, kind: type[World] = World) -> Counter[str]:
    """One run; returns what was seen in it."""
    world = kind(seed)
    try:
        for _ in range(steps):
            world.step()
        world.end()
    except Exception as error:
        error.add_note(f"seed {seed}")
        raise
    finally:
        world.close()
    return world.seen


def rows_of(topic: str, found: Sequence[tuple[Trade, int, int]]) -> Rows:
    """Trades with their partitions and offsets."""
    trades = TRADE.empty(len(found))
    number = np.array([trade[0] for trade, *_ in found], np.int64)
    ids = np.zeros((len(found), 2), ">u8")
    ids[:, 1] = number
    trades["message_id"] = ids.view("V16")[:, 0]
    trades["event_ns"] = 1_700_000_000_000_000_000 + number * 7_000_000_000
    trades["price"] = of_int64(np.array([trade[1] + 1 for trade, *_ in found], np.int64))
    where = np.array([place[1:] for place in found], np.int64).reshape(-1, 2)
    return Rows.of(topic, "e", trades, where[:, 0].astype(np.int32), where[:, 1], np.zeros(len(found), np.int32))


def trades_of(rows: Rows) -> list[Trade]:
    numbers = rows.trades["message_id"].copy().view(">u8").reshape(-1, 2)[:, 1].tolist()
    return [
        (number, int(price) - 1) for number, price in zip(numbers, rows.trades["price"]["low"].tolist(), strict=True)
    ]
