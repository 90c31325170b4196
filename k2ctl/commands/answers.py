"""Common parts of the query commands: windows and times as people write them, and the output of answers."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal

import typer

from k2ctl import known_names
from k2ctl.errors import K2Error, UsageError
from k2ctl.options import parse_count, parse_span
from k2ctl.settings import SETTINGS

if TYPE_CHECKING:
    from pyarrow import RecordBatchReader

    from k2ctl.domain.trade import Window
    from k2ctl.query.answer import Answer, Evidence
    from k2ctl.query.formats import Rows
    from k2ctl.query.seam import AsOf

DEFAULT_WINDOW = "15m"
TABLE_LIMIT = 20
"""Rows that the table format shows by default; the other formats give all."""
_PLAN = ["explain_key", "explain_value"]
"""The columns of EXPLAIN; a plan is drawn in lines of its own."""
_ALL = frozenset({"0", "all", "none"})

_EXAMPLE_TIMES = "Write 2014-03-10 or 2014-03-10T00:15:00."

Format = Literal["table", "json", "csv", "parquet", "arrow", "arrows"]

Lines = Literal["table", "json", "csv"]
"""Of what is shown as it comes."""

BINARY = ("parquet", "arrow", "arrows")

Symbols = Annotated[
    list[str], typer.Argument(metavar="SYMBOL...", help="One symbol or several.", autocompletion=known_names.symbols)
]
WindowOption = Annotated[
    str | None,
    typer.Option(
        "--window",
        metavar="DURATION|all",
        help="How far back, with a unit: 15m, 1m30s, 2h, 7d.",
        show_default=DEFAULT_WINDOW,
    ),
]
SinceOption = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="From this ISO time on (UTC).", show_default="as --window says"),
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Before this ISO time (UTC).", show_default="now")
]
LimitOption = Annotated[
    str | None,
    typer.Option(
        "--limit", metavar="N", help="At most N rows, 0 for all.", show_default=f"{TABLE_LIMIT} in a table, else all"
    ),
]
AsOfOption = Annotated[
    str | None,
    typer.Option(
        "--as-of", metavar="TIME|SNAPSHOT", help="The table as it was then; the stream is left out.", show_default="now"
    ),
]
RawOption = Annotated[
    bool, typer.Option("--raw", help="What was printed: corrections and cancellations are not applied.")
]
KnownAtOption = Annotated[
    str | None,
    typer.Option(
        "--known-at",
        metavar="TIME",
        help="Only what was committed by then; the stream is left out.",
        show_default="all",
    ),
]
ZoneOption = Annotated[
    str | None,
    typer.Option("--zone", metavar="ZONE", help="Days of a time zone: Australia/Sydney.", show_default="the profile's"),
]
SessionOption = Annotated[
    str | None,
    typer.Option("--session", metavar="MIC", help="Trading days of a venue: XASX, XNYS.", show_default="the profile's"),
]


def _unless_json(context: typer.Context, parameter: typer.CallbackParam, value: Format) -> Format:
    """--json comes before a format that is set once, in the environment or in the file."""
    source = context.get_parameter_source(str(parameter.name))
    typed = source is not None and source.name == "COMMANDLINE"
    return "json" if context.params.get("as_json") and not typed else value


FormatOption = Annotated[
    Format,
    typer.Option("--format", help="How to print the rows.", envvar=SETTINGS["format"].variable, callback=_unless_json),
]
LinesOption = Annotated[
    Lines,
    typer.Option("--format", help="How to print them.", envvar=SETTINGS["format"].variable, callback=_unless_json),
]
JsonFormatOption = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the rows there.", show_default="stdout")
]


def window_of(window: str | None, since: str | None, until: str | None) -> "Window":
    """What --window, --since and --until ask for, as exchange times."""
    from k2ctl.clock import SystemClock
    from k2ctl.domain.trade import WHOLE_HISTORY, Window

    if since or until:
        if window:
            raise UsageError("--window and --since/--until exclude each other.", "Leave one of them out.")
        asked = Window(*(None if text is None else time_of(text) for text in (since, until)))
        if asked.since_us is not None and asked.until_us is not None and asked.since_us >= asked.until_us:
            raise UsageError("--since is not before --until.", "Exchange them?")
        return asked
    if window == "all":
        return WHOLE_HISTORY
    return Window(SystemClock().now_us() - round(parse_span(window or DEFAULT_WINDOW) * 1e6))


def time_of(text: str) -> int:
    """An ISO time as microseconds since the epoch; UTC unless it says otherwise.

    Raises:
        UsageError: it is no time, too fine, or outside of the range of the table's timestamps.
    """
    from k2ctl.domain.trade import micros_of

    try:
        return micros_of(text)
    except ValueError as error:
        raise UsageError(f"'{text}' is {error}.", _EXAMPLE_TIMES) from None


def limit_of(limit: str | None, form: Format) -> int | None:
    """How many rows are wanted; None for all."""
    if limit is None:
        return TABLE_LIMIT if form == "table" else None
    return None if limit.lower() in _ALL else parse_count(limit) or None


def as_of(text: str | None) -> "AsOf | None":
    """What --as-of asks for: digits name a snapshot, anything else is a time."""
    from k2ctl.query.seam import AsOf

    if text is None:
        return None
    if re.fullmatch(r"[0-9]{9,19}", text):
        return AsOf(snapshot_id=int(text))
    return AsOf(moment_us=time_of(text))


def known_at(text: str | None) -> int | None:
    """What --known-at asks for, as µs UTC."""
    return None if text is None else time_of(text)


def format_of(form: Format, as_json: bool) -> Format:
    """What --format and --json ask for together."""
    if as_json and form not in ("table", "json"):
        raise UsageError(f"--json and --format {form} exclude each other.", "Leave one of them out.")
    return "json" if as_json else form


def check_output(form: Format, output: Path | None) -> None:
    """Refuse what would not be read: bytes on a terminal, a drawn table in a file."""
    if output is None and form in BINARY and sys.stdout.isatty():
        raise UsageError(
            f"{form} is binary and stdout is a terminal.", f"Write a file: --format {form} -o trades.{form}"
        )
    if output is not None and form == "table":
        raise UsageError("A table is for reading on a terminal.", "Pick a format for the file: --format csv")


def write_rows(rows: "Rows", form: Format, output: Path | None) -> None:
    """Rows to stdout or a file, in one of the formats for programs."""
    from k2ctl.query.formats import WRITERS

    with _sink(output) as sink:
        WRITERS[form](rows, sink)


def write_limited(rows: "RecordBatchReader", limit: int | None, form: Format, output: Path | None) -> list[str]:
    """Write at most `limit` rows, and return what was cut."""
    import pyarrow as pa

    from k2ctl.console import out
    from k2ctl.query.formats import Limited
    from k2ctl.views.query import cut_by, rows_table

    limited, cut = Limited(rows, limit), list[str]()
    if form == "table" and limited.schema.names == _PLAN:
        for part in limited:
            out().print("\n".join(part["explain_value"].to_pylist()), soft_wrap=True)
    elif form == "table":
        drawn = rows_table(pa.Table.from_batches(list(limited), limited.schema), out().width)
        out().print(drawn.table)
        cut = drawn.cut
    else:
        write_rows(limited, form, output)
    return [*([cut_by(limit)] if limited.more and limit else []), *cut]


def show(answer: "Answer", form: Format, output: Path | None, *, trades: bool = True) -> None:
    """Rows to stdout or a file, the footer to stderr; `trades` picks the columns that matter most of a trade."""
    from k2ctl.console import out
    from k2ctl.query.texts import with_nanoseconds
    from k2ctl.views.query import rows_table, trades_table

    cut: list[str] = []
    table = answer.table if form in BINARY else with_nanoseconds(answer.table)
    if form != "table":
        write_rows(table, form, output)
    elif len(table):
        drawn = (trades_table if trades else rows_table)(table, out().width)
        out().print(drawn.table)
        cut = drawn.cut
    show_footer(answer.evidence, cut, len(answer.table))


def show_footer(evidence: "Evidence", cut: list[str], rows: int | None = None) -> None:
    """The footer to stderr. `cut`: what of the rows is not shown."""
    from k2ctl.console import err
    from k2ctl.views.query import footer

    for line in footer(with_reasons_of_now(evidence), rows, cut):
        err().print(line, soft_wrap=not err().is_terminal)


def with_reasons_of_now(evidence: "Evidence") -> "Evidence":
    """The evidence, and whether a consumer is at work on what is deferred."""
    if evidence.complete:
        return evidence

    from dataclasses import replace

    from k2ctl.checks.verify.waiting import as_of_now
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home

    try:
        missing = as_of_now(evidence.missing, require_endpoints(Home.of_user()), evidence.topics)
    except K2Error:  # the answer is there, whatever has happened to Kafka since
        return evidence
    return replace(evidence, missing=missing)


def part_of(output: Path) -> Path:
    """Where a file is written until it is whole."""
    return output.with_name(f".{output.name}.part")


@contextmanager
def _sink(output: Path | None) -> Iterator[IO[bytes]]:
    """stdout, or a file that appears when it is whole, and leaves nothing when it never is."""
    if output is None:
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    temporary = part_of(output)
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(output)
    except OSError as error:
        if error.errno is None:  # of the rows, which are computed as they are written
            raise
        raise K2Error(
            f"{output} cannot be written: {error.strerror or error}", "Name a file that can: -o FILE"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
