"""`k2ctl bench`: how fast, held against what the machine allows."""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from k2ctl.errors import UsageError
from k2ctl.options import EngineOption, JsonOption, ProfileOption, parse_count

if TYPE_CHECKING:
    from k2ctl.checks.bench.figures import Figure
    from k2ctl.checks.bench.results import Results
    from k2ctl.checks.bench.sizes import Sizes
    from k2ctl.checks.bench.suite import Bench

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Benchmarks, each in a stack of its own, as ratios to ceilings measured in the same run.\n\n"
    "Example:  k2ctl bench consume",
)

Repeat = Annotated[int, typer.Option(min=1, max=20, help="Repetitions; the median is shown.")]
Compare = Annotated[
    Path | None,
    typer.Option(
        "--compare", metavar="FILE", help="Results of before; exit code 3 when it is worse, beyond the noise."
    ),
]
Markdown = Annotated[bool, typer.Option("--markdown", help="A table for a README on stdout.")]


@app.command(short_help="Trades into Kafka, against a bare produce loop.")
def load(
    engine: EngineOption = "embedded",
    repeat: Repeat = 3,
    profile: ProfileOption = "laptop",
    compare: Compare = None,
    markdown: Markdown = False,
    as_json: JsonOption = False,
) -> None:
    """Trades into Kafka: the producer against a bare produce_batch loop, the generator against its schedule.

    Example:  k2ctl bench load --json
    """
    _run("load", lambda bench: bench.load(), engine, repeat, profile, compare, markdown=markdown, as_json=as_json)


@app.command(short_help="A backlog into committed rows, against bare reads.")
def consume(
    engine: EngineOption = "embedded",
    repeat: Repeat = 3,
    profile: ProfileOption = "laptop",
    compare: Compare = None,
    markdown: Markdown = False,
    as_json: JsonOption = False,
) -> None:
    """A backlog into committed rows: against bare consume() and a sorted Parquet write of the same rows.

    Example:  k2ctl bench consume --engine local
    """
    _run("consume", lambda bench: bench.consume(), engine, repeat, profile, compare, markdown=markdown, as_json=as_json)


@app.command(short_help="Sequence checks in memory and through Redis.")
def sequence(
    repeat: Repeat = 3,
    profile: ProfileOption = "laptop",
    compare: Compare = None,
    markdown: Markdown = False,
    as_json: JsonOption = False,
) -> None:
    """Sequence checks: in memory against a loop over a dict, and through Redis, in batches of 1 to 10,000 trades.

    Example:  k2ctl bench sequence --json
    """
    _run(
        "sequence",
        lambda bench: bench.sequence(),
        "embedded",
        repeat,
        profile,
        compare,
        markdown=markdown,
        as_json=as_json,
    )


@app.command(short_help="A thousand commits: whether they stay quick.")
def commits(
    profile: ProfileOption = "laptop",
    compare: Compare = None,
    markdown: Markdown = False,
    as_json: JsonOption = False,
) -> None:
    """A thousand commits on one table: p95 of the last hundred against p95 of the first.

    Example:  k2ctl bench commits
    """
    _run("commits", lambda bench: bench.commits(), "embedded", 1, profile, compare, markdown=markdown, as_json=as_json)


@app.command(short_help="A day of ids remembered: speed, memory, errors.")
def dedup(
    entries: Annotated[
        int, typer.Option(parser=parse_count, metavar="COUNT", help="Random ids: 1M to 1G.")
    ] = 1_000_000,
    profile: ProfileOption = "laptop",
    compare: Compare = None,
    markdown: Markdown = False,
    as_json: JsonOption = False,
) -> None:
    """Random ids into Bloom chunks, really filled: against pybloom-live's own add, and the rate of error that is set.

    1G takes some ten minutes and 2 GB of memory.

    Example:  k2ctl bench dedup --entries 10M
    """
    _run(
        "dedup",
        lambda bench: _dedup(bench, entries),
        "embedded",
        1,
        profile,
        compare,
        markdown=markdown,
        as_json=as_json,
    )


@app.command(short_help="Answers of the warm server, against DuckDB alone.")
def query(
    rows: Annotated[str, typer.Option("--rows", metavar="N", help="Trades in the lake, of four hours.")] = "20M",
    rate: Annotated[str, typer.Option("--rate", metavar="N", help="Trades a second that arrive meanwhile.")] = "20k",
    frame: Annotated[int, typer.Option(min=1, max=1000, help="Of these, trades to a record.")] = 1,
    queries: Annotated[int, typer.Option("--queries", min=20, max=100_000, help="Windows asked for.")] = 400,
    profile: ProfileOption = "laptop",
    compare: Compare = None,
    markdown: Markdown = False,
    as_json: JsonOption = False,
) -> None:
    """15-minute windows of one symbol while load arrives: p50, p95, p99 of the server, DuckDB alone on the same files.

    Example:  k2ctl bench query --rows 2M --rate 10k
    """
    from k2ctl.checks.bench.query import bench_query

    wanted, arriving = parse_count(rows), parse_count(rate)
    _run(
        "query",
        lambda bench: bench_query(bench.profile, wanted, arriving, frame, queries, bench.say),
        "embedded",
        1,
        profile,
        compare,
        markdown=markdown,
        as_json=as_json,
    )


@app.command(short_help="The same backlog the naive way, and k2ctl's.")
def naive(
    engine: EngineOption = "embedded",
    repeat: Repeat = 3,
    trades: Annotated[str, typer.Option("--trades", metavar="N", help="The backlog.")] = "300k",
    profile: ProfileOption = "laptop",
    compare: Compare = None,
    markdown: Markdown = False,
    as_json: JsonOption = False,
) -> None:
    """One backlog through a consumer that takes record by record, from JSON and from SBE, and through k2ctl's.

    Trades a second, and a second of processor time: what one core does.

    Example:  k2ctl bench naive --trades 100k
    """
    from k2ctl.checks.bench.sizes import NORMAL

    sizes = replace(NORMAL, naive=parse_count(trades))
    _run(
        "naive", lambda bench: bench.naive(), engine, repeat, profile, compare, sizes, markdown=markdown,
        as_json=as_json,
    )  # fmt: skip


@app.command("all", short_help="All of them in turn; --quick, --full.")
def all_benchmarks(
    quick: Annotated[bool, typer.Option("--quick", help="Small: a few minutes, to compare with itself.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Large: for figures that are published.")] = False,
    engine: EngineOption = "embedded",
    profile: ProfileOption = "laptop",
    compare: Compare = None,
    markdown: Markdown = False,
    as_json: JsonOption = False,
) -> None:
    """Every benchmark in turn, with warm-up and repetitions: medians, spreads, and the ceilings of the same run.

    The engine is that of load, consume and naive; the others need none, or the embedded one.

    Example:  k2ctl bench all --quick --compare results.json
    """
    from k2ctl.checks.bench.sizes import FULL, NORMAL, QUICK

    if quick and full:
        raise UsageError("--quick and --full exclude each other.", "Example: k2ctl bench all --quick")
    sizes = QUICK if quick else FULL if full else NORMAL
    name = "all --quick" if quick else "all --full" if full else "all"
    _run(
        name, lambda bench: _all(bench, sizes), engine, sizes.repeat, profile, compare, sizes, markdown=markdown,
        as_json=as_json,
    )  # fmt: skip


def _all(bench: "Bench", sizes: "Sizes") -> "list[Figure]":
    from k2ctl.checks.bench.query import bench_query

    return [
        *bench.load(),
        *bench.consume(),
        *bench.naive(),
        *bench.commits(),
        *bench.sequence(),
        *_dedup(bench, sizes.dedup),
        *bench_query(bench.profile, sizes.query_rows, sizes.query_rate, 1, sizes.queries, bench.say),
    ]


def _dedup(bench: "Bench", entries: int) -> "list[Figure]":
    from k2ctl.checks.bench.dedup import DedupBench

    settings = bench.profile.consumer.dedup
    return DedupBench(entries, settings.chunk_ids, settings.error_rate, bench.say).run()


def _run(
    name: str,
    benchmark: "Callable[[Bench], list[Figure]]",
    engine: str,
    repeat: int,
    profile: str,
    compare: Path | None,
    sizes: "Sizes | None" = None,
    *,
    markdown: bool,
    as_json: bool,
) -> None:
    """Run, keep the results, show them, and hold them to those of before."""
    from k2ctl.checks.bench.machine import this_machine
    from k2ctl.checks.bench.results import Results, read, save
    from k2ctl.checks.bench.sizes import NORMAL
    from k2ctl.checks.bench.suite import Bench
    from k2ctl.console import err
    from k2ctl.panels.bench import busy_warning
    from k2ctl.panels.stack import progress
    from k2ctl.profiles import load_profile

    before = read(compare) if compare else None
    machine, started_s = this_machine(), time.monotonic()
    if machine.busy:
        err().print(busy_warning(machine))
    with progress("k2ctl bench", quiet=as_json) as say:
        figures = benchmark(Bench(load_profile(profile), engine, repeat, say, sizes or NORMAL))
    asked = f"{name} --engine {engine} --profile {profile}"
    results = Results(machine, asked, time.monotonic() - started_s, figures)
    path = save(results)
    _show(results, markdown=markdown, as_json=as_json)
    err().print(f"Kept in {path}; later: k2ctl bench {name} --compare {path}", markup=False, soft_wrap=True)
    if before is not None:
        _hold_against(before, results, as_json=as_json)


def _show(results: "Results", *, markdown: bool, as_json: bool) -> None:
    import orjson

    from k2ctl.console import out, print_json
    from k2ctl.panels.bench import figures_markdown, figures_table

    if as_json:
        for figure in results.figures:
            print_json(orjson.dumps({**asdict(figure), "met": figure.met}))
    elif markdown:
        out().print(figures_markdown(results), markup=False, soft_wrap=True)
    else:
        out().print(figures_table(results.figures))


def _hold_against(before: "Results", after: "Results", *, as_json: bool) -> None:
    import orjson

    from k2ctl.checks.bench.results import compare, regressions
    from k2ctl.console import err, out, print_json
    from k2ctl.panels.bench import comparison_table

    compared = compare(before, after)
    if not compared:
        raise UsageError("The two runs have no figure in common.", f"That file holds: k2ctl bench {before.asked}")
    if not before.machine.is_like(after.machine):
        err().print("That file is from another machine: only ratios are compared.", style="yellow")
    if as_json:
        for pair in compared:
            print_json(orjson.dumps({"compared": {**asdict(pair), "verdict": pair.verdict}}))
    else:
        out().print(comparison_table(compared))
    error = regressions(compared)
    if error is not None:
        raise error
