"""Consumers for tests: in processes that die at a named point, on threads, and under pressure."""

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from k2ctl.consume import processing
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan, ConsumerTotals
from k2ctl.consume.report import StatusReporter
from k2ctl.domain.status import ConsumerStatus
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.producer import BatchProducer
from k2ctl.kafka.telemetry import TelemetryWriter
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.load.market import SyntheticMarket, new_run_id
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import Universe
from tests.made_trades import (
    ids_of,
    quick_profile,
    stored_ids,
)
from tests.support.independent_reader import Sources, assert_read_to_the_end, assert_stored_once
from tests.support.platforms import with_lake
from tests.support.polling import until

CONTEXT = multiprocessing.get_context("forkserver")
"""Processes forked from a warmed server, so that a hundred of them fit into the time."""

CONTEXT.set_forkserver_preload(["k2ctl.consume.consumer", "k2ctl.query", "tests.made_trades"])


# A point is a function on the way of a commit, and whether the process dies before or after it.
POINTS = {
    "before the dead letters are sent": ("k2ctl.kafka.dead_letters", "DeadLetters.publish", "before"),
    "after the dead letters are acknowledged": ("k2ctl.kafka.dead_letters", "DeadLetters.publish", "after"),
    "before the data files are written": ("k2ctl.lake.writer", "write_rows", "before"),
    "after the data files are written": ("k2ctl.lake.writer", "write_rows", "after"),
    "after the offsets are compared": ("k2ctl.lake.swap", "TableSwap.take", "before"),
    "before the metadata is written": ("pyiceberg.catalog.sql", "SqlCatalog._write_metadata", "before"),
    "between metadata and catalog": ("pyiceberg.catalog.sql", "SqlCatalog._write_metadata", "after"),
    "after the catalog's swap": ("pyiceberg.catalog.sql", "SqlCatalog.commit_table", "after"),
    "before the group's offsets": ("k2ctl.kafka.reader", "Reader.advise", "before"),
    "after the group's offsets": ("k2ctl.kafka.reader", "Reader.advise", "after"),
}


def die_at(
    point: str, call: int, points: dict[str, tuple[str, str, str]] = POINTS, number: int = signal.SIGKILL
) -> None:
    """Make this process kill itself at the n-th passage of a point, or send itself another signal."""
    module_name, name, when = points[point]
    holder: Any = __import__(module_name, fromlist=["x"])
    *path, last = name.split(".")
    for part in path:
        holder = getattr(holder, part)
    original = getattr(holder, last)
    passages = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal passages
        passages += 1
        if passages == call and when == "before":
            os.kill(os.getpid(), number)
        result = original(*args, **kwargs)
        if passages == call and when == "after":
            os.kill(os.getpid(), number)
        return result

    setattr(holder, last, staticmethod(wrapped) if name == "SqlCatalog._write_metadata" else wrapped)


def consume(endpoints: Endpoints, profile: Profile, point: str | None, call: int, caught_up: bool) -> None:
    """A consumer's process."""
    os.environ["K2CTL_HOME"] = str(Path(endpoints.warehouse.removeprefix("file://")).parent)
    if point is not None:
        die_at(point, call)
    Consumer(endpoints, ConsumerPlan(profile, until_caught_up=caught_up)).run(threading.Event())


def start(
    endpoints: Endpoints, profile: Profile, point: str | None = None, call: int = 1, *, caught_up: bool = True
) -> BaseProcess:
    process = CONTEXT.Process(target=consume, args=(endpoints, profile, point, call, caught_up))
    process.start()
    return process


def consume_and_signal_having_read(
    endpoints: Endpoints, profile: Profile, trades: int, after_s: float, number: int
) -> None:
    """A consumer's process that reads in small batches, and gets a signal after it has read so many trades."""
    os.environ["K2CTL_HOME"] = str(Path(endpoints.warehouse.removeprefix("file://")).parent)
    processing.BATCH_TRADES = SMALL_BATCH  # type: ignore[misc]
    consumer = Consumer(endpoints, ConsumerPlan(profile))
    timer = threading.Timer(after_s, os.kill, (os.getpid(), number))

    def look() -> None:
        if consumer.totals.trades >= trades and timer.ident is None:
            timer.start()

    consumer.run(threading.Event(), look)


def killed_having_read(endpoints: Endpoints, profile: Profile, rng: random.Random, most_trades: int) -> BaseProcess:
    """A consumer that is killed after it has read 1 to `most_trades` trades, at any moment of the next commit."""
    arguments = (endpoints, profile, rng.randint(1, most_trades), rng.uniform(0.0, 0.05), signal.SIGKILL)
    process = CONTEXT.Process(target=consume_and_signal_having_read, args=arguments)
    process.start()
    return process


def stopped_having_read(endpoints: Endpoints, profile: Profile, trades: int) -> BaseProcess:
    """A consumer that has read so many trades and stands still (SIGSTOP)."""
    arguments = (endpoints, profile, trades, 0.0, signal.SIGSTOP)
    process = CONTEXT.Process(target=consume_and_signal_having_read, args=arguments)
    process.start()
    until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    return process


def has_uncommitted(endpoints: Endpoints, topic: str) -> bool:
    """True if Kafka holds records of the topic behind the offsets that the table stands at."""
    sources = Sources.of(endpoints)
    offsets = {partition: at for (of, _, partition), at in sources.next_offsets().items() if of == topic}
    with BrokerAdmin(endpoints) as admin:
        return any(mark.high > offsets.get(p, 0) for p, mark in admin.watermarks(topic).items())


def assert_exact(endpoints: Endpoints, topic: str, trades: np.ndarray, undecodable: int = 0) -> int:
    """Every trade is stored once, offsets stand at the ends, and the counts balance.

    Returns how many copies Kafka holds beside the trades.
    """
    copies = assert_stored_once(Sources.of(endpoints), topic)
    assert stored_ids(endpoints) == ids_of(trades)
    with BrokerAdmin(endpoints) as admin, Lake.at(endpoints) as lake:
        checkpoints, epoch = checkpoints_of(lake.table()), admin.epoch(topic)
    assert_read_to_the_end(Sources.of(endpoints), topic, epoch)
    total = checkpoints.total()
    assert total.balanced
    assert (total.stored, total.undecodable) == (len(trades), undecodable)
    return copies


SMALL_BATCH = 40
"""Trades that a consumer reads at once that is to be killed between its first read and its last commit."""

LAGS = {"NORMAL": 0, "SOFT": 3_000, "GRACEFUL": 8_000, "AGGRESSIVE": 16_000, "CIRCUIT_BREAK": 40_000}


BUDGET = 12_000.0


NAMES = tuple(LAGS)


def pressed(profile: Profile, endpoints: Endpoints, exchange: str, *, cooldown_s: float = 0.5) -> Profile:
    """A profile with forty symbols of all priorities, low thresholds, and the exchange of the test."""
    scale = profile.degradation.embedded_divisor if endpoints.engine == "embedded" else 1
    levels = [level.model_copy(update={"lag": LAGS[level.name] * scale}) for level in profile.degradation.levels]
    tiers = profile.market.tiers.model_copy(update={"critical": 2, "high": 6, "low": 16})
    market = profile.market.model_copy(update={"exchange": exchange, "symbols": 40, "tiers": tiers})
    degradation = profile.degradation.model_copy(update={"levels": tuple(levels), "cooldown_s": cooldown_s})
    return profile.model_copy(update={"market": market, "degradation": degradation})


def spilling(profile: Profile) -> Profile:
    """The profile with nothing left in the embedded Kafka: what is deferred there is spilled."""
    deferral = profile.degradation.deferral.model_copy(update={"embedded_shed_fraction": 0.0})
    return profile.model_copy(update={"degradation": profile.degradation.model_copy(update={"deferral": deferral})})


def one_platform(stack: Endpoints, home: Path, exchange: str) -> tuple[Endpoints, Profile]:
    endpoints = with_lake(stack, home)
    profile = pressed(quick_profile(commit_interval_s=0.2), endpoints, exchange)
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic_of(profile), profile.topic.partitions)
    return endpoints, profile


def topic_of(profile: Profile) -> str:
    return profile.trades_topic


def backlog(endpoints: Endpoints, profile: Profile, count: int) -> np.ndarray:
    """Trades of the profile's market into Kafka, all acknowledged."""
    now_us = time.time_ns() // 1000
    batch = SyntheticMarket(Universe(profile), new_run_id()).take(count, now_us - 1_000_000, now_us)
    BatchProducer(endpoints, topic_of(profile), 1).send_all(batch.trades, batch.per_partition)
    return batch.trades


def run_until(
    endpoints: Endpoints,
    profile: Profile,
    done: Callable[[ConsumerStatus], bool],
    *,
    budget: float | None = BUDGET,
    telemetry: TelemetryWriter | None = None,
) -> tuple[list[ConsumerStatus], float]:
    """Run a consumer until `done`; returns what it said of itself, and how long it took to stop."""
    consumer = Consumer(endpoints, ConsumerPlan(profile, budget=budget))
    reporter, stop, said = StatusReporter(consumer), threading.Event(), []
    due_s = stopped_s = 0.0
    limit_s = time.monotonic() + 60

    def on_tick() -> None:
        nonlocal due_s, stopped_s
        if time.monotonic() < due_s:
            return
        due_s = time.monotonic() + 0.1
        said.append(reporter.status())
        assert time.monotonic() < limit_s, f"not done: {said[-1]}"
        if telemetry is not None:
            telemetry.publish(said[-1])
        if done(said[-1]) and not stop.is_set():
            stopped_s = time.monotonic()
            stop.set()

    consumer.run(stop, on_tick)
    return said, time.monotonic() - stopped_s


def all_stored(status: ConsumerStatus) -> bool:
    """Everything has been read, stored and backfilled."""
    return (
        status.level == "NORMAL" and status.lag_committed_trades == 0 and not status.outstanding and not status.pending
    )


def spill_files(endpoints: Endpoints) -> list[Path]:
    with Lake.at(endpoints) as lake:
        folder = Path(lake.table().location().removeprefix("file://") + "-k2")
    if not (folder / "spill").exists():
        return []
    assert folder.stat().st_mode & 0o777 == 0o700
    return sorted((folder / "spill").iterdir())


class RunningConsumer:
    """A consumer on a thread of the test, and what it says of itself."""

    def __init__(self, endpoints: Endpoints, profile: Profile, **plan: Any) -> None:
        self._consumer = Consumer(endpoints, ConsumerPlan(profile, **plan))
        self._reporter = StatusReporter(self._consumer)
        self._stop = threading.Event()
        self.said: list[ConsumerStatus] = []
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._consumer.run(self._stop, self._tick)
        except BaseException as error:
            self.error = error

    def _tick(self) -> None:
        if not self.said or self._consumer.clock.now_us() - self.said[-1].at_us > 50_000:
            self.said.append(self._reporter.status())

    @property
    def totals(self) -> ConsumerTotals:
        """What it has done."""
        return self._consumer.totals

    @property
    def assigned(self) -> frozenset[int]:
        """The partitions that it reads."""
        return self._consumer.assignment.partitions

    def has_left(self) -> bool:
        """Whether it has left its group to others."""
        return self._consumer.assignments.is_apart

    def typical_commit_s(self) -> float:
        """How long it takes its commits to take."""
        return self._consumer.assignments._platform.commit_thread.typical_s()

    def stored(self, count: int) -> bool:
        assert self.error is None, self.error
        return bool(self.said) and self.said[-1].counts.stored >= count

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(90)
        assert self.error is None, self.error
