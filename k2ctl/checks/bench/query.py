"""`k2ctl bench query`: how long answers take, in the warm server and on the command line, while load arrives."""

import http.client
import random
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import median
from typing import Any, Final
from urllib.parse import urlencode

import numpy as np
import orjson

from k2ctl.checks.baselines.loops import BareScan
from k2ctl.checks.bench.figures import Figure
from k2ctl.checks.bench.processes import BEGIN_S, loading, running, sent_by_load
from k2ctl.checks.bench.suite import Bench, Say, bench_stack, rows_of
from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.domain.trade import Window
from k2ctl.endpoints import Endpoints
from k2ctl.errors import CheckFailed
from k2ctl.home import Home
from k2ctl.kafka.producer import BatchProducer
from k2ctl.kafka.telemetry import TelemetryReader
from k2ctl.lake.catalog import Lake
from k2ctl.lake.writer import TableWriter
from k2ctl.load.market import SyntheticMarket, new_run_id
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import Universe
from k2ctl.retry import wait_until
from k2ctl.stack.processes import is_alive

WINDOW_US: Final = 900_000_000
HISTORY_US: Final = 4 * 3_600_000_000
COMMIT_ROWS: Final = 500_000
LIMIT: Final = 1_000
WARM_UP: Final = 20
COLD_RUNS: Final = 3
JSON: Final = "application/json"
ARROW: Final = "application/vnd.apache.arrow.stream"
VISIBLE_TRADES: Final = 100


@dataclass(frozen=True)
class _Measured:
    """Milliseconds: of each answer, in JSON and in Arrow, of the bare scan, of the newest trade's age, of each stage.

    arrived_per_s: trades that the load sent meanwhile, a second.
    """

    served_ms: list[float]
    arrow_ms: list[float]
    bare_ms: list[float]
    ages_ms: list[float]
    stages_ms: dict[str, list[float]]
    incomplete: int
    arrived_per_s: float


def bench_query(bench: Bench) -> list[Figure]:
    """15-minute windows of one symbol over the trades of four hours, half of them up to now, with load arriving.

    The server is a process of its own and is asked over HTTP, one question at a time. DuckDB alone is asked for the
    same rows of the very files that are there then, in between, so that a noisy moment of the machine hits both alike.
    It gives Arrow, so the answer in Arrow is what it is held against; JSON is more work, and its ratio has no goal.
    """
    profile, say, sizes = bench.profile, bench.say, bench.sizes
    rows, rate, frame, queries = sizes.query_rows, sizes.query_rate, sizes.query_frame, sizes.queries
    with bench_stack(bench.engine, profile) as endpoints:
        now_us = time.time_ns() // 1000
        _fill(endpoints, profile, rows, now_us - HISTORY_US, now_us, say)
        home = endpoints.home
        with running(home, "consume"), _server(home) as port, loading(home, rate, frame):
            say(f"query: {queries} windows, {rate:,} trades/s arriving")
            found = _measure(endpoints, profile, port, now_us, queries)
            say(f"query: {VISIBLE_TRADES} trades sent, and asked for as soon as they are acknowledged")
            visible_ms = _visible_ms(endpoints, profile, port)
            cold = [_cold_s(home) for _ in range(COLD_RUNS)]
    case = f"{rows:,} rows, {rate:,}/s, frame {frame}"
    served, bare, arrow95 = found.served_ms, found.bare_ms, float(np.percentile(found.arrow_ms, 95))
    p50, p95, p99 = (float(np.percentile(served, q)) for q in (50, 95, 99))
    bare95, visible99 = float(np.percentile(bare, 95)), float(np.percentile(visible_ms, 99))
    return [
        Figure("query", case, "server, p50", p50, "ms", float(np.percentile(bare, 50))),
        Figure("query", case, "server, p95", p95, "ms", bare95, p95 / bare95),
        Figure("query", case, "server, Arrow, p95", arrow95, "ms", bare95, arrow95 / bare95, 1.3, at_most=True),
        Figure("query", case, "server, p99", p99, "ms", goal=500.0, at_most=True),
        Figure("query", case, "server, p99, aim", p99, "ms", goal=50.0, at_most=True),
        *(
            Figure("query", case, f"stage {name}, {quantile}", float(np.percentile(ms, int(quantile[1:]))), "ms")
            for name, ms in found.stages_ms.items()
            for quantile in ("p50", "p95")
        ),
        Figure("query", case, "answers that were not complete", found.incomplete, "answers", goal=0.0, at_most=True),
        Figure("query", case, "newest trade's age, p99", float(np.percentile(found.ages_ms, 99)), "ms"),
        Figure("query", case, "acknowledged to visible, p99", visible99, "ms", goal=1000.0, at_most=True),
        Figure("query", case, "trades that arrived", found.arrived_per_s, "trades/s", goal=0.95 * rate),
        Figure("query", case, "command line, whole process", median(cold), "s", goal=2.5, at_most=True),
    ]


def _fill(endpoints: Endpoints, profile: Profile, rows: int, first_us: int, last_us: int, say: Say) -> None:
    """Trades of the profile's market into the table, evenly over the time."""
    market, partition = SyntheticMarket(Universe(profile), new_run_id()), TopicPartition("history", "bench", 0)
    with Lake.at(endpoints) as lake:
        writer = TableWriter(lake, SystemClock())
        for start in range(0, rows, COMMIT_ROWS):
            count = min(COMMIT_ROWS, rows - start)
            say(f"query: {start:,} of {rows:,} rows written")
            times = [first_us + (last_us - first_us) * at // rows for at in (start, start + count)]
            made = rows_of(market.take(count, times[0], times[1]).trades, partition.topic)
            made = replace(made, epoch=partition.epoch, offset=np.arange(start, start + count, dtype=np.int64))
            writer.commit([made], {partition: OffsetDelta(start, start + count, Counts(seen=count, stored=count))})


def _measure(endpoints: Endpoints, profile: Profile, port: int, now_us: int, queries: int) -> _Measured:
    """Ask, and scan the same files, in turns."""
    rng = random.Random(7)
    names = Universe(profile).symbols[:100]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    scan = BareScan(endpoints)
    served, arrow, bare, ages = list[float](), list[float](), list[float](), []
    stages: dict[str, list[float]] = {}
    incomplete = 0
    arrivals = TelemetryReader(endpoints)
    first = sent_by_load(arrivals)
    for number in range(WARM_UP + queries):
        symbol, live = rng.choice(names), number % 2 == 0
        until_us = time.time_ns() // 1000 if live else now_us - rng.randrange(HISTORY_US - WINDOW_US)
        window = Window(until_us - WINDOW_US, None if live else until_us)
        parameters = {"symbol": symbol, "limit": LIMIT, "since": _iso(until_us - WINDOW_US)}
        if not live:
            parameters["until"] = _iso(until_us)
        answer: dict[str, Any] = {}

        def in_json(asked: dict[str, object] = parameters, answer: dict[str, Any] = answer) -> float:
            content, took_ms = _fetched(connection, asked, JSON)
            answer |= orjson.loads(content)
            return took_ms

        def in_arrow(asked: dict[str, object] = parameters) -> float:
            return _fetched(connection, asked, ARROW)[1]

        def alone(symbol: str = symbol, window: Window = window) -> float:
            return scan.seconds([symbol], window, LIMIT) * 1000

        # Each is first as often, live and past: the second finds the files in the system's cache.
        ways = ((served, in_json), (arrow, in_arrow), (bare, alone))
        for at in range(len(ways)):
            times, way = ways[(number // 2 + at) % len(ways)]
            times.append(way())
        if number < WARM_UP:
            continue
        evidence = answer["evidence"]
        incomplete += not evidence["complete"]
        for stage, ms in evidence["stages_ms"].items():
            stages.setdefault(stage, []).append(ms)
        if live and evidence["stream_rows"]:
            ages.append((evidence["asked_at_us"] - evidence["newest_us"]) / 1000)
    last = sent_by_load(arrivals)
    arrived = (last.trades - first.trades) / max(1e-6, (last.at_us - first.at_us) / 1e6)
    arrivals.close()
    connection.close()
    scan.close()
    served, arrow, bare = served[WARM_UP:], arrow[WARM_UP:], bare[WARM_UP:]
    return _Measured(served, arrow, bare, ages or [0.0], stages, incomplete, arrived)


def _visible_ms(endpoints: Endpoints, profile: Profile, port: int) -> list[float]:
    """From a trade's acknowledgement to the end of the first answer that has it, one trade after the other."""
    market = SyntheticMarket(Universe(profile), new_run_id())
    producer = BatchProducer(endpoints, profile.trades_topic, frame=1)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    found = []
    for _ in range(VISIBLE_TRADES):
        now_us = time.time_ns() // 1000
        batch = market.take(1, now_us, now_us)
        producer.send_all(batch.trades, batch.per_partition)
        acknowledged_s = time.perf_counter()
        wanted = str(uuid.UUID(bytes=bytes(batch.trades["message_id"][0])))
        # Only its own milliseconds: of a busy symbol, an answer's thousand newest trades may all be younger.
        parameters = {"symbol": batch.trades["symbol"][0].decode(), "limit": LIMIT}
        parameters |= {"since": _iso(now_us - 1000), "until": _iso(now_us + 1000)}
        while all(row["message_id"] != wanted for row in _ask(connection, parameters)["rows"]):
            if time.perf_counter() - acknowledged_s > 30:
                raise CheckFailed("A trade that was acknowledged 30 s ago is in no answer.", "k2ctl watch --once")
        found.append((time.perf_counter() - acknowledged_s) * 1000)
    connection.close()
    return found


def _ask(connection: http.client.HTTPConnection, parameters: dict[str, object]) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(_fetched(connection, parameters, JSON)[0])
    return document


def _fetched(connection: http.client.HTTPConnection, parameters: dict[str, object], media: str) -> tuple[bytes, float]:
    """The answer, and the milliseconds until its last byte was here; parsing it is the client's."""
    started_s = time.perf_counter()
    connection.request("GET", "/v1/trades/recent?" + urlencode(parameters), headers={"Accept": media})
    response = connection.getresponse()
    content = response.read()
    took_ms = (time.perf_counter() - started_s) * 1000
    if response.status != 200:
        raise CheckFailed(f"The server answered {response.status}: {content[:200]!r}", "k2ctl bench query --rate 10k")
    return content, took_ms


def _cold_s(home: Home) -> float:
    started_s = time.perf_counter()
    command = [sys.executable, "-m", "k2ctl", "query", "recent", "BHP", "--limit", "20", "--format", "csv"]
    subprocess.run(command, check=True, capture_output=True, timeout=60, env=home.environment())
    return time.perf_counter() - started_s


@contextmanager
def _server(home: Home) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    with running(home, "api", "--port", str(port)) as process:
        if not wait_until(lambda: not is_alive(process) or _serves(port), within_s=BEGIN_S) or not is_alive(process):
            raise CheckFailed("The server did not begin.", "See what it says: k2ctl api")
        yield port


def _serves(port: int) -> bool:
    with suppress(OSError), closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    return False


def _iso(moment_us: int) -> str:
    return datetime.fromtimestamp(moment_us / 1e6, UTC).isoformat()
