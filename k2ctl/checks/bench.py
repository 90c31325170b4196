"""`k2ctl bench`: rates as ratios to stripped ceilings measured in the same run, on a stack of its own."""

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import numpy as np

from k2ctl.broker.admin import BrokerAdmin
from k2ctl.broker.ceilings import bare_consume_s, bare_produce_s
from k2ctl.broker.producer import BatchProducer
from k2ctl.checks.bench_sequence import SequenceBench
from k2ctl.checks.figures import Figure, against, middle
from k2ctl.checks.made import even_profile, made_trades
from k2ctl.clock import SystemClock
from k2ctl.home import Endpoints, private_home
from k2ctl.lake.catalog import Lake
from k2ctl.lake.ceilings import sorted_write_s
from k2ctl.lake.expiry import SnapshotRetention
from k2ctl.lake.heads import Advance, Counts, Lane
from k2ctl.lake.writer import TableWriter
from k2ctl.load.generator import run_load
from k2ctl.load.plan import plan_load
from k2ctl.pipeline.consumer import Consumer
from k2ctl.pipeline.plan import ConsumerPlan
from k2ctl.profiles import Profile
from k2ctl.schema.rows import ENRICHMENT_SKIPPED, Rows
from k2ctl.schema.topics import trades_topic
from k2ctl.schema.trade import REFERENCE, frames
from k2ctl.stack import lifecycle

Say = Callable[[str], None]

PARTITIONS: Final = 64
COMMITS: Final = 1_000


@contextmanager
def bench_stack(engine: str, profile: Profile) -> Iterator[Endpoints]:
    """A stack in a state directory of its own, gone afterwards."""
    with private_home("bench-"):
        endpoints = lifecycle.up(engine, profile.name, lambda _: None).endpoints
        try:
            yield endpoints
        finally:
            lifecycle.down(volumes=True)


class Bench:
    """The benchmarks of one run. `say` hears what is going on."""

    def __init__(self, profile: Profile, engine: str, repeat: int, say: Say) -> None:
        self.profile = profile
        self.say = say
        self._profile = even_profile(profile, PARTITIONS)
        self._engine = engine
        self._repeat = repeat
        self._say = say
        self._topics = 0

    def load(self) -> list[Figure]:
        """Handing trades to Kafka: the producer against a bare `produce_batch` loop, and the whole generator."""
        with bench_stack(self._engine, self._profile) as endpoints:
            figures = [
                self._produce(endpoints, frame=1, count=1_000_000, goal=0.8),
                self._produce(endpoints, frame=100, count=4_000_000, goal=None),
            ]
            figures += self._generate(endpoints)
        unframed, framed = figures[0].value, figures[1].value
        ratio = Figure("load", "frame 100 to frame 1", "produce", framed / unframed, "×", goal=5.0)
        return [
            *figures,
            ratio,
            Figure("load", "frame 1", "produce, absolute", unframed, "trades/s", goal=400_000),
            Figure("load", "frame 100", "produce, absolute", framed, "trades/s", goal=2_000_000),
        ]

    def _produce(self, endpoints: Endpoints, frame: int, count: int, goal: float | None) -> Figure:
        """Alternating runs, so that a noisy moment of the machine hits both alike."""
        trades, per_partition = made_trades(self._profile, count)
        ours, bare = [], []
        for run in range(self._repeat):
            self._say(f"load: {count:,} trades, frame {frame}, run {run + 1} of {self._repeat}")
            ours.append(count / self._send(endpoints, trades, per_partition, frame))
            starts = np.cumsum(per_partition) - per_partition
            values = [frames(trades[s : s + n], frame) for s, n in zip(starts, per_partition, strict=True)]
            bare.append(count / bare_produce_s(endpoints, self._new_topic(endpoints), values))
        return against("load", f"frame {frame}", "produce", middle(ours), "trades/s", middle(bare), goal)

    def _send(self, endpoints: Endpoints, trades: np.ndarray, per_partition: np.ndarray, frame: int) -> float:
        producer = BatchProducer(endpoints, self._new_topic(endpoints), frame, sample=bytes(trades["symbol"][0]))
        started_s = time.perf_counter()
        producer.send(trades, per_partition, time.time_ns() // 1000)
        producer.finish(60)
        return time.perf_counter() - started_s

    def _generate(self, endpoints: Endpoints) -> list[Figure]:
        """The open-loop generator at a rate it should hold: how exact it is."""
        self._say("load: 100,000 trades/s for 5 s")
        plan = plan_load(self._profile_of_its_own(), rate=100_000, duration_s=5.0)
        summary = run_load(plan, endpoints, threading.Event())
        off = abs(summary.reached_rate / summary.target_rate - 1)
        return [
            Figure("load", "100k/s", "mean off by", off, "share", goal=0.01, at_most=True),
            Figure("load", "100k/s", "worst second off by", summary.worst_second, "share", goal=0.05, at_most=True),
            Figure("load", "100k/s", "acknowledged, p99", summary.ack_ms["p99"], "ms"),
        ]

    def consume(self) -> list[Figure]:
        """A backlog into committed rows, against consuming alone and writing alone."""
        with bench_stack(self._engine, self._profile) as endpoints:
            return [
                figure
                for frame, count, floor in ((1, 1_500_000, 200_000.0), (100, 3_000_000, None))
                for figure in self._drain(endpoints, frame, count, floor)
            ]

    def _drain(self, endpoints: Endpoints, frame: int, count: int, floor: float | None) -> list[Figure]:
        ours, consuming, writing = [], [], []
        for run in range(self._repeat):
            self._say(f"consume: {count:,} trades, frame {frame}, run {run + 1} of {self._repeat}")
            profile = self._profile_of_its_own()
            topic = trades_topic(profile.market.asset_class, profile.market.exchange)
            trades, per_partition = made_trades(profile, count)
            with BrokerAdmin(endpoints) as admin:
                admin.create_topic(topic, PARTITIONS)
                BatchProducer(endpoints, topic, frame).send_all(trades, per_partition)
                marks = admin.watermarks(topic)
            fresh = self._fresh_lake(endpoints)
            consuming.append(count / bare_consume_s(endpoints, topic, marks, profile.consumer.fetch_batch)[0])
            writing.append(count / sorted_write_s(rows_of(trades, topic), fresh.warehouse))
            consumer = Consumer(fresh, ConsumerPlan(profile, until_caught_up=True))
            started_s = time.perf_counter()
            totals = consumer.run(threading.Event())
            ours.append(totals.stored / (time.perf_counter() - started_s))
            with BrokerAdmin(endpoints) as admin:
                admin.delete_topic(topic)
        case = f"frame {frame}"
        ceiling = 1 / (1 / middle(consuming) + 1 / middle(writing))
        figures = [
            against("consume", case, "to committed rows", middle(ours), "trades/s", ceiling, 0.7),
            Figure("consume", case, "ceiling: bare consume and join", middle(consuming), "trades/s"),
            Figure("consume", case, "ceiling: sorted Parquet write", middle(writing), "trades/s"),
        ]
        if floor is not None:
            figures.append(Figure("consume", case, "absolute", middle(ours), "trades/s", goal=floor))
        return figures

    def sequence(self) -> list[Figure]:
        """Following sequence numbers, in memory and through a Redis of its own."""
        return SequenceBench(self._profile, self._repeat, self._say).run()

    def commits(self) -> list[Figure]:
        """A thousand commits on one table: does the table's age slow them down?"""
        with private_home("bench-") as home:
            lake = Lake(f"sqlite:///{home}/catalog.db", f"file://{home}/warehouse")
            retention = SnapshotRetention.from_profile(self._profile.lake.expire)
            writer = TableWriter(lake, SystemClock(), retention)
            trades, _ = made_trades(self._profile, 1_000)
            durations_ms = []
            gc.collect()
            gc.freeze()  # as the consumer does
            for number in range(COMMITS):
                if number % 100 == 0:
                    self._say(f"commits: {number} of {COMMITS}")
                rows = replace(rows_of(trades, "t"), offset=np.arange(number * 1000, (number + 1) * 1000))
                step = Advance(number * 1000, (number + 1) * 1000, Counts(seen=1000, stored=1000))
                started_s = time.perf_counter()
                writer.commit([rows], {Lane("t", "e", 0): step})
                durations_ms.append((time.perf_counter() - started_s) * 1000)
            gc.unfreeze()
            lake.close()
        young, old = (float(np.percentile(durations_ms[part], 95)) for part in (slice(10, 110), slice(900, 1000)))
        return [
            Figure("commits", "10 to 110", "p95", young, "ms"),
            Figure("commits", "900 to 1000", "p95", old, "ms"),
            Figure("commits", "old to young", "p95 ratio", old / young, "×", goal=1.5, at_most=True),
        ]

    def _profile_of_its_own(self) -> Profile:
        """The profile with an exchange, and so topics, that nobody has used."""
        self._topics += 1
        market = self._profile.market.model_copy(update={"exchange": f"B{self._topics}"})
        return self._profile.model_copy(update={"market": market})

    def _new_topic(self, endpoints: Endpoints) -> str:
        self._topics += 1
        with BrokerAdmin(endpoints) as admin:
            admin.create_topic(f"bench-{self._topics}", PARTITIONS)
        return f"bench-{self._topics}"

    def _fresh_lake(self, endpoints: Endpoints) -> Endpoints:
        """The same Kafka with an empty table."""
        self._topics += 1
        catalog = endpoints.catalog_uri.replace("catalog.db", f"catalog-{self._topics}.db")
        return replace(endpoints, catalog_uri=catalog, warehouse=f"{endpoints.warehouse}-{self._topics}")


def rows_of(trades: np.ndarray, topic: str) -> Rows:
    """Trades as rows, one offset after the other."""
    count = len(trades)
    zeros = np.zeros(count, np.int32)
    skipped = np.full(count, ENRICHMENT_SKIPPED, np.int32)
    return Rows(topic, "e", trades, zeros, np.arange(count, dtype=np.int64), zeros, skipped, REFERENCE.empty(0))
