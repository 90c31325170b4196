"""The most memory that `k2ctl consume` holds while it drains a backlog, as a process of its own."""

import json
import subprocess
import sys
import time
from typing import Final

import psutil

from k2ctl.checks.bench.drain import require_all
from k2ctl.checks.bench.figures import Figure, measured
from k2ctl.checks.bench.suite import Bench, bench_stack, made_trades
from k2ctl.demo.pacing import unhurried
from k2ctl.home import Home
from k2ctl.kafka.producer import BatchProducer

PEAK_GOAL_MIB: Final = 400.0
_CAUGHT_UP: Final = (sys.executable, "-m", "k2ctl", "consume", "--until-caught-up", "--json")
_LOOKED_EVERY_S: Final = 0.02
_MIB: Final = 1 << 20


def bench_memory(bench: Bench) -> list[Figure]:
    """A backlog of trades one by one, and one of frames, each through processes of its own."""
    return [
        _bench_peak(bench, frame, count) for frame, count in ((1, bench.sizes.drain), (100, bench.sizes.drain_framed))
    ]


def _bench_peak(bench: Bench, frame: int, count: int) -> Figure:
    profile = unhurried(bench.even)
    with bench_stack(bench.engine, profile) as endpoints:
        _peak_mib(endpoints.home, 0)  # makes topics and table

        def once() -> list[float]:
            trades, per_partition = made_trades(profile, count)
            BatchProducer(endpoints, profile.trades_topic, frame).send_all(trades, per_partition)
            return [_peak_mib(endpoints.home, count)]

        (peaks,) = bench.repeated(once, f"memory: {count:,} trades, frame {frame}")
    return measured("memory", f"frame {frame}", "peak of consume", peaks, "MiB", PEAK_GOAL_MIB, at_most=True)


def _peak_mib(home: Home, count: int) -> float:
    """Resident, looked at 50 times a second.

    Raises:
        CheckFailed: not every trade was stored, so that the peak means nothing.
    """
    peak = 0
    with subprocess.Popen(_CAUGHT_UP, stdout=subprocess.PIPE, env=home.environment()) as process:
        looked_at = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                peak = max(peak, looked_at.memory_info().rss)
            except psutil.Error:
                break
            time.sleep(_LOOKED_EVERY_S)
        said = process.communicate()[0]
    require_all(json.loads(said)["stored"], count, "The consumer", "memory")
    return peak / _MIB
