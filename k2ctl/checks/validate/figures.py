"""Targets that a benchmark measures: sequence checks through Redis, the memory of deduplication, hybrid queries."""

from collections.abc import Sequence
from typing import Final

from k2ctl.checks.bench.dedup import DedupBench
from k2ctl.checks.bench.figures import Figure
from k2ctl.checks.bench.query import bench_query
from k2ctl.checks.bench.sequence import FLOOR_MS, GOAL_MS, SequenceBench
from k2ctl.checks.validate.targets import Absent, Ground, Results, Step, Target
from k2ctl.errors import StackError
from k2ctl.stack.redis_server import redis_server_binary

BITS_AN_ID: Final = 16.0
QUERY_MS, QUERY_AIM_MS = 500.0, 100.0


def sequence_targets(_: Ground) -> list[Target]:
    """One."""
    goal = f"≤ {FLOOR_MS:.0f} ms, aim ≤ {GOAL_MS:.0f}"
    return [Target("sequence", "10,000 sequence checks through Redis", goal, "k2ctl bench sequence")]


def measure_sequence(ground: Ground, wanted: Sequence[Target]) -> Results:
    """Checked, published and answered, in one round trip; on a Redis of its own."""
    try:
        redis_server_binary()
    except StackError as error:
        raise Absent(str(error)) from error
    found = SequenceBench(ground.profile, 5 if ground.full else 1, ground.say).run()
    spent_ms = _figure(found, "per batch, goal", "Redis, 10,000").value
    yield wanted[0].judged(spent_ms <= FLOOR_MS, f"{spent_ms:.1f} ms{_aimed(spent_ms, GOAL_MS)}")


def dedup_targets(ground: Ground) -> list[Target]:
    """Memory and error rate."""
    command, dedup = f"k2ctl bench dedup --entries {_ids(ground) // 1_000_000}M", ground.profile.consumer.dedup
    return [
        Target("dedup", "Bloom memory", f"≤ {BITS_AN_ID:.0f} bits an id", command),
        Target("dedup", "Bloom error rate", f"≤ {dedup.error_rate:.1%} of new ids suspected", command),
    ]


def _ids(ground: Ground) -> int:
    return 10_000_000 if ground.full else 1_000_000


def measure_dedup(ground: Ground, wanted: Sequence[Target]) -> Results:
    """Really filled with random ids."""
    dedup = ground.profile.consumer.dedup
    found = DedupBench(_ids(ground), dedup.chunk_ids, dedup.error_rate, ground.say).run()
    bits = _figure(found, "memory an id").value
    yield wanted[0].judged(bits <= BITS_AN_ID, f"{bits:.1f} bits, {_ids(ground):,} ids")
    suspected = _figure(found, "false positives, of the rate set").value
    yield wanted[1].judged(suspected <= dedup.error_rate, f"{suspected:.3%}")


def query_targets(ground: Ground) -> list[Target]:
    """The slowest hundredth, and completeness."""
    rows, rate, frame = _query_size(ground)
    size = f"{rows / 1e6:g}M rows, {rate // 1000}k/s"
    command = (
        f"k2ctl bench query --rows {rows // 1000}k --rate {rate // 1000}k"
        + (f" --frame {frame}" if frame > 1 else "")
        + ("" if ground.engine == "embedded" else f" --engine {ground.engine}")
    )
    goal = f"≤ {QUERY_MS:.0f} ms, aim ≤ {QUERY_AIM_MS:.0f}; {size} arriving"
    return [
        Target("query", "hybrid query, p99", goal, command),
        Target("query", "hybrid answers complete", "every one", command),
    ]


def _query_size(ground: Ground) -> tuple[int, int, int]:
    """Rows in the table, trades a second that arrive, trades in a record."""
    return (20_000_000, 100_000, 100) if ground.full else (200_000, 5_000, 1)


def measure_query(ground: Ground, wanted: Sequence[Target]) -> Results:
    """Windows of a symbol, asked of a warm server while trades arrive and are committed."""
    rows, rate, frame = _query_size(ground)
    queries = 400 if ground.full else 100
    found = bench_query(ground.engine, ground.profile, rows, rate, frame, queries, ground.say)
    p99_ms = _figure(found, "server, p99").value
    arrived = _figure(found, "trades that arrived")
    measured = f"{p99_ms:.0f} ms{_aimed(p99_ms, QUERY_AIM_MS)}; {arrived.value:,.0f}/s arrived"
    yield wanted[0].judged(p99_ms <= QUERY_MS and arrived.met is not False, measured)
    incomplete = _figure(found, "answers that were not complete").value
    yield wanted[1].judged(not incomplete, f"{queries - incomplete:.0f} of {queries}")


def _figure(figures: Sequence[Figure], metric: str, case: str | None = None) -> Figure:
    return next(figure for figure in figures if figure.metric == metric and case in (None, figure.case))


def _aimed(value_ms: float, aim_ms: float) -> str:
    return ", aim met" if value_ms <= aim_ms else ", aim not met"


SEQUENCE: Final = Step("sequence", "sequence checks through Redis", sequence_targets, measure_sequence)
DEDUP: Final = Step("dedup", "the memory of deduplication", dedup_targets, measure_dedup)
QUERY: Final = Step("query", "hybrid queries while trades arrive", query_targets, measure_query, stack=True)
