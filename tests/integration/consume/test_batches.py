"""How much goes through the steps together, whatever a record holds."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from k2ctl.consume import priority_lanes
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.pending_checkpoint import PendingCheckpoint
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.consume.priority_lanes import PriorityReader
from k2ctl.consume.processing import BATCH_TRADES, BatchProcessor
from k2ctl.domain.trade import frames
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.reader import Fetched
from tests.made_trades import PARTITIONS, make_trades, produce_trades, produce_values
from tests.support.platforms import empty_market


def test_a_backlog_of_full_records_is_cleaned_in_small_batches_from_the_first_on(
    endpoints: Endpoints, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, topic = empty_market(endpoints, exchange)
    trades = make_trades(150_000)
    produce_trades(endpoints, topic, trades, frame=300)
    consumer = Consumer(endpoints, ConsumerPlan(profile, until_caught_up=True))
    sizes: list[int] = []
    process = BatchProcessor.process

    def noted(processor: BatchProcessor, fetched: Fetched, *of: Any) -> None:
        before = consumer.totals.trades
        process(processor, fetched, *of)
        sizes.append(consumer.totals.trades - before)

    monkeypatch.setattr(BatchProcessor, "process", noted)
    assert consumer.run(threading.Event()).stored == len(trades)
    assert max(sizes) <= 1.1 * BATCH_TRADES


def test_trades_that_come_one_by_one_gather_to_batches(
    endpoints: Endpoints, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, topic = empty_market(endpoints, exchange, commit_interval_s=0.5)
    trades, stop = make_trades(100), threading.Event()
    consumer = Consumer(endpoints, ConsumerPlan(profile))
    batches, read = list[int](), BatchProcessor.read_into

    def noted(processor: BatchProcessor, checkpoint: PendingCheckpoint) -> None:
        before = consumer.totals.trades
        read(processor, checkpoint)
        if consumer.totals.trades > before:
            batches.append(consumer.totals.trades - before)

    def one_by_one() -> Iterator[tuple[int, bytes]]:
        for value in frames(trades, 1):
            time.sleep(0.01)
            yield 0, value

    monkeypatch.setattr(BatchProcessor, "read_into", noted)
    threading.Thread(target=produce_values, args=(endpoints, topic, one_by_one())).start()
    threading.Timer(20, stop.set).start()
    stored = consumer.run(stop, lambda: stop.set() if consumer.totals.stored == len(trades) else None).stored
    assert stored == len(trades)
    assert len(batches) < len(trades) / 3


def test_a_fetch_ends_when_records_turn_out_to_be_large(
    endpoints: Endpoints, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(priority_lanes, "LANE_BYTES", 200_000)
    _, topic = empty_market(endpoints, exchange)
    produce_trades(endpoints, topic, make_trades(20_000), frame=100)
    marks = dict.fromkeys(range(PARTITIONS), 50)
    reader = PriorityReader(endpoints, topic, "test", 0, dict.fromkeys(range(PARTITIONS), 0), marks)
    sizes, records = [], 0
    try:
        while records < 200:
            fetched = reader.fetch(10_000, 5, critical_first=False)
            records += len(fetched)
            sizes.append(sum(map(len, fetched.values)))
    finally:
        reader.close()
    assert max(sizes) <= 200_000 + 5 * 100 * make_trades(1).nbytes
