"""`k2ctl bench growth`: what a commit takes as the table grows by hours, and a trade as more come a second or none."""

import gc
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import psutil

from k2ctl.checks.bench.figures import Figure
from k2ctl.checks.bench.processes import BEGIN_S, loading, running, sent_by_load
from k2ctl.checks.bench.suite import Bench, Say, bench_stack, made_trades, rows_of
from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.domain.rows import HOUR_US
from k2ctl.domain.trade import Window
from k2ctl.endpoints import Endpoints, ProcessId
from k2ctl.errors import CheckFailed
from k2ctl.garbage import spare_what_is_there
from k2ctl.home import Home
from k2ctl.kafka.lease import FileLease
from k2ctl.kafka.telemetry import TelemetryReader
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.maintenance.maintainer import compact_now, whole_hours
from k2ctl.lake.snapshots import TableFollower
from k2ctl.lake.writer import TableWriter
from k2ctl.profiles import Profile
from k2ctl.query.seam import planned
from k2ctl.retry import wait_until
from k2ctl.timing import Stopwatch

PARTITION: Final = TopicPartition("growth", "e", 0)
ROWS_AN_HOUR: Final = 50
HOURS_A_COMMIT: Final = 100
WARM_UPS: Final = 120
COMMITS: Final = 60
PLANS: Final = 40
FLAT: Final = 1.5
"""How much more than at the beginning of the curve its end may take."""

IDLE_CORES: Final = 0.01
CORES: Final = {5_000: 0.1}
"""What a consumer may take of the processor while it waits, and by trades a second."""

SETTLED_S: Final = 3.0
"""Load and consumer have begun, and their first seconds are not measured."""


def bench_growth(bench: Bench) -> list[Figure]:
    """Two curves: by the hours in the table, and by the trades a second."""
    with Home.of_user().temporary("bench-") as home:
        grown = by_hours(home, bench.profile, bench.sizes.growth_hours, bench.say)
    with bench_stack(bench.engine, bench.even) as endpoints:
        return [*grown, *by_rate(endpoints, bench.sizes.growth_rates, bench.sizes.growth_s, bench.say)]


def by_hours(home: Home, profile: Profile, hours: tuple[int, ...], say: Say) -> list[Figure]:
    """A table that gets older: the p95 of a commit, a window's plan, and the bytes of its metadata, at each age.

    hours: ages at which to measure, ascending. Each hour is one file, as compaction leaves it.
    """
    with Lake(f"sqlite:///{home.path}/catalog.db", f"file://{home.path}/warehouse") as lake:
        table = _GrowingTable(lake, profile, FileLease(home, "growth"))
        say(f"growth: {WARM_UPS} commits, so that the first age has its snapshots too")
        for _ in range(WARM_UPS):
            table.commit(np.zeros(ROWS_AN_HOUR, np.int64))
        spare_what_is_there()  # as the consumer does
        measured = []
        for age in hours:
            say(f"growth: {age:,} hours")
            table.grow_to(age)
            measured.append((table.commit_ms(), table.plan_ms(), table.metadata_bytes()))
        gc.unfreeze()
    figures = []
    for column, (metric, unit) in enumerate((("commit, p95", "ms"), ("a window planned", "ms"), ("metadata", "bytes"))):
        first = measured[0][column]
        for age, row in zip(hours, measured, strict=True):
            ratio, goal = row[column] / first, FLAT if unit == "ms" and age > hours[0] else None
            figures.append(Figure("growth", f"{age:,} h", metric, row[column], unit, first, ratio, goal, True))
    return figures


class _GrowingTable:
    """A table of one partition, whose past is filled from the newest hour on."""

    def __init__(self, lake: Lake, profile: Profile, lease: FileLease) -> None:
        retention = SnapshotRetention.from_profile(profile.lake.expire)
        self._lease = lease
        self._lake, self._writer = lake, TableWriter(lake, SystemClock(), retention)
        self._trades, _ = made_trades(profile, ROWS_AN_HOUR * HOURS_A_COMMIT)
        self._symbol = self._trades["symbol"][0].decode()
        self._now_us = time.time_ns() // 1000
        self._hours = self._offset = 0

    def grow_to(self, hours: int) -> None:
        """Add older hours until there are so many, and compact."""
        while self._hours < hours:
            more = min(HOURS_A_COMMIT, hours - self._hours)
            ages = np.repeat(np.arange(self._hours, self._hours + more), ROWS_AN_HOUR)
            self.commit(ages)
            self._hours += more
        compact_now(self._lake, SystemClock(), whole_hours, lambda _: self._lease)

    def commit_ms(self) -> float:
        """The p95 of commits to the newest hour."""
        watch, taken = Stopwatch(), []
        for _ in range(COMMITS):
            before = watch.seconds.get("commit", 0.0)
            with watch.timed("commit"):
                self.commit(np.zeros(ROWS_AN_HOUR, np.int64))
            taken.append((watch.seconds["commit"] - before) * 1000)
        return float(np.percentile(taken, 95))

    def plan_ms(self) -> float:
        """The median plan of the newest fifteen minutes of a symbol, on a table that has just changed."""
        follower, taken = TableFollower(self._lake), []
        window = Window(self._now_us - HOUR_US // 4, None)
        for _ in range(PLANS):
            self.commit(np.zeros(1, np.int64))
            watch = Stopwatch()
            with watch.timed("plan"):
                planned(follower.pin(), [self._symbol], window)
            taken.append(watch.milliseconds["plan"])
        return float(np.median(taken))

    def metadata_bytes(self) -> float:
        """The metadata file and the manifest list, which every commit writes again."""
        table = self._lake.table()
        snapshot = table.metadata.current_snapshot()
        written = [table.metadata_location, snapshot.manifest_list if snapshot else ""]
        return float(sum(Path(name.removeprefix("file://")).stat().st_size for name in written if name))

    def commit(self, ages: np.ndarray) -> None:
        """One commit of a row for each of the `ages`, in hours."""
        count = len(ages)
        trades = self._trades[:count].copy()
        trades["event_ns"] = (self._now_us - ages * HOUR_US) * 1000
        rows = replace(
            rows_of(trades, PARTITION.topic), offset=np.arange(self._offset, self._offset + count, dtype=np.int64)
        )
        step = OffsetDelta(self._offset, self._offset + count, Counts(seen=count, stored=count))
        self._writer.commit([rows], {PARTITION: step})
        self._offset += count


_CORES: Final = "consumer, cores"


def by_rate(endpoints: Endpoints, rates: tuple[int, ...], seconds: float, say: Say) -> list[Figure]:
    """Processor time of the consumer for each trade that it stores, with trades arriving at each rate.

    rates: trades a second, ascending, one trade to a record.
    """
    spent = []
    with running(endpoints.home, "consume") as consumer:
        say(f"growth: no trades for {seconds:.0f} s")
        idle = _cores_idle(endpoints, consumer, seconds)
        for rate in rates:
            say(f"growth: {rate:,} trades/s for {seconds:.0f} s")
            with loading(endpoints.home, rate, 1):
                stored, cpu_us = _spent(endpoints, consumer, seconds)
            spent.append((stored / seconds, cpu_us / seconds))
    fixed_us = fixed_of(spent)
    first, cases = spent[0][1] / spent[0][0], [f"{rate:,}/s" for rate in rates]
    figures = [Figure("growth", "no trades", _CORES, idle, "cores", goal=IDLE_CORES, at_most=True)]
    for rate, case, (rate_per_s, cpu_us) in zip(rates, cases, spent, strict=True):
        goal = CORES.get(rate)
        cost, share = cpu_us / rate_per_s, min(1.0, fixed_us / cpu_us)
        figures += [
            Figure("growth", case, "consumer, a trade", cost, "µs", first, cost / first, 1.0, True),
            Figure("growth", case, "consumer, fixed a second, of a trade", share * cost, "µs", cost, share),
            Figure("growth", case, _CORES, cpu_us / 1e6, "cores", goal=goal, at_most=goal is not None),
        ]
    return sorted(figures, key=lambda figure: figure.metric)


def fixed_of(spent: Sequence[tuple[float, float]]) -> float:
    """Of points (trades a second, microseconds of processor time a second), what no trades at all would take.

    It is where the line through the two lowest rates begins: at higher ones commits and batches are full.
    """
    (low, low_us), (high, high_us) = (*spent[:2], *spent[:1])[:2]
    if high <= low:
        return low_us
    return min(low_us, max(0.0, low_us - low * (high_us - low_us) / (high - low)))


def _cores_idle(endpoints: Endpoints, consumer: ProcessId, seconds: float) -> float:
    """What a consumer takes of the processor that waits for trades, from its first commit on.

    Raises:
        CheckFailed: it did not begin.
    """
    process = psutil.Process(consumer.pid)
    with Lake.at(endpoints) as lake:

        def has_begun() -> bool:
            table = lake.find_table()
            return table is not None and bool(checkpoints_of(table).by_partition)

        if not wait_until(has_begun, within_s=BEGIN_S):
            raise CheckFailed("The consumer did not begin.", "Try again: k2ctl bench growth")
    time.sleep(SETTLED_S)
    before_s = sum(process.cpu_times()[:2])
    time.sleep(seconds)
    return (sum(process.cpu_times()[:2]) - before_s) / seconds


def _spent(endpoints: Endpoints, consumer: ProcessId, seconds: float) -> tuple[int, float]:
    """Trades stored in so many seconds, and the microseconds of processor time of the consumer meanwhile.

    Raises:
        CheckFailed: nothing was stored.
    """
    process, telemetry = psutil.Process(consumer.pid), TelemetryReader(endpoints)
    sent_by_load(telemetry)
    telemetry.close()
    with Lake.at(endpoints) as lake:

        def spent() -> tuple[int, float]:
            return checkpoints_of(lake.table()).total().stored, sum(process.cpu_times()[:2])

        time.sleep(SETTLED_S)
        stored, cpu_s = spent()
        time.sleep(seconds)
        after, cpu_after_s = spent()
    if after == stored:
        raise CheckFailed("The consumer stored nothing.", "Try again: k2ctl bench growth")
    return after - stored, (cpu_after_s - cpu_s) * 1e6
