"""While trades are deferred, backfilled, committed and merged, an answer has them all or says what it lacks."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from k2ctl.clock import SystemClock
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.endpoints import Endpoints
from k2ctl.errors import LakeError
from k2ctl.kafka.producer import BatchProducer
from k2ctl.lake.catalog import Lake
from k2ctl.lake.maintenance.maintainer import compact_now, whole_hours
from k2ctl.load.market import SyntheticMarket, new_run_id
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import PRIORITIES, Universe
from k2ctl.query.session import Session
from k2ctl.query.stream import KafkaStream
from tests.support.consumers import BUDGET, one_platform, topic_of
from tests.support.leases import of_this_machine

LOW = PRIORITIES.index("LOW")
QUESTIONS = 12
TRADES_AT_ONCE = 4_000


class Sender:
    """Sends trades of all symbols in rounds, and knows how many of each symbol Kafka has acknowledged."""

    def __init__(self, endpoints: Endpoints, profile: Profile) -> None:
        self._market = SyntheticMarket(Universe(profile), new_run_id())
        self._producer = BatchProducer(endpoints, topic_of(profile), 1)
        self.acknowledged: dict[bytes, int] = {}

    def send(self) -> None:
        now_us = time.time_ns() // 1000
        batch = self._market.take(TRADES_AT_ONCE, now_us - 100_000, now_us)
        self._producer.send_all(batch.trades, batch.per_partition)
        symbols, counts = np.unique(batch.trades["symbol"], return_counts=True)
        for symbol, count in zip(symbols.tolist(), counts.tolist(), strict=True):
            self.acknowledged[symbol] = self.acknowledged.get(symbol, 0) + count


@contextmanager
def running(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Something that goes on beside the block, until its end."""
    stop, failed = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            work(stop)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not failed, failed


@pytest.mark.slow
def test_an_answer_with_what_is_deferred_has_every_acknowledged_trade(
    embedded_stack: Endpoints, home: Path, exchange: str
) -> None:
    endpoints, profile = one_platform(embedded_stack, home, exchange)
    universe = Universe(profile)
    low = [symbol for symbol in universe.symbols if universe.priority(symbol.encode()) == LOW]
    sender = Sender(endpoints, profile)
    sender.send()

    def send(stop: threading.Event) -> None:
        while not stop.is_set():
            sender.send()
            # Bursts and rests: the consumer climbs, defers, comes back and backfills, several times.
            stop.wait(0.02 if int(time.monotonic()) % 6 < 3 else 1.0)

    def consume(stop: threading.Event) -> None:
        Consumer(endpoints, ConsumerPlan(profile, budget=BUDGET)).run(stop)

    def merge(stop: threading.Event) -> None:
        while not stop.wait(1.0):
            with Lake.at(endpoints) as lake, suppress(LakeError):
                compact_now(lake, SystemClock(), whole_hours, of_this_machine)

    lacking, with_deferred, incomplete = list[str](), 0, list[str]()
    with running(consume), running(send), running(merge):
        limit_s = time.monotonic() + 120
        for number in itertools.count():
            if (number >= QUESTIONS and with_deferred > 2) or time.monotonic() > limit_s:
                break
            symbol = low[number % len(low)]
            sent = sender.acknowledged.get(symbol.encode(), 0)
            if not sent:
                continue
            stream = KafkaStream(endpoints, topic_of(profile))
            with Session(Lake.at(endpoints), stream, universe=universe) as session:
                answer = session.recent(symbol, deferred=True)
                plain = session.recent(symbol)
            numbers = np.sort(answer.table["source_sequence"].to_numpy())
            whole = len(numbers) >= sent and (numbers == np.arange(1, len(numbers) + 1)).all()
            if not answer.evidence.complete:
                incomplete += answer.evidence.missing
            elif not whole:
                lacking.append(f"{symbol}: {sent} acknowledged, {len(numbers)} there, newest {numbers.max()}")
            few = np.sort(plain.table["source_sequence"].to_numpy())
            if plain.evidence.complete and not (few == np.arange(1, len(few) + 1)).all():
                lacking.append(f"{symbol}: {len(few)} of {few.max()} without a word")
            with_deferred += len(numbers) > len(few)
    assert lacking == []
    assert with_deferred > 2, "trades were deferred while it was asked"
    assert incomplete == []
