"""The benchmarks by name, in the order in which they run."""

from collections.abc import Callable, Sequence
from typing import Final

from k2ctl.checks.bench.dedup import DedupBench
from k2ctl.checks.bench.figures import Figure
from k2ctl.checks.bench.query import bench_query
from k2ctl.checks.bench.sizes import Sizes
from k2ctl.checks.bench.suite import Bench


def run(names: Sequence[str], bench: Bench, sizes: Sizes) -> list[Figure]:
    """The figures of some benchmarks, one after the other."""
    return [figure for name in names for figure in _BY_NAME[name](bench, sizes)]


def _dedup(bench: Bench, sizes: Sizes) -> list[Figure]:
    settings = bench.profile.consumer.dedup
    return DedupBench(sizes.dedup, settings.chunk_ids, settings.error_rate, bench.say).run()


def _query(bench: Bench, sizes: Sizes) -> list[Figure]:
    return bench_query(
        bench.engine, bench.profile, sizes.query_rows, sizes.query_rate, sizes.query_frame, sizes.queries, bench.say
    )


_BY_NAME: Final[dict[str, Callable[[Bench, Sizes], list[Figure]]]] = {
    "load": lambda bench, _: bench.load(),
    "consume": lambda bench, _: bench.consume(),
    "naive": lambda bench, _: bench.naive(),
    "commits": lambda bench, _: bench.commits(),
    "sequence": lambda bench, _: bench.sequence(),
    "dedup": _dedup,
    "query": _query,
}
