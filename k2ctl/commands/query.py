"""`k2ctl query`: the lake and the stream as one table."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal

import typer

from k2ctl.errors import K2Error, UsageError
from k2ctl.options import parse_count, parse_duration

if TYPE_CHECKING:
    from k2ctl.query.answer import Answer
    from k2ctl.query.window import Window

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True)

DEFAULT_WINDOW = "15m"
TABLE_LIMIT = 20
"""Rows that the table format shows unless told otherwise; the other formats give all."""

Format = Literal["table", "json", "csv", "parquet", "arrow"]


@app.callback()
def query() -> None:
    """Query trades, from years ago to this second, as one table.

    Example:  k2ctl query recent BHP --window 15m
    """


@app.command(short_help="The newest trades of a symbol, stored and on the way.")
def recent(
    symbols: Annotated[list[str], typer.Argument(metavar="SYMBOL...", help="One symbol or several.")],
    window: Annotated[
        str | None, typer.Option("--window", metavar="DURATION|all", help=f"How far back [default: {DEFAULT_WINDOW}].")
    ] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="From this ISO time on (UTC).")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before this ISO time (UTC).")] = None,
    limit: Annotated[
        str | None, typer.Option("--limit", metavar="N", help=f"At most N rows [default: {TABLE_LIMIT} in a table].")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="How to print the rows.")] = "table",
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the rows there.")] = None,
    lake_only: Annotated[bool, typer.Option("--lake-only", help="Leave the stream out: a partial answer.")] = False,
) -> None:
    """The newest trades of a symbol, newest first: what is stored and what is still on its way, each exactly once.

    Times are exchange times in UTC. A footer on stderr says where the rows come from, and whether they are all
    there are. In JSON and CSV prices and quantities are exact decimal texts.

    Examples:

    k2ctl query recent BHP --window 15m

    k2ctl query recent BHP RIO --since 2014-03-10 --until 2014-03-11 --format csv -o trades.csv
    """
    asked = _window(window, since, until)
    rows = _limit(limit, form)
    if output is None and form in ("parquet", "arrow") and sys.stdout.isatty():
        raise UsageError(
            f"{form} is binary and stdout is a terminal.", f"Write a file: --format {form} -o trades.{form}"
        )
    if output is not None and form == "table":
        raise UsageError("A table is for reading on a terminal.", "Pick a format for the file: --format csv")

    from k2ctl.home import require_endpoints
    from k2ctl.query.session import Session

    with Session.at(require_endpoints()) as session:
        answer = session.recent(symbols, asked, rows, lake_only=lake_only)
    _show(answer, form, output)


def _window(window: str | None, since: str | None, until: str | None) -> "Window":
    """What --window, --since and --until ask for, as exchange times."""
    from k2ctl.clock import SystemClock
    from k2ctl.query.window import WHOLE_HISTORY, Window

    if since or until:
        if window:
            raise UsageError("--window and --since/--until exclude each other.", "Leave one of them out.")
        asked = Window(_time(since), _time(until))
        if asked.since_us is not None and asked.until_us is not None and asked.since_us >= asked.until_us:
            raise UsageError("--since is not before --until.", "Exchange them?")
        return asked
    if window == "all":
        return WHOLE_HISTORY
    return Window(SystemClock().now_us() - round(parse_duration(window or DEFAULT_WINDOW) * 1e6))


def _time(text: str | None) -> int | None:
    """An ISO time as microseconds since the epoch; UTC unless it says otherwise."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"'{text}' is not an ISO time.", "Write 2014-03-10 or 2014-03-10T00:15:00.") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since_epoch = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since_epoch.days * 86_400 + since_epoch.seconds) * 1_000_000 + since_epoch.microseconds


def _limit(limit: str | None, form: Format) -> int | None:
    if limit is None:
        return TABLE_LIMIT if form == "table" else None
    rows = parse_count(limit)
    if rows < 1:
        raise UsageError("--limit must be at least 1.", "Leave it out for all rows.")
    return rows


def _show(answer: "Answer", form: Format, output: Path | None) -> None:
    """Rows to stdout or a file, the footer to stderr."""
    from k2ctl.console import err, out
    from k2ctl.panels.query import footer, trades_table

    if form == "table":
        if len(answer.table):
            out().print(trades_table(answer.table, out().width))
    else:
        from k2ctl.query.formats import WRITERS

        with _sink(output) as sink:
            WRITERS[form](answer.table, sink)
    for line in footer(answer):
        err().print(line, soft_wrap=not err().is_terminal)


@contextmanager
def _sink(output: Path | None) -> Iterator[IO[bytes]]:
    """stdout, or a file that appears when it is whole."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    temporary = output.with_name(f".{output.name}.part")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(output)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise K2Error(
            f"{output} cannot be written: {error.strerror or error}", "Name a file that can: -o FILE"
        ) from error
