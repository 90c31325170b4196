"""What the page asks for, with a million trades behind the service: quickly, bounded, and at no query's cost."""

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import httpx
import orjson
import pytest

from k2ctl.api.history import SERIES, PlatformHistory
from k2ctl.api.settings import Settings
from k2ctl.clock import ManualClock, SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.domain.overview import Overview
from k2ctl.domain.status_parts import PartitionStatus
from k2ctl.domain.topics import trades_topic
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.lake.catalog import Lake
from k2ctl.lake.writer import TableWriter
from tests.made_trades import PARTITIONS, make_rows, make_trades, produce_trades
from tests.support.api import SPAN, Service, serving
from tests.support.platforms import with_lake
from tests.support.statuses import a_status

LAKE, STREAM, PART = 900_000, 100_000, 100_000
ASKED = {**SPAN, "symbol": "S03"}


@pytest.fixture(scope="module")
def large(embedded_stack: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """900,000 trades in the lake, 100,000 on their way, and an hour of history."""
    endpoints = with_lake(embedded_stack, tmp_path_factory.mktemp("large"))
    topic, here = trades_topic("equities", "LARGE"), TopicPartition("another", "e", 0)
    with BrokerAdmin(endpoints) as admin:
        admin.create_topic(topic, PARTITIONS)
    produce_trades(endpoints, topic, make_trades(STREAM, start=LAKE), 100)
    with Lake.at(endpoints) as lake:
        writer = TableWriter(lake, SystemClock())
        for start in range(0, LAKE, PART):
            rows = make_rows(make_trades(PART, start=start), start, "another")
            writer.commit([rows], {here: OffsetDelta(start, start + PART, Counts(PART, PART))})
    with serving(endpoints, topic, Settings(port=0)) as service:
        fill_history(service)
        yield service


def fill_history(service: Service) -> None:
    """As the service would have seen an hour of four consumers with 48 partitions each."""
    clock = ManualClock(time.time_ns() // 1000 - 3_600_000_000)
    parts = [PartitionStatus(number, 10, 5, 20) for number in range(48)]
    seen = Overview.of([a_status(name, partitions=parts) for name in "abcd"], highs={})
    history = PlatformHistory(clock)
    for _ in range(1_800):
        history.note(replace(seen, at_us=clock.now_us()))
        clock.advance(2)
    service.engine.platform.history = history


def times_ms(ask: Callable[[], httpx.Response], count: int = 20) -> list[float]:
    """How long answers take, sorted; the first one is not counted."""
    found = []
    for _ in range(count + 1):
        started_s = time.perf_counter()
        answer = ask()
        assert answer.status_code == 200, answer.text
        found.append((time.perf_counter() - started_s) * 1_000)
    return sorted(found[1:])


@pytest.mark.slow
def test_the_data_of_the_page_comes_within_its_bounds(large: Service) -> None:
    asked = {
        "history": ("/v1/history", {}, 250),
        "symbols": ("/v1/symbols", {"prefix": "s"}, 100),
        "bars": ("/v1/ohlcv", {**ASKED, "bar": "1m"}, 500),
        "recent": ("/v1/trades/recent", {**ASKED, "limit": "100"}, 500),
        "status": ("/v1/status", {}, 250),
    }
    for name, (path, params, bound_ms) in asked.items():
        found = times_ms(lambda path=path, params=params: large.client.get(path, params=params))
        assert statistics.median(found) < bound_ms, (name, found)
    bars = large.client.get("/v1/ohlcv", params={**ASKED, "bar": "1m"}).json()
    assert bars["evidence"]["complete"]
    assert sum(bar["trades"] for bar in bars["rows"]) == (LAKE + STREAM) // 20
    history = large.client.get("/v1/history")
    assert len(history.json()["at_us"]) >= 1_790
    assert len(history.content) < 300_000
    assert set(history.json()["series"]) == set(SERIES)


@pytest.mark.slow
def test_pages_that_are_open_leave_queries_their_time(large: Service) -> None:
    def ask() -> httpx.Response:
        return large.client.get("/v1/trades/recent", params={**ASKED, "limit": "100"})

    alone = statistics.median(times_ms(ask, 40))
    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        pages = [stack.enter_context(httpx.Client(base_url=large.url, timeout=20)) for _ in range(8)]
        followed = [stack.enter_context(page.stream("GET", "/v1/events", params={"symbol": "S03"})) for page in pages]
        ticks = [iter(answer.iter_lines()) for answer in followed]
        first = list(pool.map(next, ticks))
        assert all(orjson.loads(tick.removeprefix("data: "))["complete"] for tick in first)
        beside = statistics.median(times_ms(ask, 40))
    assert beside < 3 * alone + 50, (alone, beside)
