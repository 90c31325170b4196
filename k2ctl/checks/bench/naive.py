"""`k2ctl bench naive`: the same backlog through what is often written first, and through k2ctl.

Each consumer has a process of its own. What counts is its processor time, all threads, from its first question to Kafka
on; starting Python is left out. The naive one's rate ends with the last record that it handled, its last append and its
wait for more left out, k2ctl's with the last row committed: both favour the naive one.
"""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Final

from k2ctl.checks.bench.figures import Figure, against, measured
from k2ctl.checks.bench.made import made_trades
from k2ctl.domain.topics import WireFormat, trades_topic
from k2ctl.endpoints import Endpoints
from k2ctl.errors import CheckFailed
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.producer import BatchProducer
from k2ctl.profiles import Profile
from k2ctl.signals import end_with

_UNITS: Final = ("trades/s", "trades/CPU s")


@dataclass(frozen=True)
class Spent:
    """What one consumer took for a backlog."""

    trades: int
    seconds: float
    cpu_s: float

    @property
    def rates(self) -> tuple[float, float]:
        """Trades a second, and a processor second."""
        return self.trades / self.seconds, self.trades / self.cpu_s


def send_backlog(endpoints: Endpoints, profile: Profile, wire_format: WireFormat, trades: int) -> None:
    """Trades into the profile's topic, one in a record."""
    topic = trades_topic(profile.market.asset_class, profile.market.exchange)
    made, per_partition = made_trades(profile, trades)
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic, profile.topic.partitions)
    BatchProducer(endpoints, topic, 1, wire_format=wire_format).send_all(made, per_partition)


def through_naive(endpoints: Endpoints, profile: Profile) -> Spent:
    """Drain a backlog the naive way; to be run in a process of its own."""
    from k2ctl.checks.baselines.naive_consumer import NaiveConsumer

    cpu_s = time.process_time()
    status = NaiveConsumer(endpoints, profile).run(threading.Event(), until_caught_up=True)
    return Spent(status.stored, status.handled_s, time.process_time() - cpu_s)


def through_k2ctl(endpoints: Endpoints, profile: Profile) -> Spent:
    """Drain a backlog with k2ctl's consumer; to be run in a process of its own."""
    from k2ctl.consume.consumer import Consumer
    from k2ctl.consume.platform import ConsumerPlan

    cpu_s, started_s = time.process_time(), time.perf_counter()
    totals = Consumer(endpoints, ConsumerPlan(profile, until_caught_up=True)).run(threading.Event())
    return Spent(totals.stored, time.perf_counter() - started_s, time.process_time() - cpu_s)


def alone(drain: Callable[[Endpoints, Profile], Spent], endpoints: Endpoints, profile: Profile, trades: int) -> Spent:
    """Run one consumer in a fresh process.

    Raises:
        CheckFailed: it did not store every trade, so that its rate means nothing.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=end_with, initargs=(os.getpid(),)) as pool:
        spent = pool.submit(drain, endpoints, profile).result()
    if spent.trades != trades:
        raise CheckFailed(
            f"{drain.__name__} stored {spent.trades:,} of {trades:,} trades.", "Try again: k2ctl bench naive"
        )
    return spent


def naive_figures(columns: list[list[float]], trades: int) -> list[Figure]:
    """Figures from the rates of: naive on JSON, naive on SBE, k2ctl on SBE; each by second and by processor second."""
    case = f"{trades:,} trades"
    by_json, by_sbe, ours = columns[0:2], columns[2:4], columns[4:6]
    figures = []
    for at, unit in enumerate(_UNITS):
        figures += [
            measured("naive", case, "naive, JSON", by_json[at], unit),
            measured("naive", case, "naive, SBE", by_sbe[at], unit),
            against("naive", case, "k2ctl, against naive JSON", ours[at], unit, by_json[at], None),
            against("naive", case, "k2ctl, against naive SBE", ours[at], unit, by_sbe[at], None),
        ]
    return figures
