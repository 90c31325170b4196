"""What writing down the truth costs a load at full speed: make, record, send, with the recorder and without."""

import time
from collections.abc import Callable

from k2ctl.broker.producer import BatchProducer
from k2ctl.checks.bench.figures import Figure, measured, repeated
from k2ctl.home import Endpoints
from k2ctl.load.market import Market, new_run_id
from k2ctl.load.truth import Run, TruthRecorder
from k2ctl.load.worker import CHUNK_TRADES, REPORT_EVERY_S
from k2ctl.profiles import Profile
from k2ctl.profiles.universe import Universe


def truth_figure(
    endpoints: Endpoints,
    profile: Profile,
    new_topic: Callable[[], str],
    frame: int,
    trades: int,
    runs: int,
    warm_ups: int,
    say: Callable[[str], None],
) -> Figure:
    """The share of its rate that a generator of one process gives for the recorder; both run in turns."""

    def once() -> list[float]:
        without_s, with_s = (
            _seconds(endpoints, profile, new_topic(), frame, trades, record) for record in (False, True)
        )
        return [1 - without_s / with_s]

    shares = repeated(once, runs, warm_ups, lambda run: say(f"load: truth recorder on and off, frame {frame}, {run}"))
    return measured("load", f"frame {frame}", "cost of the truth recorder", shares[0], "share", 0.05, at_most=True)


def _seconds(endpoints: Endpoints, profile: Profile, topic: str, frame: int, trades: int, record: bool) -> float:
    """From the first trade made to the last one acknowledged."""
    market = Market(Universe(profile), new_run_id())
    producer = BatchProducer(endpoints, topic, frame)
    run = Run(new_run_id(), 0, topic, "bench", "sbe", time.time_ns() // 1000, 0, 0, finished=False)
    truth = TruthRecorder(run, market.sessions())
    made, due_s, started_s = 0, 0.0, time.perf_counter()
    while made < trades:
        count, now_us = min(CHUNK_TRADES, trades - made), time.time_ns() // 1000
        batch = market.take(count, now_us - 1000, now_us)
        made += count
        if record:
            truth.add(batch.trades)
            if time.perf_counter() >= due_s:
                truth.save_if_due(made, 0)
                due_s = time.perf_counter() + REPORT_EVERY_S
        producer.send(batch.trades, batch.per_partition, now_us)
    producer.finish(60)
    if record:
        truth.finish(made, made)
    return time.perf_counter() - started_s
