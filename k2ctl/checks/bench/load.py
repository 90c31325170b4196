"""`k2ctl bench load`: handing trades to Kafka, against a bare loop, Kafka's own tool and the schedule."""

import threading
import time
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv

from k2ctl.checks.baselines.loops import KafkaTools, bare_produce_s, read_csv_s
from k2ctl.checks.bench.figures import Figure, absolute, against, beside, measured
from k2ctl.checks.bench.suite import Bench, bench_stack, made_trades
from k2ctl.domain.trade import TRADE, frames
from k2ctl.endpoints import Endpoints
from k2ctl.home import Home
from k2ctl.kafka.producer import BatchProducer
from k2ctl.load.acknowledged_log import Run
from k2ctl.load.acknowledged_log_writer import AcknowledgedLogWriter
from k2ctl.load.generator import run_load
from k2ctl.load.market import SyntheticMarket, new_run_id
from k2ctl.load.plan import plan_load
from k2ctl.load.replay import replay_plan
from k2ctl.load.worker import CHUNK_TRADES, REPORT_EVERY_S
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import Universe
from k2ctl.timing import Every


def bench_load(bench: Bench) -> list[Figure]:
    """Producing with one trade and a hundred to a record, the cost of the acknowledged log, the generator."""
    sizes = bench.sizes
    with bench_stack(bench.engine, bench.even) as endpoints:
        unframed = _produce(bench, endpoints, 1, sizes.produce, 0.8, tool_goal=0.6)
        framed = _produce(bench, endpoints, 100, sizes.produce_framed, None, tool_goal=1.0)
        figures = [*unframed, *framed]
        figures += [figure for frame in (1, 100) for figure in _acknowledged_log(bench, endpoints, frame)]
        figures += _generate(bench, endpoints)
        if bench.engine != "embedded":  # which keeps 5 MiB of a partition
            figures.append(_archive(bench, endpoints))
    one, many = unframed[0], framed[0]
    ratio = Figure("load", "frame 100 to frame 1", "produce", many.value / one.value, "×", goal=5.0)
    return [*figures, ratio, absolute(one, 400_000), absolute(many, 2_000_000)]


def _produce(
    bench: Bench, endpoints: Endpoints, frame: int, count: int, goal: float | None, tool_goal: float
) -> list[Figure]:
    """Rates are trades a second; the tool's are records of one trade's size."""
    trades, per_partition = made_trades(bench.even, count)
    tools = KafkaTools.at(endpoints)

    def once() -> list[float]:
        ours = count / _send_s(endpoints, bench.new_topic(endpoints), trades, per_partition, frame)
        starts = np.cumsum(per_partition) - per_partition
        values = [frames(trades[s : s + n], frame) for s, n in zip(starts, per_partition, strict=True)]
        bare = count / bare_produce_s(endpoints, bench.new_topic(endpoints), values)
        if tools is None:
            return [ours, bare]
        records = min(count, bench.sizes.produce)
        return [ours, bare, tools.produce(bench.new_topic(endpoints), records, TRADE.message.itemsize)]

    ours, bare, *by_tool = bench.repeated(once, f"load: {count:,} trades, frame {frame}")
    figure = against("load", f"frame {frame}", "produce", ours, "trades/s", bare, goal)
    return [figure, *(beside(figure, "kafka-producer-perf-test", rates, tool_goal) for rates in by_tool)]


def _send_s(endpoints: Endpoints, topic: str, trades: np.ndarray, per_partition: np.ndarray, frame: int) -> float:
    producer = BatchProducer(endpoints, topic, frame, sample=bytes(trades["symbol"][0]))
    started_s = time.perf_counter()
    producer.send(trades, per_partition, time.time_ns() // 1000)
    producer.finish(60)
    return time.perf_counter() - started_s


def _acknowledged_log(bench: Bench, endpoints: Endpoints, frame: int) -> list[Figure]:
    """The recorder's share of the processor time of a load at full speed, and what that is a trade.

    That is what a generator gives of its rate where the processor limits it; where a spare core does librdkafka's part,
    or Kafka is slower, it gives less. Processor time of the recorder's calls within one run, because two runs, with the
    recorder and without, are further apart by the wall clock than the recorder costs. What its memory traffic costs the
    others is not in it.
    """
    trades = bench.sizes.log

    def once() -> list[float]:
        recorder_s, process_s = _processor_seconds(endpoints, bench.even, bench.new_topic(endpoints), frame, trades)
        return [recorder_s / process_s, recorder_s / trades * 1e9]

    shares, each = bench.repeated(once, f"load: acknowledged log, frame {frame}")
    case = f"frame {frame}"
    return [
        measured("load", case, "acknowledged log", shares, "share", 0.05, at_most=True),
        measured("load", case, "acknowledged log, a trade", each, "ns"),
    ]


def _processor_seconds(
    endpoints: Endpoints, profile: Profile, topic: str, frame: int, trades: int
) -> tuple[float, float]:
    """Of the recorder, and of the whole process with it, from the first trade made to the last one acknowledged."""
    market = SyntheticMarket(Universe(profile), new_run_id())
    producer = BatchProducer(endpoints, topic, frame)
    run = Run(new_run_id(), 0, topic, "bench", "sbe", time.time_ns() // 1000, 0, 0, finished=False)
    log = AcknowledgedLogWriter(run, market.sessions(), Home.of_user())
    made, report, recorder_ns, started_ns = 0, Every(REPORT_EVERY_S), 0, time.process_time_ns()
    while made < trades:
        count, now_us = min(CHUNK_TRADES, trades - made), time.time_ns() // 1000
        batch = market.take(count, now_us - 1000, now_us)
        made += count
        before_ns = time.thread_time_ns()
        log.add(batch.trades, batch.known)
        if report.due():
            log.save_if_due(made, 0)
            report.restart()
        recorder_ns += time.thread_time_ns() - before_ns
        producer.send(batch.trades, batch.per_partition, now_us)
    producer.finish(60)
    before_ns = time.thread_time_ns()
    log.finish(made, made)
    recorder_ns += time.thread_time_ns() - before_ns
    return recorder_ns / 1e9, (time.process_time_ns() - started_ns) / 1e9


def _generate(bench: Bench, endpoints: Endpoints) -> list[Figure]:
    """The open-loop generator at a rate it should hold: how exact it is."""
    bench.say("load: 100,000 trades/s for 5 s")
    plan = plan_load(bench.unused_profile(), rate=100_000, duration_s=5.0)
    summary = run_load(plan, endpoints, threading.Event())
    off = abs(summary.reached_rate / summary.target_rate - 1)
    return [
        Figure("load", "100k/s", "mean off by", off, "share", goal=0.01, at_most=True),
        Figure("load", "100k/s", "worst second off by", summary.worst_second, "share", goal=0.05, at_most=True),
        Figure("load", "100k/s", "acknowledged, p99", summary.ack_ms["p99"], "ms"),
    ]


def _archive(bench: Bench, endpoints: Endpoints) -> Figure:
    """A CSV archive into Kafka by a feed, from the command to the last acknowledgement, against DuckDB's reading it."""
    count = bench.sizes.archive
    with Home.of_user().temporary("archive-") as home:
        path = home.path / "BTCUSDT-trades-2025-01-01.csv"
        write_archive(path, count)

        def once() -> list[float]:
            plan = plan_load(bench.unused_profile(), frame=100, replay=replay_plan(str(path), "binance-trades"))
            started_s = time.perf_counter()
            run_load(plan, endpoints, threading.Event())
            return [count / (time.perf_counter() - started_s), count / read_csv_s(path)]

        ours, reading = bench.repeated(once, f"load: a CSV archive of {count:,} rows, frame 100")
    return against("load", "CSV archive, frame 100", "replay", ours, "trades/s", reading, 0.6)


def write_archive(path: Path, count: int) -> None:
    """Made-up trades as an archive of Binance has them, in order of time."""
    options = csv.WriteOptions(include_header=False, quoting_style="none")
    with path.open("wb") as file:
        for first in range(0, count, _ARCHIVE_ROWS):
            number = np.arange(first, min(count, first + _ARCHIVE_ROWS))
            columns = {
                "id": number,
                "price": _decimals(9_357_600 + number * 7 % 1_000, 2),
                "quantity": _decimals(1 + number * 7_919 % 1_000_000, 5),
                "quote_quantity": _decimals(1 + number * 104_729 % 10_000_000, 4),
                "time": 1_735_689_600_000_000 + number * 1_000,
                "is_buyer_maker": number % 2 == 0,
                "is_best_match": np.ones(len(number), np.bool_),
            }
            csv.write_csv(pa.table(columns), file, options)


_ARCHIVE_ROWS: Final = 500_000


def _decimals(mantissas: np.ndarray, scale: int) -> pa.Array:
    return pa.array(mantissas.astype(np.int64)).cast(pa.decimal128(38, 0)).view(pa.decimal128(38, scale))
