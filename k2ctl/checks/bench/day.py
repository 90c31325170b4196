"""`k2ctl bench day`: twenty-four hours of commits and their maintenance in two minutes, and what grows by the hour.

The consumer is a process as ever, but for its pace: ages and intervals of maintenance, and the times of the trades,
pass so many times as fast. No clock is moved, so files are as old as the file system says.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import numpy as np
import psutil

from k2ctl.checks.bench.figures import Figure
from k2ctl.checks.bench.processes import trades_coming
from k2ctl.checks.bench.suite import Bench, Say, bench_stack
from k2ctl.clock import SystemClock
from k2ctl.consume.consumer import Consumer
from k2ctl.consume.platform import ConsumerPlan
from k2ctl.consume.report import StatusReporter
from k2ctl.demo.pacing import unhurried
from k2ctl.endpoints import Endpoints
from k2ctl.errors import CheckFailed
from k2ctl.kafka.admin import BrokerAdmin
from k2ctl.kafka.telemetry import TelemetryWriter
from k2ctl.lake.catalog import Lake
from k2ctl.lake.live_files import live_files
from k2ctl.lake.maintenance.orphans import orphans
from k2ctl.lake.scan import all_manifests
from k2ctl.profiles import Profile
from k2ctl.signals import end_with
from k2ctl.timing import Every

HOURS: Final = 24
HOUR_S: Final = 3600.0
SHOWN: Final = (1, 6, 12, 18, 24)
COMMIT_EVERY_S: Final = 0.1
TRADES_PER_S: Final = 4_000
SEND_EVERY_S: Final = 0.05
REPORT_EVERY_S: Final = 0.2
BEGIN_S: Final = 60.0
LOOKS_AN_HOUR: Final = 5
AGO_S: Final = 30 * 24 * HOUR_S
"""When the day of the trades began: also on a machine that takes longer, none is ahead of its time."""


@dataclass(frozen=True)
class Hour:
    """What there is in an hour: the most of several looks."""

    commit_p95_ms: float
    snapshots: float
    metadata_bytes: float
    manifests: float
    # Of the newest hour that has some.
    files_of_the_hour: float
    memory_bytes: float
    handles: float
    threads: float
    files_on_disk: float
    # Unreachable for twice as long as it takes to be removed.
    orphans: float


def consume(endpoints: Endpoints, profile: Profile, pace: float, commits: Connection) -> None:
    """A consumer's process, until SIGTERM; it says how long each commit took."""
    end_with(os.getppid())
    os.environ["K2CTL_HOME"] = str(endpoints.home.path)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    consumer = Consumer(endpoints, ConsumerPlan(profile, pace=pace))
    reporter, due, said = StatusReporter(consumer), Every(REPORT_EVERY_S), 0

    def on_tick() -> None:
        nonlocal said
        if consumer.totals.commits > said:
            said = consumer.totals.commits
            commits.send(consumer.totals.last_commit_s)
        if due.due():
            telemetry.publish(reporter.status())

    with closing(TelemetryWriter(endpoints)) as telemetry:
        consumer.run(stop, on_tick)


METRICS: Final = {
    # Field of `Hour` → its name, its unit, and by which share of its mean an hour may add to it.
    "commit_p95_ms": ("commit, p95", "ms", 0.05),
    "snapshots": ("snapshots", "snapshots", 0.02),
    "metadata_bytes": ("metadata file", "bytes", 0.02),
    "manifests": ("manifests", "files", 0.02),
    "files_of_the_hour": ("files of the newest hour", "files", 0.05),
    "files_on_disk": ("files on disk", "files", 0.06),
    "orphans": ("orphans left", "files", None),
    "memory_bytes": ("consumer, memory", "bytes", 0.01),
    "handles": ("consumer, handles", "handles", 0.01),
    "threads": ("consumer, threads", "threads", 0.01),
}


def bench_day(bench: Bench) -> list[Figure]:
    """A day's hours, and what one of its second half adds: the slope of a line through them."""
    with bench_stack(bench.engine, bench.profile) as endpoints:
        day = CompressedDay(endpoints, bench.profile, bench.sizes.day_hour_s)
        hours = day.hours(bench.say)
    by_metric = [_grown(hours, field, *metric) for field, metric in METRICS.items()]
    figures = [figure for of_case in zip(*by_metric, strict=True) for figure in of_case]
    rewritten = Figure(
        "day", f"{HOURS} hours", "rewritten, of a byte stored", day.rewritten, "bytes", None, None, 3.0, True
    )
    return [*figures, rewritten]


def _grown(hours: list[Hour], field: str, metric: str, unit: str, most: float | None) -> list[Figure]:
    values = [getattr(hour, field) for hour in hours]
    shown = [Figure("day", f"hour {hour}", metric, values[hour - 1], unit) for hour in SHOWN]
    late = values[HOURS // 2 :]
    slope = float(np.polyfit(np.arange(len(late)), late, 1)[0])
    adds = slope / (float(np.mean(late)) or 1.0)
    return [*shown, Figure("day", "an hour adds", metric, adds, "share", goal=most, at_most=True)]


class CompressedDay:
    """A table that a consumer fills and maintains, and what its hours leave behind."""

    def __init__(self, endpoints: Endpoints, profile: Profile, hour_s: float) -> None:
        self._endpoints, self._hour_s, self.pace = endpoints, hour_s, HOUR_S / hour_s
        settings = profile.consumer.model_copy(update={"commit_interval_s": COMMIT_EVERY_S})
        self._profile = unhurried(profile.model_copy(update={"consumer": settings}))
        self._lake = Lake.at(endpoints)
        self._added: dict[int, tuple[str, int]] = {}

    def hours(self, say: Say) -> list[Hour]:
        """Live through the day."""
        with BrokerAdmin(self._endpoints) as admin:
            admin.create_topic(self._profile.trades_topic, self._profile.topic.partitions)
        with self._consuming() as (process, commits), self._trading():
            if not commits.poll(BEGIN_S):
                raise CheckFailed("The consumer stored nothing.", "Try again: k2ctl bench day")
            found = []
            for number in range(HOURS):
                say(f"day: hour {number + 1} of {HOURS}")
                found.append(self._hour(psutil.Process(process.pid), commits))
        self._lake.close()
        return found

    @property
    def rewritten(self) -> float:
        """Bytes that compaction wrote for each byte that commits wrote."""
        stored, rewritten = (
            sum(size for operation, size in self._added.values() if (operation == "replace") is replaced)
            for replaced in (False, True)
        )
        return rewritten / stored

    def _hour(self, process: psutil.Process, commits: Connection) -> Hour:
        taken, looks, until_s = list[float](), list[tuple[float, ...]](), time.monotonic()
        for _ in range(LOOKS_AN_HOUR):
            until_s += self._hour_s / LOOKS_AN_HOUR
            time.sleep(max(0.0, until_s - time.monotonic()))
            looks.append((*self._look(), process.memory_info().rss, process.num_fds(), process.num_threads()))
            while commits.poll():
                taken.append(commits.recv())
        if not taken:
            raise CheckFailed("The consumer committed nothing in an hour.", "Try again: k2ctl bench day")
        values = [float(np.percentile(taken, 95)) * 1000, *map(max, zip(*looks, strict=True)), *self._on_disk()]
        return Hour(*map(float, values))

    def _look(self) -> tuple[float, ...]:
        table = self._lake.table()
        metadata, files = table.metadata, live_files(table)
        for snapshot in metadata.snapshots:
            if snapshot.summary is not None:
                size = int(snapshot.summary["added-files-size"] or 0)
                self._added[snapshot.snapshot_id] = (snapshot.summary.operation.value, size)
        return (
            len(metadata.snapshots),
            _path(table.metadata_location).stat().st_size,
            len(all_manifests(table, metadata.current_snapshot())),
            sum(file.hour == max(one.hour for one in files) for file in files),
        )

    def _on_disk(self) -> tuple[int, int]:
        """Files of the table, and those of them that should have been removed."""
        old_s = 2 * self._profile.lake.orphans_after_s / self.pace
        found = _path(self._lake.table().location()).rglob("*")
        left = sum(orphan.age_s > old_s for orphan in orphans(self._lake, SystemClock()))
        return sum(path.is_file() for path in found), left

    @contextmanager
    def _consuming(self) -> Iterator[tuple[BaseProcess, Connection]]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=consume, args=(self._endpoints, self._profile, self.pace, theirs))
        process.start()
        try:
            yield process, ours
        finally:
            process.terminate()
            process.join(20)
            process.kill()

    def _trading(self) -> AbstractContextManager[None]:
        """A block in which trades come in, whose times are of a day of last month."""
        start_us = SystemClock().now_us()
        day_us = start_us - round(AGO_S * 1e6)
        return trades_coming(
            self._endpoints,
            self._profile,
            TRADES_PER_S,
            SEND_EVERY_S,
            lambda sent_us: day_us + round((sent_us - start_us) * self.pace),
        )


def _path(location: str) -> Path:
    return Path(location.removeprefix("file://"))
