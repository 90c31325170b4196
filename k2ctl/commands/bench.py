"""`k2ctl bench`: how fast, held against what the machine allows."""

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from k2ctl.options import EngineOption, JsonOption, ProfileOption, parse_count

if TYPE_CHECKING:
    from k2ctl.checks.bench import Bench
    from k2ctl.checks.figures import Figure

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Benchmarks, each in a stack of its own, as ratios to ceilings measured in the same run.\n\n"
    "Example:  k2ctl bench consume",
)

Repeat = Annotated[int, typer.Option(min=1, max=20, help="Repetitions; the median is shown.")]
Entries = Annotated[int, typer.Option(parser=parse_count, metavar="COUNT", help="Random ids: 1M to 1G.")]


@app.command(short_help="Trades into Kafka, against a bare produce loop.")
def load(
    engine: EngineOption = "embedded",
    repeat: Repeat = 3,
    profile: ProfileOption = "laptop",
    as_json: JsonOption = False,
) -> None:
    """Trades into Kafka: the producer against a bare produce_batch loop, the generator against its schedule.

    Example:  k2ctl bench load --json
    """
    _run(lambda bench: bench.load(), engine, repeat, profile, as_json=as_json)


@app.command(short_help="A backlog into committed rows, against bare reads.")
def consume(
    engine: EngineOption = "embedded",
    repeat: Repeat = 3,
    profile: ProfileOption = "laptop",
    as_json: JsonOption = False,
) -> None:
    """A backlog into committed rows: against bare consume() and a sorted Parquet write of the same rows.

    Example:  k2ctl bench consume --engine local
    """
    _run(lambda bench: bench.consume(), engine, repeat, profile, as_json=as_json)


@app.command(short_help="Sequence checks in memory and through Redis.")
def sequence(repeat: Repeat = 3, profile: ProfileOption = "laptop", as_json: JsonOption = False) -> None:
    """Sequence checks: in memory against a loop over a dict, and through Redis, in batches of 1 to 10,000 trades.

    Example:  k2ctl bench sequence --json
    """
    _run(lambda bench: bench.sequence(), "embedded", repeat, profile, as_json=as_json)


@app.command(short_help="A thousand commits: whether they stay quick.")
def commits(profile: ProfileOption = "laptop", as_json: JsonOption = False) -> None:
    """A thousand commits on one table: p95 of the last hundred against p95 of the first.

    Example:  k2ctl bench commits
    """
    _run(lambda bench: bench.commits(), "embedded", 1, profile, as_json=as_json)


@app.command(short_help="A day of ids remembered: speed, memory, errors.")
def dedup(
    entries: Annotated[
        int, typer.Option(parser=parse_count, metavar="COUNT", help="Random ids: 1M to 1G.")
    ] = 1_000_000,
    profile: ProfileOption = "laptop",
    as_json: JsonOption = False,
) -> None:
    """Random ids into Bloom chunks, really filled: against pybloom-live's own add, and the rate of error that is set.

    1G takes some ten minutes and 2 GB of memory.

    Example:  k2ctl bench dedup --entries 10M
    """
    from k2ctl.checks.bench_dedup import DedupBench
    from k2ctl.panels.stack import progress
    from k2ctl.profiles import load_profile

    settings = load_profile(profile).consumer.dedup
    with progress("k2ctl bench", quiet=as_json) as say:
        figures = DedupBench(entries, settings.chunk_ids, settings.error_rate, say).run()
    _print(figures, as_json=as_json)


@app.command(short_help="Answers of the warm server, against DuckDB alone.")
def query(
    rows: Annotated[str, typer.Option("--rows", metavar="N", help="Trades in the lake, of four hours.")] = "20M",
    rate: Annotated[str, typer.Option("--rate", metavar="N", help="Trades a second that arrive meanwhile.")] = "20k",
    frame: Annotated[int, typer.Option(min=1, max=1000, help="Of these, trades to a record.")] = 1,
    queries: Annotated[int, typer.Option("--queries", min=20, max=100_000, help="Windows asked for.")] = 400,
    profile: ProfileOption = "laptop",
    as_json: JsonOption = False,
) -> None:
    """15-minute windows of one symbol while load arrives: p50, p95, p99 of the server, DuckDB alone on the same files.

    Example:  k2ctl bench query --rows 2M --rate 10k
    """
    from k2ctl.checks.bench_query import bench_query

    wanted, arriving = parse_count(rows), parse_count(rate)
    _run(
        lambda bench: bench_query(bench.profile, wanted, arriving, frame, queries, bench.say),
        "embedded",
        1,
        profile,
        as_json=as_json,
    )


def _run(
    benchmark: "Callable[[Bench], list[Figure]]", engine: str, repeat: int, profile: str, *, as_json: bool
) -> None:
    from k2ctl.checks.bench import Bench
    from k2ctl.panels.stack import progress
    from k2ctl.profiles import load_profile

    with progress("k2ctl bench", quiet=as_json) as say:
        figures = benchmark(Bench(load_profile(profile), engine, repeat, say))
    _print(figures, as_json=as_json)


def _print(figures: "list[Figure]", *, as_json: bool) -> None:
    import orjson

    from k2ctl.console import out, print_json
    from k2ctl.panels.bench import figures_table

    if as_json:
        for figure in figures:
            print_json(orjson.dumps({**asdict(figure), "met": figure.met}))
    else:
        out().print(figures_table(figures))
