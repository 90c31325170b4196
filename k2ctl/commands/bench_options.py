"""The benchmarks, and the options of `k2ctl bench`."""

from pathlib import Path
from typing import Annotated, Final

import typer

from k2ctl import known_names
from k2ctl.options import parse_count

BENCHMARKS: Final[dict[str, tuple[str, ...]]] = {
    "load": ("--engine", "--repeat"),
    "consume": ("--engine", "--repeat"),
    "naive": ("--engine", "--repeat", "--trades"),
    "commits": (),
    "group": ("--engine", "--consumers"),
    "growth": ("--engine",),
    "day": ("--engine",),
    "sequence": ("--repeat",),
    "dedup": ("--entries", "--scope", "--engine"),
    "query": ("--engine", "--rows", "--rate", "--frame", "--queries"),
    "start": ("--engine", "--repeat"),
    "memory": ("--engine", "--repeat"),
}
"""In the order in which they run → the options that mean something to it, beside those for all of them."""

Names = Annotated[
    list[str],
    typer.Argument(
        metavar="all|NAME...",
        help=f"{', '.join(BENCHMARKS)}; or all.",
        autocompletion=known_names.one_of(*BENCHMARKS, "all"),
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="Small: a few minutes, to compare with itself.")]
Full = Annotated[bool, typer.Option("--full", help="Large: for figures that are published.")]
Engine = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="NAME",
        help="embedded, local or docker.",
        show_default="embedded",
        autocompletion=known_names.own_engines,
    ),
]
Repeat = Annotated[
    int | None,
    typer.Option(min=1, max=20, help="Repetitions; the median is shown.", show_default="3; --quick 2, --full 5"),
]
Trades = Annotated[
    int | None, typer.Option(parser=parse_count, metavar="COUNT", help="naive: the backlog.", show_default="300k")
]
Entries = Annotated[
    int | None,
    typer.Option(parser=parse_count, metavar="COUNT", help="dedup: random ids, 1M to 1G.", show_default="1M"),
]
Scope = Annotated[
    str | None,
    typer.Option(
        "--scope",
        metavar="partition|topic",
        help="dedup: a consumer's memory, or the claims that consumers share.",
        show_default="partition",
        autocompletion=known_names.one_of("partition", "topic"),
    ),
]
Rows = Annotated[
    int | None,
    typer.Option(
        parser=parse_count,
        metavar="COUNT",
        help="query: trades in the lake, of four hours.",
        show_default="20M alone, else 2M",
    ),
]
Rate = Annotated[
    int | None,
    typer.Option(
        parser=parse_count,
        metavar="COUNT",
        help="query: trades a second that arrive meanwhile.",
        show_default="20k",
    ),
]
Frame = Annotated[
    int | None, typer.Option(min=1, max=1000, help="query: of these, trades to a record.", show_default="1")
]
Consumers = Annotated[
    int | None,
    typer.Option(min=2, max=64, help="group: processes, and threads that commit.", show_default="16 and 32"),
]
Queries = Annotated[int | None, typer.Option(min=20, max=100_000, help="query: windows asked for.", show_default="400")]
Compare = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Results of before; exit code 3 when it is worse, beyond the noise.",
        show_default="none",
    ),
]
Markdown = Annotated[bool, typer.Option("--markdown", help="A table for a README on stdout.")]
