"""`k2ctl bench commits`: commits on one table, to see whether its age slows them down."""

import gc
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from k2ctl.checks.bench.figures import Figure
from k2ctl.checks.bench.made import made_trades, rows_of
from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.home import Home
from k2ctl.lake.catalog import Lake
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.writer import TableWriter
from k2ctl.profiles import Profile


def bench_commits(profile: Profile, commits: int, say: Callable[[str], None]) -> list[Figure]:
    """p95 of a young table and of an old one: a tenth of the commits each, the first ten left out."""
    with Home.of_user().temporary("bench-") as home:
        lake = Lake(f"sqlite:///{home.path}/catalog.db", f"file://{home.path}/warehouse")
        writer = TableWriter(lake, SystemClock(), SnapshotRetention.from_profile(profile.lake.expire))
        trades, _ = made_trades(profile, 1_000)
        durations_ms = []
        gc.collect()
        gc.freeze()  # as the consumer does
        for number in range(commits):
            if number % 100 == 0:
                say(f"commits: {number} of {commits}")
            rows = replace(rows_of(trades, "t"), offset=np.arange(number * 1000, (number + 1) * 1000))
            step = OffsetDelta(number * 1000, (number + 1) * 1000, Counts(seen=1000, stored=1000))
            started_s = time.perf_counter()
            writer.commit([rows], {TopicPartition("t", "e", 0): step})
            durations_ms.append((time.perf_counter() - started_s) * 1000)
        gc.unfreeze()
        lake.close()
    tenth = commits // 10
    parts = (slice(10, 10 + tenth), slice(commits - tenth, commits))
    young, old = (float(np.percentile(durations_ms[part], 95)) for part in parts)
    return [
        Figure("commits", f"{parts[0].start} to {parts[0].stop}", "p95", young, "ms"),
        Figure("commits", f"{parts[1].start} to {parts[1].stop}", "p95", old, "ms"),
        Figure("commits", "old to young", "p95 ratio", old / young, "×", goal=1.5, at_most=True),
    ]
