"""`k2ctl bench`: how fast, compared with what the machine allows."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from k2ctl.commands import bench_options as options
from k2ctl.commands.bench_options import BENCHMARKS
from k2ctl.errors import UsageError
from k2ctl.options import JsonOption, ProfileOption, group

if TYPE_CHECKING:
    from k2ctl.checks.bench.results import Results
    from k2ctl.checks.bench.suite import Sizes

ALONE_ROWS: Final = 20_000_000
"""Of `bench query` by itself: as many as the goal asks. Among others it takes fewer."""

app = group()


@app.command(no_args_is_help=True)
def bench(
    names: options.Names,
    quick: options.Quick = False,
    full: options.Full = False,
    engine: options.Engine = None,
    repeat: options.Repeat = None,
    trades: options.Trades = None,
    entries: options.Entries = None,
    scope: options.Scope = None,
    rows: options.Rows = None,
    rate: options.Rate = None,
    frame: options.Frame = None,
    consumers: options.Consumers = None,
    queries: options.Queries = None,
    profile: ProfileOption = "laptop",
    compare: options.Compare = None,
    markdown: options.Markdown = False,
    as_json: JsonOption = False,
) -> None:
    """Benchmarks, each in a stack of its own, as ratios to baselines measured in the same run.

    \b
    load      trades into Kafka, against a bare produce_batch loop
    consume   a backlog into committed rows, against bare reads and writes
    naive     one backlog record by record, and through k2ctl's consumer
    commits   a thousand on one table: the last hundred against the first
    group     commits of many consumers of one table, against those of one
    growth    a commit, a plan and a trade, as hours and rates grow: two curves
    day       24 hours of commits and maintenance in two minutes: what grows by
              the hour in the table, on disk and in the consumer
    sequence  checks in memory, against a loop over a dict, and through Redis
    dedup     random ids into Bloom chunks, against pybloom-live's own add;
              1G takes some ten minutes and 2 GB of memory. --scope topic: claims
              in Redis, and a backlog with them against one without
    query     15-minute windows of one symbol while load arrives: the server,
              against DuckDB alone on the same files
    start     the help, a query and a consumer from the moment that they are typed
    memory    the most that a consumer holds while it drains a backlog

    Example:  k2ctl bench consume --engine local

    Example:  k2ctl bench all --quick --compare results.json
    """
    if quick and full:
        raise UsageError("--quick and --full exclude each other.", "Example: k2ctl bench all --quick")
    if markdown and as_json:
        raise UsageError("--markdown and --json exclude each other.", "Ask for one at a time.")
    given = {"--engine": engine, "--repeat": repeat, "--trades": trades, "--entries": entries, "--rows": rows,
             "--rate": rate, "--frame": frame, "--queries": queries, "--consumers": consumers,
             "--scope": scope}  # fmt: skip
    if scope not in (None, "partition", "topic"):
        raise UsageError(f"There is no scope '{scope}' here.", "Example: k2ctl bench dedup --scope topic")
    said = {option: value for option, value in given.items() if value is not None}
    chosen = _chosen(names, said)
    size = "--quick" if quick else "--full" if full else ""
    asked = _asked(chosen, size, profile, said)
    before = None
    if compare is not None:
        from k2ctl.checks.bench.results import read

        before = read(compare)
    results = _run(asked, chosen, _sizes(chosen, size, said), engine or "embedded", profile, quiet=as_json)
    _show(results, markdown=markdown, as_json=as_json)
    _keep(results)
    if before is not None:
        _hold_against(before, results, as_json=as_json)


def _chosen(names: Sequence[str], said: Mapping[str, object]) -> list[str]:
    """The benchmarks by name, in their own order.

    Raises:
        UsageError: there is none of that name, or none of them takes what was said.
    """
    known = ", ".join(BENCHMARKS)
    for name in names:
        if name != "all" and name not in BENCHMARKS:
            raise UsageError(f"There is no benchmark '{name}'.", f"There are: {known}; or all.")
    chosen = [name for name in BENCHMARKS if name in names or "all" in names]
    for option, value in said.items():
        takers = [name for name in BENCHMARKS if option in BENCHMARKS[name]]
        if not set(takers) & set(chosen):
            raise UsageError(f"{option} is not for {' and '.join(chosen)}.", f"It is for: {', '.join(takers)}")
        if value == 0:
            raise UsageError(f"{option} is at least 1.", f"Example: k2ctl bench {takers[0]} {option} 1M")
    return chosen


def _asked(chosen: Sequence[str], size: str, profile: str, said: Mapping[str, object]) -> str:
    """What to type after `k2ctl bench` for the same run again."""
    words = ["all"] if len(chosen) == len(BENCHMARKS) else list(chosen)
    words += [size] if size else []
    if any("--engine" in BENCHMARKS[name] for name in chosen):
        said = {"--engine": "embedded", **said}
    words += [f"{option} {value}" for option, value in {**said, "--profile": profile}.items()]
    return " ".join(words)


def _sizes(chosen: Sequence[str], size: str, said: Mapping[str, object]) -> "Sizes":
    from k2ctl.checks.bench.suite import FULL, NORMAL, QUICK

    base = {"--quick": QUICK, "--full": FULL, "": NORMAL}[size]
    if list(chosen) == ["query"] and not size:
        base = replace(base, query_rows=ALONE_ROWS)
    fields = {"--repeat": "repeat", "--trades": "naive", "--entries": "dedup", "--rows": "query_rows",
              "--rate": "query_rate", "--frame": "query_frame", "--queries": "queries",
              "--scope": "dedup_scope"}  # fmt: skip
    changes: dict[str, Any] = {fields[option]: value for option, value in said.items() if option in fields}
    if "--consumers" in said:
        changes |= dict.fromkeys(("group_authors", "group_consumers"), said["--consumers"])
    return replace(base, **changes)


def _run(asked: str, chosen: Sequence[str], sizes: "Sizes", engine: str, profile: str, *, quiet: bool) -> "Results":
    from k2ctl.checks.bench.benchmarks import run
    from k2ctl.checks.bench.results import Results, this_machine
    from k2ctl.checks.bench.suite import Bench
    from k2ctl.console import err
    from k2ctl.profiles import load_profile
    from k2ctl.views.checks import busy_warning
    from k2ctl.views.stack import progress

    machine, started_s = this_machine(), time.monotonic()
    if machine.busy:
        err().print(busy_warning(machine))
    with progress("k2ctl bench", quiet=quiet) as say:
        figures = run(chosen, Bench(load_profile(profile), engine, say, sizes))
    return Results(machine, asked, time.monotonic() - started_s, figures)


def _keep(results: "Results") -> None:
    from k2ctl.checks.bench.results import save
    from k2ctl.console import say

    path = save(results)
    say(f"Kept in {path}; later: k2ctl bench {results.asked} --compare {path}")


def _show(results: "Results", *, markdown: bool, as_json: bool) -> None:

    from k2ctl.console import out, print_json
    from k2ctl.views.checks import curves, figures_markdown, figures_table

    if as_json:
        for figure in results.figures:
            print_json({**asdict(figure), "met": figure.met})
    elif markdown:
        out().print(figures_markdown(results), soft_wrap=True)
    else:
        out().print(figures_table(results.figures))
        drawn = curves(results.figures)
        if drawn is not None:
            out().print(drawn)


def _hold_against(before: "Results", after: "Results", *, as_json: bool) -> None:

    from k2ctl.checks.bench.results import compare, regressions
    from k2ctl.console import err, out, print_json
    from k2ctl.views.checks import comparison_table

    compared = compare(before, after)
    if not compared:
        raise UsageError("The two runs have no figure in common.", f"That file holds: k2ctl bench {before.asked}")
    if not before.machine.is_like(after.machine):
        err().print("That file is from another machine: only ratios are compared.", style="yellow")
    if as_json:
        for pair in compared:
            print_json({"compared": {**asdict(pair), "verdict": pair.verdict}})
    else:
        out().print(comparison_table(compared))
    error = regressions(compared)
    if error is not None:
        raise error
