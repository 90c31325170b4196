"""`k2ctl bench start`: how long commands take to begin, each as a process of its own."""

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final

import psutil

from k2ctl.checks.bench.figures import Figure, against, measured
from k2ctl.checks.bench.suite import Bench, bench_stack, made_trades
from k2ctl.consume.consumer import FIRST_READ
from k2ctl.endpoints import Endpoints
from k2ctl.errors import CheckFailed
from k2ctl.home import Home
from k2ctl.kafka.producer import BatchProducer
from k2ctl.profiles import Profile

STORED: Final = 10_000
UNREAD: Final = 100

_BARE: Final = ("-c", "import typer, rich")
_HELP: Final = ("-m", "k2ctl", "--help")
_QUERY: Final = ("-m", "k2ctl", "query", "recent", "BHP", "--window", "all", "--limit", "20", "--format", "csv")
_CONSUME: Final = ("-m", "k2ctl", "--log-level", "INFO", "consume")
_CAUGHT_UP: Final = ("-m", "k2ctl", "consume", "--until-caught-up", "--json")


def bench_start(bench: Bench) -> list[Figure]:
    """The help, a query and a consumer, each from the moment that it is typed, one after the other.

    The help is compared with the import of its two libraries by processor time. A consumer's time ends when it has read
    the first of some records that wait for it.
    """
    with bench_stack(bench.engine, bench.profile) as endpoints:
        home = endpoints.home
        _done(_CAUGHT_UP, home)  # makes topics and table
        _send(endpoints, bench.profile, STORED)
        _done(_CAUGHT_UP, home)

        def once() -> Sequence[float]:
            bare_s, help_s = _done(_BARE, home)[1], _done(_HELP, home)[1]
            query_s, query_cpu_s = _done(_QUERY, home)
            _send(endpoints, bench.profile, UNREAD)
            return bare_s, help_s, query_s, query_cpu_s, *_first_read(home)

        bare_s, help_s, query_s, query_cpu_s, read_s, read_cpu_s = bench.repeated(once, "start")
    return [
        against("start", "--help", "processor time", help_s, "s", bare_s, 1.3, at_most=True),
        measured("start", "query recent, cold", "whole process", query_s, "s", 0.6, at_most=True),
        measured("start", "query recent, cold", "processor time", query_cpu_s, "s"),
        measured("start", "consume", "to its first record", read_s, "s", 0.8, at_most=True),
        measured("start", "consume", "processor time to there", read_cpu_s, "s"),
    ]


def _send(endpoints: Endpoints, profile: Profile, count: int) -> None:
    trades, per_partition = made_trades(profile, count)
    producer = BatchProducer(endpoints, profile.trades_topic, frame=1)
    producer.send_all(trades, per_partition)


def _done(arguments: Sequence[str], home: Home) -> tuple[float, float]:
    """Seconds that a process takes, and of these of a processor."""
    before_s, started_s = _children_cpu_s(), time.perf_counter()
    command = [sys.executable, *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=60, env=home.environment())
    return time.perf_counter() - started_s, _children_cpu_s() - before_s


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _first_read(home: Home) -> tuple[float, float]:
    """From the start of a consumer to the line of its log that says that it has read: seconds, and of a processor."""
    started_s = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *_CONSUME], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=home.environment()
    ) as process:
        try:
            for line in process.stderr or ():
                if FIRST_READ.encode() in line:
                    used = psutil.Process(process.pid).cpu_times()
                    return time.perf_counter() - started_s, used.user + used.system
        finally:
            process.terminate()
    raise CheckFailed("The consumer ended before it had read anything.", "See what it says: k2ctl consume")
