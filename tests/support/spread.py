"""Trades of random ids that a producer spreads over the partitions of topics, with copies in other ones."""

import os
import random
import signal
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from k2ctl.checks.verify.against_kafka import account
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.consume.report import StatusReporter
from k2ctl.dedup.shared import waiting
from k2ctl.domain.dedup_status import TierStatus
from k2ctl.domain.status_parts import SHARED
from k2ctl.domain.trade import frames
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.telemetry import TelemetryWriter
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.profiles import Profile, load_profile
from k2ctl.timing import Every
from tests.made_trades import make_trades, produce_values
from tests.support.consumers import CONTEXT, die_at
from tests.support.groups import Group
from tests.support.independent_reader import Sources
from tests.support.polling import until

Place = tuple[str, int]
"""A topic and a partition of it."""


def shared_dedup(scope: str, **settings: object) -> dict[str, object]:
    """The settings of deduplication with a scope."""
    return {**load_profile("laptop").consumer.dedup.model_dump(), "scope": scope, **settings}


def random_trades(count: int, start: int = 0) -> np.ndarray:
    """Made trades with ids that say nothing."""
    trades = make_trades(count, start)
    trades["message_id"] = np.array([uuid.uuid4().bytes for _ in range(count)], "V16")
    return trades


class SpreadTrades:
    """What is sent: every trade once, to any place, and of some of them a copy to another place, a while later."""

    def __init__(self, places: Sequence[Place], copies: float, seed: int = 1, later: int = 2_000) -> None:
        self._places = list(places)
        self._copies = copies
        self._rng = random.Random(seed)
        self._later = later
        self._made = 0
        # Copies that are still to be sent, by the number of the trade before which they are.
        self._due: list[tuple[int, Place, np.void]] = []
        self.copies = 0

    def send(self, endpoints: Endpoints, count: int, frame: int = 20) -> None:
        """So many more trades, and the copies that are due among them, all acknowledged."""
        values: dict[Place, list[np.void]] = {place: [] for place in self._places}
        for trade in random_trades(count, self._made):
            place = self._rng.choice(self._places)
            values[place].append(trade)
            if self._rng.random() < self._copies:
                other = self._rng.choice([found for found in self._places if found != place])
                self._due.append((self._made + self._rng.randrange(self._later), other, trade))
            self._made += 1
        due, self._due = (
            [copy for copy in self._due if copy[0] < self._made],
            [copy for copy in self._due if copy[0] >= self._made],
        )
        for _, place, trade in due:
            values[place].insert(self._rng.randint(0, len(values[place])), trade)
        self._send(endpoints, values, frame, len(due))

    def send_the_rest(self, endpoints: Endpoints) -> None:
        """The copies that are not sent yet."""
        values: dict[Place, list[np.void]] = {place: [] for place in self._places}
        for _, place, trade in self._due:
            values[place].append(trade)
        self._send(endpoints, values, 20, len(self._due))
        self._due = []

    def _send(self, endpoints: Endpoints, values: dict[Place, list[np.void]], frame: int, copies: int) -> None:
        self.copies += copies
        for topic in {topic for topic, _ in self._places}:
            mine = [(partition, found) for (of, partition), found in values.items() if of == topic and found]
            produce_values(endpoints, topic, _records(mine, frame))

    @property
    def trades(self) -> int:
        """How many different trades were sent."""
        return self._made


def _records(values: Sequence[tuple[int, list[np.void]]], frame: int) -> Iterator[tuple[int, bytes]]:
    for partition, trades in values:
        for value in frames(np.array(trades), frame):
            yield partition, value


def times_stored(endpoints: Endpoints) -> Counter[bytes]:
    """Message id → how often it is in the table, read without k2ctl."""
    table = Sources.of(endpoints).table()
    if table is None or table.current_snapshot() is None:
        return Counter()
    column = table.scan(selected_fields=("message_id",)).to_arrow()["message_id"]
    return Counter(value if isinstance(value, bytes) else value.bytes for value in column.to_pylist())


SETTLING_POINTS = {
    "before it claims": ("k2ctl.dedup.shared.redis_claims", "RedisClaims.claim", "before"),
    "having claimed": ("k2ctl.dedup.shared.redis_claims", "RedisClaims.claim", "after"),
    "having settled": ("k2ctl.dedup.shared.settlement", "Settlement.settle", "after"),
    "having committed": ("k2ctl.lake.writer", "TableWriter.commit", "after"),
    "before it confirms": ("k2ctl.dedup.shared.redis_claims", "RedisClaims.confirm", "before"),
    "having confirmed": ("k2ctl.dedup.shared.redis_claims", "RedisClaims.confirm", "after"),
}
"""Where a consumer may die or stand still between claim and confirmation, as `consumers.die_at` takes them."""


def _consume(
    endpoints: Endpoints,
    profile: Profile,
    state: str,
    point: str | None,
    call: int,
    number: int,
    patience_s: float,
) -> None:
    os.environ["K2CTL_HOME"] = str(Path(endpoints.warehouse.removeprefix("file://")).parent)
    waiting.LEAST_PATIENCE_S = patience_s  # type: ignore[misc]
    if point is not None:
        die_at(point, call, SETTLING_POINTS, number)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    consumer, telemetry = Consumer(endpoints, ConsumerPlan(profile, state=state)), TelemetryWriter(endpoints)
    reporter, every = StatusReporter(consumer), Every(0.1)
    consumer.run(stop, lambda: telemetry.publish(reporter.status()) if every.due() else None)
    telemetry.close()


PATIENCE_S = 1.5
"""How long a consumer of these tests waits for a claim on whose partition nothing moves."""


def start_consumer(
    endpoints: Endpoints,
    profile: Profile,
    state: str,
    point: str | None = None,
    call: int = 2,
    number: int = signal.SIGKILL,
    patience_s: float = PATIENCE_S,
) -> BaseProcess:
    """A consumer of a topic in a process of its own, until SIGTERM. Its second claim is the first with trades."""
    process = CONTEXT.Process(target=_consume, args=(endpoints, profile, state, point, call, number, patience_s))
    process.start()
    return process


class SpreadGroup(Group):
    """A group whose topic is fed with trades of random ids, in any partition, 5 % of them twice."""

    def _feed(self) -> None:
        self.spread = SpreadTrades([(self.topic, partition) for partition in range(self.partitions)], 0.05)
        while not self._stop.wait(0.05):
            self.spread.send(self.endpoints, 500)
        self.spread.send_the_rest(self.endpoints)

    def finish(self) -> None:
        """As in a group; every trade is stored once, and each copy is counted."""
        self.end_of_all()
        stored = times_stored(self.endpoints)
        with Lake.at(self.endpoints) as lake:
            total = checkpoints_of(lake.table()).total()
        assert total.balanced
        assert (max(stored.values()), len(stored)) == (1, self.spread.trades)
        assert total.duplicate == self.spread.copies
        (accounted,) = account(self.endpoints, self.profile, lambda _: None)
        assert accounted.holds, accounted


class FilledGroup(Group):
    """A group whose topic is filled by the test, in pieces."""

    def _feed(self) -> None:
        self.spread = SpreadTrades(
            [(self.topic, partition) for partition in range(self.partitions)], 0.05, later=20_000
        )
        self.spread_is_ready.set()

    def __init__(self, endpoints: Endpoints, exchange: str, partitions: int, **consumer: object) -> None:
        self.spread_is_ready = threading.Event()
        super().__init__(endpoints, exchange, partitions, **consumer)
        self.spread_is_ready.wait()

    def fill(self, count: int) -> None:
        """So many trades and their copies, all acknowledged."""
        for _ in range(0, count, FILLED_AT_ONCE):
            self.spread.send(self.endpoints, min(count, FILLED_AT_ONCE))
        self.spread.send_the_rest(self.endpoints)

    def until_all_is_stored(self) -> None:
        """Wait until the table is at the ends."""
        with BrokerAdmin(self.endpoints) as admin:
            ends = {p: mark.high for p, mark in admin.watermarks(self.topic).items()}
        until(
            lambda: self.offsets() == ends,
            180,
            lambda: f"the table is at {self.offsets()}, Kafka at {ends}",
            every_s=0.2,
        )

    def tiers(self) -> dict[str, TierStatus]:
        """Member → how the shared tier goes."""
        return {name: status.dedup.tier for name, status in self.statuses().items()}

    def until_healed(self) -> None:
        """Wait until all members say SHARED; a few trades come meanwhile, because each commit asks."""

        def is_healed() -> bool:
            self.fill(400)
            return {tier.guarantee for tier in self.tiers().values()} == {SHARED}

        until(is_healed, 60, self.tiers, every_s=0.5)


FILLED_AT_ONCE = 25_000
