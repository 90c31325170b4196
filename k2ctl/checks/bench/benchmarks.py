"""The benchmarks by name, in the order in which they run."""

from collections.abc import Callable, Sequence
from typing import Final

from k2ctl.checks.bench.consume import bench_commits, bench_consume, bench_naive
from k2ctl.checks.bench.day import bench_day
from k2ctl.checks.bench.dedup import bench_dedup
from k2ctl.checks.bench.figures import Figure
from k2ctl.checks.bench.group_commit import bench_group
from k2ctl.checks.bench.growth import bench_growth
from k2ctl.checks.bench.load import bench_load
from k2ctl.checks.bench.memory import bench_memory
from k2ctl.checks.bench.query import bench_query
from k2ctl.checks.bench.sequence import bench_sequence
from k2ctl.checks.bench.start import bench_start
from k2ctl.checks.bench.suite import Bench

BY_NAME: Final[dict[str, Callable[[Bench], list[Figure]]]] = {
    "load": bench_load,
    "consume": bench_consume,
    "naive": bench_naive,
    "commits": bench_commits,
    "group": bench_group,
    "growth": bench_growth,
    "day": bench_day,
    "sequence": bench_sequence,
    "dedup": bench_dedup,
    "query": bench_query,
    "start": bench_start,
    "memory": bench_memory,
}


def run(names: Sequence[str], bench: Bench) -> list[Figure]:
    """The figures of some benchmarks, one after the other."""
    return [figure for name in names for figure in BY_NAME[name](bench)]
