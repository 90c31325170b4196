"""`k2ctl bench consume`, `naive` and `commits`: a backlog into committed rows, and what a commit takes."""

import gc
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Final

import numpy as np

from k2ctl.checks.baselines.loops import KafkaTools, bare_consume_s, sorted_write_s
from k2ctl.checks.bench.drain import Spent, require_all, through_k2ctl
from k2ctl.checks.bench.figures import BASELINE, Figure, absolute, against, beside, measured
from k2ctl.checks.bench.foreign import FOREIGN_CASES, bench_foreign
from k2ctl.checks.bench.suite import Bench, bench_stack, made_trades, rows_as_read, rows_of
from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.endpoints import Endpoints
from k2ctl.garbage import spare_what_is_there
from k2ctl.home import Home
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.producer import BatchProducer
from k2ctl.lake.catalog import Lake
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.writer import TableWriter
from k2ctl.profiles import Profile
from k2ctl.signals import end_with
from k2ctl.timing import Stopwatch

DRAIN_GOAL: Final = 0.7
_UNITS: Final = ("trades/s", "trades/CPU s")


def bench_consume(bench: Bench) -> list[Figure]:
    """A backlog into committed rows, against consuming alone and writing alone: what the steps and commits cost."""
    sizes, figures = bench.sizes, []
    with bench_stack(bench.engine, bench.even) as endpoints:
        for frame, count, floor in ((1, sizes.drain, 200_000.0), (100, sizes.drain_framed, None)):
            found = _drain(bench, endpoints, frame, count)
            figures += [*found, absolute(found[0], floor)] if floor is not None else found
        for case in FOREIGN_CASES:
            figures += bench_foreign(bench, endpoints, case)
    return figures


def _drain(bench: Bench, endpoints: Endpoints, frame: int, count: int) -> list[Figure]:
    ours, consuming, writing, *by_tool = bench.repeated(
        lambda: _drain_once(endpoints, bench.fresh_lake(endpoints), bench.unused_profile(), frame, count),
        f"consume: {count:,} trades, frame {frame}",
    )
    case = f"frame {frame}"
    baselines = [1 / (1 / read + 1 / write) for read, write in zip(consuming, writing, strict=True)]
    figure = against("consume", case, "to committed rows", ours, "trades/s", baselines, DRAIN_GOAL)
    return [
        figure,
        *(beside(figure, "kafka-consumer-perf-test", rates, None) for rates in by_tool),
        measured("consume", case, f"{BASELINE}bare consume and join", consuming, "trades/s"),
        measured("consume", case, f"{BASELINE}sorted Parquet write", writing, "trades/s"),
    ]


def _drain_once(kafka: Endpoints, lake: Endpoints, profile: Profile, frame: int, count: int) -> list[float]:
    """Trades a second: k2ctl's, bare consuming, bare writing, and Kafka's own tool (its records × the frame), if there.

    lake: the same Kafka with an empty table. The profile's topic is made for this, and deleted.

    Raises:
        CheckFailed: not every trade was stored, so that the rate means nothing.
    """
    topic = profile.trades_topic
    trades, per_partition = made_trades(profile, count)
    with BrokerAdmin(kafka) as admin:
        admin.create_topic(topic, len(per_partition))
        BatchProducer(kafka, topic, frame).send_all(trades, per_partition)
        marks = admin.watermarks(topic)
    rows = rows_as_read(trades, per_partition, topic, frame)
    del trades
    consuming_s, _ = bare_consume_s(kafka, topic, marks, profile.consumer.fetch_batch)
    writing_s = sorted_write_s(rows, profile.consumer.commit_rows, kafka.home.path / "baseline")
    del rows
    spent = through_k2ctl(lake, profile)
    require_all(spent.trades, count, "The consumer", "consume")
    rates = [count / spent.seconds, count / consuming_s, count / writing_s]
    tools = KafkaTools.at(kafka)
    if tools is not None:
        records = sum(mark.high - mark.low for mark in marks.values())
        rates.append(tools.consume(topic, records) * count / records)
    with BrokerAdmin(kafka) as admin:
        admin.delete_topic(topic)
    return rates


def bench_naive(bench: Bench) -> list[Figure]:
    """The same backlog through the naive consumer, from JSON and from SBE, and through k2ctl's.

    Each consumer has a process of its own. What counts is its processor time, all threads, from its first question to
    Kafka on; starting Python is left out. The naive one's rate ends with the last record that it handled, its last
    append and its wait for more left out, k2ctl's with the last row committed: both favour the naive one.
    """
    trades = bench.sizes.naive
    with bench_stack(bench.engine, bench.even) as endpoints:
        columns = bench.repeated(lambda: _naive_once(bench, endpoints, trades), f"naive: {trades:,} trades")
    case, figures = f"{trades:,} trades", []
    for unit, by_json, by_sbe, ours in zip(_UNITS, columns[0:2], columns[2:4], columns[4:6], strict=True):
        figures += [
            measured("naive", case, "naive, JSON", by_json, unit),
            measured("naive", case, "naive, SBE", by_sbe, unit),
            against("naive", case, "k2ctl, against naive JSON", ours, unit, by_json, None),
            against("naive", case, "k2ctl, against naive SBE", ours, unit, by_sbe, None),
        ]
    return figures


def _naive_once(bench: Bench, endpoints: Endpoints, trades: int) -> list[float]:
    """Naive on JSON, naive on SBE, k2ctl on SBE: trades a second, and a processor second."""
    plain, by_sbe = bench.unused_profile(), bench.unused_profile()
    by_json = plain.model_copy(update={"topic": plain.topic.model_copy(update={"format": "json"})})
    send_backlog(endpoints, by_json, trades)
    send_backlog(endpoints, by_sbe, trades)
    rates: list[float] = []
    for drain, profile in ((through_naive, by_json), (through_naive, by_sbe), (through_k2ctl, by_sbe)):
        spent = _alone(drain, bench.fresh_lake(endpoints), profile)
        require_all(spent.trades, trades, drain.__name__, "naive")
        rates += [trades / spent.seconds, trades / spent.cpu_s]
    return rates


def send_backlog(endpoints: Endpoints, profile: Profile, trades: int) -> None:
    """Trades into the profile's topic, one in a record."""
    topic = profile.trades_topic
    made, per_partition = made_trades(profile, trades)
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic, profile.topic.partitions)
    BatchProducer(endpoints, topic, 1, written=profile.topic.written).send_all(made, per_partition)


def through_naive(endpoints: Endpoints, profile: Profile) -> Spent:
    """Drain a backlog the naive way; to be run in a process of its own."""
    from k2ctl.checks.baselines.naive_consumer import NaiveConsumer

    cpu_s = time.process_time()
    status = NaiveConsumer(endpoints, profile).run(threading.Event(), until_caught_up=True)
    return Spent(status.stored, status.handled_s, time.process_time() - cpu_s)


def _alone(drain: Callable[[Endpoints, Profile], Spent], endpoints: Endpoints, profile: Profile) -> Spent:
    """Run one consumer in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=end_with, initargs=(os.getpid(),)) as pool:
        return pool.submit(drain, endpoints, profile).result()


def bench_commits(bench: Bench) -> list[Figure]:
    """Commits on one table, to see whether its age slows them down: p95 of the first tenth and of the last one.

    The first ten are left out.
    """
    commits, profile = bench.sizes.commits, bench.profile
    durations_ms = []
    with Home.of_user().temporary("bench-") as home:
        lake = Lake(f"sqlite:///{home.path}/catalog.db", f"file://{home.path}/warehouse")
        writer = TableWriter(lake, SystemClock(), SnapshotRetention.from_profile(profile.lake.expire))
        trades, _ = made_trades(profile, 1_000)
        spare_what_is_there()  # as the consumer does
        for number in range(commits):
            if number % 100 == 0:
                bench.say(f"commits: {number} of {commits}")
            rows = replace(rows_of(trades, "t"), offset=np.arange(number * 1000, (number + 1) * 1000))
            step = OffsetDelta(number * 1000, (number + 1) * 1000, Counts(seen=1000, stored=1000))
            watch = Stopwatch()
            with watch.timed("commit"):
                writer.commit([rows], {TopicPartition("t", "e", 0): step})
            durations_ms.append(watch.milliseconds["commit"])
        gc.unfreeze()
        lake.close()
    tenth = commits // 10
    parts = (slice(10, 10 + tenth), slice(commits - tenth, commits))
    young, old = (float(np.percentile(durations_ms[part], 95)) for part in parts)
    return [
        Figure("commits", f"{parts[0].start} to {parts[0].stop}", "p95", young, "ms"),
        Figure("commits", f"{parts[1].start} to {parts[1].stop}", "p95", old, "ms"),
        Figure("commits", "old to young", "p95 ratio", old / young, "×", goal=1.5, at_most=True),
    ]
