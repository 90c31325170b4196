"""What writing down the acknowledged log costs a load at full speed: its share of the processor time of the load's
process.

That is what a generator gives of its rate where the processor limits it; where a spare core does librdkafka's part, or
Kafka is slower, it gives less. Processor time of the recorder's calls within one run, because two runs, with the
recorder and without, are further apart by the wall clock than the recorder costs. What its memory traffic costs the
others is not in it.
"""

import time
from collections.abc import Callable

from k2ctl.checks.bench.figures import Figure, measured, repeated
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.producer import BatchProducer
from k2ctl.load.acknowledged_log import AcknowledgedLogWriter, Run
from k2ctl.load.market import SyntheticMarket, new_run_id
from k2ctl.load.worker import CHUNK_TRADES, REPORT_EVERY_S
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import Universe


def acknowledged_log_figures(
    endpoints: Endpoints,
    profile: Profile,
    new_topic: Callable[[], str],
    frame: int,
    trades: int,
    runs: int,
    warm_ups: int,
    say: Callable[[str], None],
) -> list[Figure]:
    """The recorder's share of the processor time, and what that is a trade; medians of the runs."""

    def once() -> list[float]:
        recorder_s, process_s = _processor_seconds(endpoints, profile, new_topic(), frame, trades)
        return [recorder_s / process_s, recorder_s / trades * 1e9]

    shares, each = repeated(once, runs, warm_ups, lambda run: say(f"load: acknowledged log, frame {frame}, {run}"))
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
    log = AcknowledgedLogWriter(run, market.sessions())
    made, due_s, recorder_ns, started_ns = 0, 0.0, 0, time.process_time_ns()
    while made < trades:
        count, now_us = min(CHUNK_TRADES, trades - made), time.time_ns() // 1000
        batch = market.take(count, now_us - 1000, now_us)
        made += count
        before_ns = time.thread_time_ns()
        log.add(batch.trades)
        if time.perf_counter() >= due_s:
            log.save_if_due(made, 0)
            due_s = time.perf_counter() + REPORT_EVERY_S
        recorder_ns += time.thread_time_ns() - before_ns
        producer.send(batch.trades, batch.per_partition, now_us)
    producer.finish(60)
    before_ns = time.thread_time_ns()
    log.finish(made, made)
    recorder_ns += time.thread_time_ns() - before_ns
    return recorder_ns / 1e9, (time.process_time_ns() - started_ns) / 1e9
