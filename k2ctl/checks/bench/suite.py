"""`k2ctl bench`: rates as ratios to stripped baselines measured in the same run, on a stack of its own."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import numpy as np

from k2ctl.checks.baselines.loops import bare_produce_s
from k2ctl.checks.bench.acknowledged_log import acknowledged_log_figures
from k2ctl.checks.bench.commits import bench_commits
from k2ctl.checks.bench.drain import drain_figures, drain_once
from k2ctl.checks.bench.figures import Figure, against, repeated
from k2ctl.checks.bench.kafka_tools import KafkaTools, beside
from k2ctl.checks.bench.made import even_profile, made_trades
from k2ctl.checks.bench.naive import alone, naive_figures, send_backlog, through_k2ctl, through_naive
from k2ctl.checks.bench.sequence import SequenceBench
from k2ctl.checks.bench.sizes import NORMAL, Sizes
from k2ctl.demo.cleanup import watched
from k2ctl.domain.trade import TRADE, frames
from k2ctl.endpoints import Endpoints
from k2ctl.errors import UsageError
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.producer import BatchProducer
from k2ctl.lake.catalog import Lake
from k2ctl.load.generator import run_load
from k2ctl.load.plan import plan_load
from k2ctl.profiles import Profile, save_profile
from k2ctl.stack import lifecycle

Say = Callable[[str], None]

PARTITIONS: Final = 64


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
    """The benchmarks of one run. `say` hears what is going on."""

    def __init__(self, profile: Profile, engine: str, repeat: int, say: Say, sizes: Sizes = NORMAL) -> None:
        self.profile = profile
        self.say = say
        self._profile = even_profile(profile, PARTITIONS)
        self.engine = engine
        self._repeat = repeat
        self._sizes = sizes
        self._topics = self._bench_topics = 0

    def load(self) -> list[Figure]:
        """Handing trades to Kafka: against a bare loop, Kafka's own tool, and the schedule."""
        sizes = self._sizes
        with bench_stack(self.engine, self._profile) as endpoints:
            unframed = self._produce(endpoints, 1, sizes.produce, 0.8, tool_goal=0.6)
            framed = self._produce(endpoints, 100, sizes.produce_framed, None, tool_goal=1.0)
            figures = [*unframed, *framed]
            figures += [figure for frame in (1, 100) for figure in self._acknowledged_log(endpoints, frame, sizes.log)]
            figures += self._generate(endpoints)
        one, many = unframed[0], framed[0]
        ratio = Figure("load", "frame 100 to frame 1", "produce", many.value / one.value, "×", goal=5.0)
        return [*figures, ratio, _absolute(one, 400_000), _absolute(many, 2_000_000)]

    def _produce(
        self, endpoints: Endpoints, frame: int, count: int, goal: float | None, tool_goal: float
    ) -> list[Figure]:
        """Rates are trades a second; the tool's are records of one trade's size."""
        trades, per_partition = made_trades(self._profile, count)
        tools = KafkaTools.at(endpoints)

        def once() -> list[float]:
            ours = count / self._send(endpoints, trades, per_partition, frame)
            starts = np.cumsum(per_partition) - per_partition
            values = [frames(trades[s : s + n], frame) for s, n in zip(starts, per_partition, strict=True)]
            bare = count / bare_produce_s(endpoints, self._new_topic(endpoints), values)
            if tools is None:
                return [ours, bare]
            records = min(count, self._sizes.produce)
            return [ours, bare, tools.produce(self._new_topic(endpoints), records, TRADE.message.itemsize)]

        ours, bare, *by_tool = self._repeated(once, f"load: {count:,} trades, frame {frame}")
        figure = against("load", f"frame {frame}", "produce", ours, "trades/s", bare, goal)
        return [figure, *(beside(figure, "kafka-producer-perf-test", rates, tool_goal) for rates in by_tool)]

    def _send(self, endpoints: Endpoints, trades: np.ndarray, per_partition: np.ndarray, frame: int) -> float:
        producer = BatchProducer(endpoints, self._new_topic(endpoints), frame, sample=bytes(trades["symbol"][0]))
        started_s = time.perf_counter()
        producer.send(trades, per_partition, time.time_ns() // 1000)
        producer.finish(60)
        return time.perf_counter() - started_s

    def _acknowledged_log(self, endpoints: Endpoints, frame: int, count: int) -> list[Figure]:
        return acknowledged_log_figures(
            endpoints, self._profile, lambda: self._new_topic(endpoints), frame, count, self._repeat,
            self._sizes.warm_ups, self.say,
        )  # fmt: skip

    def _generate(self, endpoints: Endpoints) -> list[Figure]:
        """The open-loop generator at a rate it should hold: how exact it is."""
        self.say("load: 100,000 trades/s for 5 s")
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
        sizes = self._sizes
        with bench_stack(self.engine, self._profile) as endpoints:
            return [
                figure
                for frame, count, floor in ((1, sizes.drain, 200_000.0), (100, sizes.drain_framed, None))
                for figure in self._drain(endpoints, frame, count, floor)
            ]

    def _drain(self, endpoints: Endpoints, frame: int, count: int, floor: float | None) -> list[Figure]:
        columns = self._repeated(
            lambda: drain_once(endpoints, self._fresh_lake(endpoints), self._profile_of_its_own(), frame, count),
            f"consume: {count:,} trades, frame {frame}",
        )
        figures = drain_figures(columns, frame)
        return [*figures, _absolute(figures[0], floor)] if floor is not None else figures

    def naive(self) -> list[Figure]:
        """The same backlog through the naive consumer, from JSON and from SBE, and through k2ctl's."""
        trades = self._sizes.naive
        with bench_stack(self.engine, self._profile) as endpoints:
            columns = self._repeated(lambda: self._naive_once(endpoints, trades), f"naive: {trades:,} trades")
        return naive_figures(columns, trades)

    def _naive_once(self, endpoints: Endpoints, trades: int) -> list[float]:
        rates: list[float] = []
        own = self._profile_of_its_own()
        by_json = own.model_copy(update={"topic": own.topic.model_copy(update={"format": "json"})})
        by_sbe = self._profile_of_its_own()
        send_backlog(endpoints, by_json, "json", trades)
        send_backlog(endpoints, by_sbe, "sbe", trades)
        for drain, profile in ((through_naive, by_json), (through_naive, by_sbe), (through_k2ctl, by_sbe)):
            rates += alone(drain, self._fresh_lake(endpoints), profile, trades).rates
        return rates

    def sequence(self) -> list[Figure]:
        """Following sequence numbers, in memory and through a Redis of its own."""
        return SequenceBench(self._profile, self._repeat, self.say).run()

    def commits(self) -> list[Figure]:
        """Commits on one table: does its age slow them down?"""
        return bench_commits(self._profile, self._sizes.commits, self.say)

    def _repeated(self, once: Callable[[], list[float]], what: str) -> list[list[float]]:
        return repeated(once, self._repeat, self._sizes.warm_ups, lambda run: self.say(f"{what}, {run}"))

    def _profile_of_its_own(self) -> Profile:
        """The profile with an exchange, and so topics, that nobody has used."""
        self._topics += 1
        market = self._profile.market.model_copy(update={"exchange": f"B{self._topics}"})
        return self._profile.model_copy(update={"market": market})

    def _new_topic(self, endpoints: Endpoints) -> str:
        """An empty topic; the one before is deleted, so that memory and disk hold one at a time."""
        before = f"bench-{self._bench_topics}"
        self._bench_topics += 1
        topic = f"bench-{self._bench_topics}"
        with BrokerAdmin(endpoints) as admin:
            if before in admin.topics():
                admin.delete_topic(before)
            admin.create_topic(topic, PARTITIONS)
        return topic

    def _fresh_lake(self, endpoints: Endpoints) -> Endpoints:
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


def _absolute(figure: Figure, goal: float) -> Figure:
    """The value of a figure with a baseline, held against a goal of its own."""
    metric = f"{figure.metric}, absolute"
    return replace(figure, metric=metric, baseline=None, ratio=None, goal=goal)
