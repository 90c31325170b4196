"""What benchmarks stand on: how much each does, a stack of their own, unused topics and tables, trades."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from k2ctl.checks.bench.figures import repeated
from k2ctl.demo.cleanup import watched
from k2ctl.domain.rows import NOT_IN_REFERENCE, Rows
from k2ctl.domain.trade import REFERENCE
from k2ctl.endpoints import Endpoints
from k2ctl.errors import UsageError
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.load.market import SyntheticMarket, new_run_id
from k2ctl.profiles import Profile, save_profile
from k2ctl.profiles.universe import Universe
from k2ctl.stack import lifecycle

Say = Callable[[str], None]

PARTITIONS: Final = 64


@dataclass(frozen=True)
class Sizes:
    """How much each benchmark does, in trades, ids and rows."""

    produce: int = 1_000_000
    produce_framed: int = 4_000_000
    log: int = 2_000_000
    archive: int = 10_000_000
    drain: int = 1_500_000
    drain_framed: int = 3_000_000
    naive: int = 300_000
    commits: int = 1_000
    dedup: int = 1_000_000
    # `topic`: the claims that consumers share, in place of a consumer's own memory.
    dedup_scope: str = "partition"
    query_rows: int = 2_000_000
    # Trades a second that arrive meanwhile, and trades to a record of them.
    query_rate: int = 20_000
    query_frame: int = 1
    # Windows asked for.
    queries: int = 400
    # Authors that are threads, consumers that are processes, and how long each is measured.
    group_authors: int = 32
    group_consumers: int = 16
    group_s: float = 30.0
    # Hours in the table, and trades a second, at which costs are measured; and how long each rate is.
    growth_hours: tuple[int, ...] = (1, 10, 100, 1_000)
    growth_rates: tuple[int, ...] = (1_000, 5_000, 10_000, 100_000, 500_000)
    growth_s: float = 15.0
    # How long an hour of the compressed day is.
    day_hour_s: float = 5.0
    repeat: int = 3
    warm_ups: int = 1


NORMAL: Final = Sizes()
QUICK: Final = Sizes(
    produce=300_000,
    produce_framed=1_000_000,
    archive=1_000_000,
    drain=400_000,
    drain_framed=800_000,
    naive=200_000,
    commits=200,
    query_rows=300_000,
    query_rate=5_000,
    queries=60,
    group_authors=16,
    group_consumers=4,
    group_s=8.0,
    growth_hours=(1, 10, 100),
    growth_rates=(1_000, 5_000, 10_000, 100_000),
    growth_s=5.0,
    day_hour_s=2.0,
    repeat=2,
)
FULL: Final = Sizes(dedup=100_000_000, query_rows=20_000_000, query_rate=100_000, repeat=5)


@contextmanager
def bench_stack(engine: str, profile: Profile) -> Iterator[Endpoints]:
    """A stack in a state directory of its own, gone afterwards, also when this process is killed.

    Raises:
        UsageError: the engine runs no stack of its own.
    """
    if engine not in lifecycle.OWN_STACKS:
        raise UsageError(
            f"Benchmarks do not run on '{engine}': they take a stack of their own.",
            f"Engines: {', '.join(lifecycle.OWN_STACKS)}",
        )
    with Home.of_user().temporary("bench-") as home, watched(home):
        try:
            yield lifecycle.up_beside(engine, str(save_profile(profile, home.path)), home)
        finally:
            lifecycle.down(volumes=True, home=home)


class Bench:
    """One run of benchmarks. `say` gets a line of progress for each step."""

    def __init__(self, profile: Profile, engine: str, say: Say, sizes: Sizes = NORMAL) -> None:
        self.profile = profile
        self.even = even_profile(profile, PARTITIONS)
        self.engine = engine
        self.say = say
        self.sizes = sizes
        self._topics = self._bench_topics = 0

    def repeated(self, once: Callable[[], Sequence[float]], what: str) -> list[list[float]]:
        """The results of `once`, column by column, as often as the sizes say."""
        return repeated(once, self.sizes.repeat, self.sizes.warm_ups, lambda run: self.say(f"{what}, {run}"))

    def unused_profile(self) -> Profile:
        """The even profile with an exchange, and so topics, that are unused."""
        self._topics += 1
        market = self.even.market.model_copy(update={"exchange": f"B{self._topics}"})
        return self.even.model_copy(update={"market": market})

    def new_topic(self, endpoints: Endpoints) -> str:
        """An empty topic; the one before is deleted, so that memory and disk hold one at a time."""
        before = f"bench-{self._bench_topics}"
        self._bench_topics += 1
        topic = f"bench-{self._bench_topics}"
        with BrokerAdmin(endpoints) as admin:
            if before in admin.topics():
                admin.delete_topic(before)
            admin.create_topic(topic, PARTITIONS)
        return topic

    def fresh_lake(self, endpoints: Endpoints) -> Endpoints:
        """The same Kafka with an empty table: a catalog of its own, or one from which every table is dropped."""
        self._topics += 1
        if not endpoints.catalog_uri.startswith("sqlite"):
            with Lake.at(endpoints) as lake:
                for namespace in lake.catalog.list_namespaces():
                    for table in lake.catalog.list_tables(namespace):
                        lake.catalog.drop_table(table)
            return endpoints
        catalog = endpoints.catalog_uri.replace("catalog.db", f"catalog-{self._topics}.db")
        return replace(endpoints, catalog_uri=catalog, warehouse=f"{endpoints.warehouse}-{self._topics}")


def even_profile(profile: Profile, partitions: int) -> Profile:
    """The profile with symbols that all trade alike, and as many partitions as the benchmark needs.

    The embedded Kafka keeps 5 MiB per partition: with Zipf-distributed symbols the hottest partition would overflow
    long before there is enough to measure.
    """
    market = profile.market.model_copy(update={"zipf_exponent": 0.0})
    topic = profile.topic.model_copy(update={"partitions": partitions, "critical_partitions": 0})
    return profile.model_copy(update={"market": market, "topic": topic})


def made_trades(profile: Profile, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` trades sorted by partition, and how many belong to each; made before the clock starts."""
    now_us = time.time_ns() // 1000
    batch = SyntheticMarket(Universe(profile), new_run_id()).take(count, now_us - 60_000_000, now_us)
    return batch.trades, batch.per_partition


def rows_of(trades: np.ndarray, topic: str) -> Rows:
    """Trades as rows, one offset after the other."""
    zeros = np.zeros(len(trades), np.int32)
    return Rows.of(topic, "e", trades, zeros, np.arange(len(trades), dtype=np.int64), zeros)


def rows_as_read(trades: np.ndarray, per_partition: np.ndarray, topic: str, frame: int) -> Rows:
    """Trades, sorted by partition, as a consumer has them after its steps: `frame` to a record, partitions in turns."""
    within = np.concatenate([np.arange(count) for count in per_partition.tolist()])
    order = np.argsort(within // frame, kind="stable")
    partition = np.repeat(np.arange(len(per_partition), dtype=np.int32), per_partition)
    looked_up = np.full(len(trades), NOT_IN_REFERENCE, np.int32)
    rows = Rows(
        topic, "e", trades, partition, within // frame, (within % frame).astype(np.int32), looked_up, REFERENCE.empty(0)
    )
    return rows.take(order)
