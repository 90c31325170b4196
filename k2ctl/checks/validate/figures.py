"""Targets that need no overload: sequence checks, deduplication, queries, cost, the demo, the tests present."""

import ast
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import k2ctl
from k2ctl.checks.bench.dedup import DedupBench
from k2ctl.checks.bench.figures import Figure
from k2ctl.checks.bench.query import bench_query
from k2ctl.checks.bench.sequence import FLOOR_MS, GOAL_MS, sequence_figures
from k2ctl.checks.bench.suite import Bench, Sizes
from k2ctl.checks.validate.targets import Absent, Ground, Listener, Results, Step, Target
from k2ctl.checks.verify.verification import prove
from k2ctl.cost.price_book import load_book
from k2ctl.cost.pricing import Pricing
from k2ctl.demo.pacing import Pacing
from k2ctl.demo.scale import SCALES
from k2ctl.demo.story import chosen, perform
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
    found = sequence_figures(ground.profile, 5 if ground.full else 1, ground.say)
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
    sizes = Sizes(query_rows=rows, query_rate=rate, query_frame=frame, queries=queries)
    found = bench_query(Bench(ground.profile, ground.engine, ground.say, sizes))
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


COST_AT_MOST_S: Final = 2.0
KINDS: Final = ("unit", "contract", "integration", "acceptance")


def cost_targets(_: Ground) -> list[Target]:
    """One."""
    goal = f"all feasible, within {COST_AT_MOST_S:.0f} s"
    return [Target("cost", "monthly cost of three scales", goal, f"k2ctl cost --compare {','.join(SCALES)}")]


def measure_cost(_: Ground, wanted: Sequence[Target]) -> Results:
    """Sized and priced from the shipped profiles and prices."""
    started_s = time.monotonic()
    pricing = Pricing(load_book(), ())
    found = [(name, pricing.subject(name, None)) for name in SCALES]
    seconds = time.monotonic() - started_s
    held = seconds <= COST_AT_MOST_S and not any(estimate.infeasible for _, estimate in found)
    usd = ", ".join(f"{name} {estimate.total_monthly_usd:,.0f}" for name, estimate in found)
    yield wanted[0].judged(held, f"{usd} USD; {seconds:.1f} s")


def demo_targets(ground: Ground) -> list[Target]:
    """One."""
    name, command = ("the whole demo", "k2ctl demo") if ground.full else ("the quick demo", "k2ctl demo --quick")
    return [Target("demo", name, f"every check holds, < {_demo_at_most_s(ground):.0f} s", command)]


def _demo_at_most_s(ground: Ground) -> float:
    return 600.0 if ground.full else 90.0


def measure_demo(ground: Ground, wanted: Sequence[Target]) -> Results:
    """All four acts and the reconciliation."""
    reported = perform(
        ground.profile, ground.engine, chosen(()), Pacing(quick=not ground.full), Listener(ground.say, "demo: "), prove
    )
    good = sum(check.held for check in reported.checks)
    red = "".join(f"; not: {check.claim} ({check.measured})" for check in reported.checks if not check.held)
    held = reported.held and reported.seconds < _demo_at_most_s(ground)
    yield wanted[0].judged(held, f"{good} of {len(reported.checks)} checks, {reported.seconds:.0f} s{red}")


def tests_targets(_: Ground) -> list[Target]:
    """One."""
    return [Target("tests", "tests present", f"some of each kind: {', '.join(KINDS)}", "pytest -q")]


def measure_tests(_: Ground, wanted: Sequence[Target], package: Path | None = None) -> Results:
    """Test functions, counted in the files; they are not run.

    package: the folder of k2ctl, beside which a checkout has its tests.
    """
    folder = (package or Path(k2ctl.__file__).parent).parent / "tests"
    if not (folder / "conftest.py").is_file():
        raise Absent("this is an installed k2ctl: the tests are in the source")
    counted = Counter({kind: count_tests(folder / kind) for kind in KINDS})
    each = ", ".join(f"{counted[kind]:,} {kind}" for kind in KINDS)
    yield wanted[0].judged(all(counted[kind] for kind in KINDS), f"{counted.total():,}: {each}; not run here")


def count_tests(place: Path) -> int:
    """The test functions of a file, or of all files of a folder."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    files = [place] if place.is_file() else place.rglob("test_*.py")
    trees = (ast.parse(file.read_text(encoding="utf-8")) for file in files)
    return sum(isinstance(node, kinds) and node.name.startswith("test_") for tree in trees for node in ast.walk(tree))


COST: Final = Step("cost", "what three scales cost", cost_targets, measure_cost)
DEMO: Final = Step("demo", "the demo in its time", demo_targets, measure_demo, stack=True)
TESTS: Final = Step("tests", "the tests that come with it", tests_targets, measure_tests)
