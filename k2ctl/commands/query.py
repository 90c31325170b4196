"""`k2ctl query`: the lake and the stream as one table."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from k2ctl.commands.answers import (
    BINARY,
    AsOfOption,
    Format,
    FormatOption,
    JsonFormatOption,
    KnownAtOption,
    LimitOption,
    OutputOption,
    RawOption,
    SessionOption,
    SinceOption,
    Symbols,
    UntilOption,
    WindowOption,
    ZoneOption,
    as_of,
    check_output,
    format_of,
    known_at,
    limit_of,
    part_of,
    show,
    show_footer,
    window_of,
    write_rows,
)
from k2ctl.errors import UsageError
from k2ctl.options import LOCAL_MASTER, ConfOption, JsonOption, MasterOption, group, parse_count, parse_duration

if TYPE_CHECKING:
    from pyarrow import RecordBatchReader, Table

    from k2ctl.query.seam import AsOf

SqlEngineOption = Annotated[
    Literal["duckdb", "spark"], typer.Option("--engine", help="Who runs it: this machine, or a Spark cluster.")
]

app = group(no_args_is_help=True)


@app.callback()
def query() -> None:
    """Query trades, from years ago to this second, as one table.

    Example:  k2ctl query recent BHP --window 15m
    """


@app.command(short_help="The newest trades of a symbol, stored and on the way.")
def recent(
    symbols: Symbols,
    window: WindowOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = None,
    fields: Annotated[
        str | None, typer.Option("--fields", metavar="NAME,...", help="Only these columns, in this order.")
    ] = None,
    form: FormatOption = "table",
    as_json: JsonFormatOption = False,
    output: OutputOption = None,
    lake_only: Annotated[bool, typer.Option("--lake-only", help="Leave the stream out: a partial answer.")] = False,
    at: AsOfOption = None,
    known: KnownAtOption = None,
    raw: RawOption = False,
    deferred: Annotated[
        bool, typer.Option("--include-deferred", help="Read what was shed or spilled as well; slower.")
    ] = False,
) -> None:
    """The newest trades of a symbol, newest first: what is stored and what is still on its way, each exactly once.

    Times are exchange times in UTC. A footer on stderr says where the rows come from, and whether they are all
    there are. In JSON and CSV prices and quantities are exact decimal texts. A corrected trade is shown as corrected,
    in its own place; a cancelled one is not. --raw shows what was printed, --known-at what was known then.

    Examples:

    k2ctl query recent BHP --window 15m

    k2ctl query recent BHP RIO --since 2014-03-10 --until 2014-03-11 --format csv -o trades.csv

    k2ctl query recent BHP --window all --as-of 2026-11-23T10:00 --fields timestamp,price,quantity
    """
    form = format_of(form, as_json)
    asked, rows, moment, columns = window_of(window, since, until), limit_of(limit, form), as_of(at), _fields(fields)
    known_us = known_at(known)
    check_output(form, output)
    if deferred and (lake_only or moment or known):
        raise UsageError("--include-deferred needs the stream and the newest table.", "Leave the other one out.")

    from dataclasses import replace

    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.query.session import Session

    with Session.at(require_endpoints(Home.of_user())) as session:
        answer = session.recent(
            symbols,
            asked,
            rows,
            lake_only=lake_only,
            as_of=moment,
            deferred=deferred,
            raw=raw,
            known_at_us=known_us,
        )
    if columns:
        answer = replace(answer, table=_of_fields(answer.table, columns, form))
    show(answer, form, output, trades=not columns)


def _fields(text: str | None) -> list[str]:
    """The columns that --fields names; none for all."""
    if text is None:
        return []
    from k2ctl.domain.rows import arrow_schema

    names = [name.strip() for name in text.split(",")]
    strange = [name for name in names if name not in arrow_schema().names]
    if strange or len(set(names)) < len(names):
        raise UsageError(
            f"--fields: {', '.join(strange) or 'a name twice'} is not right.",
            f"The columns are {', '.join(arrow_schema().names)}.",
        )
    return names


def _of_fields(trades: "Table", names: list[str], form: Format) -> "Table":
    """Some columns; as texts, a time has all its digits, though it is two columns of the table."""
    from pyarrow import table

    from k2ctl.query.texts import with_nanoseconds

    whole = trades if form in BINARY else with_nanoseconds(trades)
    return table({name: (whole if name in whole.schema.names else trades)[name] for name in names})


@app.command(short_help="Open, high, low, close and volume per bar.")
def ohlcv(
    symbols: Symbols,
    bar: Annotated[
        str, typer.Option("--bar", metavar="LENGTH", help="The length of a bar: 1m, 1h, 1d, 1w, 1mo.")
    ] = "1m",
    zone: ZoneOption = None,
    session_of: SessionOption = None,
    all_prints: Annotated[
        bool, typer.Option("--all-prints", help="Count every print, whatever its conditions say.")
    ] = False,
    window: WindowOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = None,
    form: FormatOption = "table",
    as_json: JsonFormatOption = False,
    output: OutputOption = None,
    at: AsOfOption = None,
    known: KnownAtOption = None,
    raw: RawOption = False,
) -> None:
    """Bars of a symbol, oldest first, from the same lake and stream as `recent`: the last bar may still grow.

    Which prints count for open and close, high and low, and volume and vwap, the market's table of conditions says
    (profiles/conditions); `trades` counts them all. Bars of a day and more follow the days of --zone, or the trading
    days of --session, and their date stands in `day`; weeks begin on Monday. Shorter bars begin at multiples of their
    length in UTC, with --zone or --session from the beginning of the day on.

    Under a limit, the newest bars are given. A corrected trade counts as corrected, in the bar of its own time. --raw
    counts every trade as it was first printed.

    Examples:

    k2ctl query ohlcv BHP --bar 1m --window 1h

    k2ctl query ohlcv BHP RIO --bar 1d --session XASX --window all

    k2ctl query ohlcv BHP --bar 1mo --zone Australia/Sydney --all-prints --window all
    """
    form, asked, moment = format_of(form, as_json), window_of(window, since, until), as_of(at)
    rows = limit_of(limit, form)
    check_output(form, output)

    from dataclasses import replace

    from k2ctl.domain.days import BarLength, day_rule
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.query.session import Session

    length, days = BarLength.parse(bar), day_rule(zone, session_of)
    with Session.at(require_endpoints(Home.of_user())) as session:
        answer = session.bars(
            symbols,
            length,
            asked,
            days=days,
            all_prints=all_prints,
            as_of=moment,
            raw=raw,
            known_at_us=known_at(known),
        )
    if rows is not None and len(answer.table) > rows:
        newest = answer.table.slice(len(answer.table) - rows)
        answer = replace(answer, table=newest, evidence=replace(answer.evidence, more=True))
    show(answer, form, output, trades=False)


@app.command(short_help="One SELECT over trades, trades_raw, reference, snapshots and gaps.")
def sql(
    text: Annotated[str, typer.Argument(metavar="SELECT", help="One SELECT, in DuckDB's SQL; with Spark in Spark's.")],
    limit: LimitOption = None,
    form: FormatOption = "table",
    as_json: JsonFormatOption = False,
    output: OutputOption = None,
    at: AsOfOption = None,
    known: KnownAtOption = None,
    memory: Annotated[
        str | None, typer.Option("--memory-mb", metavar="N", help="What the query may take [default: 1024].")
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="DURATION", help="How long it may take [60; of Spark: any]."),
    ] = None,
    engine: SqlEngineOption = "duckdb",
    master: MasterOption = LOCAL_MASTER,
    conf: ConfOption = None,
) -> None:
    """One SELECT over the views trades (lake and stream, each trade once, as corrected), trades_raw (every print, with
    corrections and cancellations), reference, snapshots and gaps.

    The query can read nothing else: no file, no network, no extension, no setting. Rows are written as they are
    computed. The query runs in a process of its own, which is ended when its time or its memory is over. Trades that
    were deferred look like gaps until they are backfilled; the footer says so.

    --engine spark scans the lake on a Spark cluster, without the stream, and without the view gaps.

    Examples:

    k2ctl query sql "SELECT symbol, count(*), sum(quantity) FROM trades GROUP BY symbol ORDER BY 2 DESC"

    k2ctl query sql "SELECT * FROM gaps WHERE symbol = 'BHP'" --format json
    """
    form = format_of(form, as_json)
    check_output(form, output)
    rows, known_us = limit_of(limit, form), known_at(known)
    if engine == "spark":
        if memory is not None:
            raise UsageError("Memory is Spark's to give.", "Write: --conf spark.executor.memory=4g")
        asked = SqlOnSpark(text, rows, as_of(at), known_us, None if timeout is None else parse_duration(timeout))
        _on_spark(asked, master, conf or [], form, output)
        return
    limit_mb, limit_s = parse_count(memory or 1024), parse_duration(timeout or 60)
    if limit_mb < 16 or limit_s <= 0:
        raise UsageError("A query needs 16 MB and some time.", "Leave --memory-mb and --timeout out.")

    from k2ctl.ending import Bounds, bounded

    # Whatever starts threads is imported in the child.
    def answer(begun: Callable[[], None]) -> None:
        from k2ctl.endpoints import require_endpoints
        from k2ctl.home import Home
        from k2ctl.query.session import Session
        from k2ctl.query.sql import SqlLimits
        from k2ctl.query.sql import sql as run

        with Session.at(require_endpoints(Home.of_user())) as session:
            limits = SqlLimits(limit_mb, limit_s)
            with run(session, text, limits, as_of=as_of(at), known_at_us=known_us, begun=begun) as found:
                cut = _write_limited(found.rows, rows, form, output)
            show_footer(found.evidence, cut)

    bounded(answer, Bounds(limit_s, limit_mb, part_of(output) if output else None), "k2ctl query sql")


@dataclass(frozen=True)
class SqlOnSpark:
    """What a query on Spark is asked."""

    text: str
    limit: int | None
    as_of: "AsOf | None"
    known_at_us: int | None
    seconds: float | None


def _on_spark(asked: SqlOnSpark, master: str, conf: list[str], form: Format, output: Path | None) -> None:
    from k2ctl.clock import SystemClock
    from k2ctl.commands.lake import opened
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.spark.process import SparkProcess
    from k2ctl.spark.settings import place_of
    from k2ctl.spark.sql import sql_on_spark, within
    from k2ctl.views.stack import progress

    place, endpoints = place_of(master, conf), require_endpoints(Home.of_user())
    with opened(endpoints) as lake, progress("k2ctl query sql") as say:
        with SparkProcess(endpoints, place, lake.table().location(), say, within(asked.seconds)) as spark:
            answer = sql_on_spark(
                spark,
                lake,
                asked.text,
                clock=SystemClock(),
                as_of=asked.as_of,
                known_at_us=asked.known_at_us,
                limit=asked.limit,
            )
            with answer as found:
                cut = _write_limited(found.rows, asked.limit, form, output)
        show_footer(found.evidence, cut)


def _write_limited(rows: "RecordBatchReader", limit: int | None, form: Format, output: Path | None) -> list[str]:
    """Write at most `limit` rows, and return what was cut."""
    import pyarrow as pa

    from k2ctl.console import out
    from k2ctl.query.formats import Limited
    from k2ctl.views.query import cut_by, rows_table

    limited, cut = Limited(rows, limit), list[str]()
    if form == "table":
        drawn = rows_table(pa.Table.from_batches(list(limited), limited.schema), out().width)
        out().print(drawn.table)
        cut = drawn.cut
    else:
        write_rows(limited, form, output)
    return [*([cut_by(limit)] if limited.more and limit else []), *cut]


@app.command(short_help="What a query reads, and how long each stage takes.")
def explain(
    symbols: Symbols,
    window: WindowOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = None,
    at: AsOfOption = None,
    known: KnownAtOption = None,
    raw: RawOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run `recent` and show its plan instead of its rows: snapshot, boundary, files pruned and read, ms per stage.

    Example:  k2ctl query explain BHP --window 15m
    """
    asked, moment = window_of(window, since, until), as_of(at)
    rows = limit_of(limit, "json")

    from dataclasses import asdict

    from k2ctl.console import out, print_json
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.query.session import Session
    from k2ctl.views.query import plan_table

    with Session.at(require_endpoints(Home.of_user())) as session:
        answer = session.recent(symbols, asked, rows, as_of=moment, raw=raw, known_at_us=known_at(known))
    if as_json:
        document = {**asdict(answer.evidence), "complete": answer.evidence.complete, "rows": len(answer.table)}
        print_json(document)
    else:
        out().print(plan_table(answer.evidence, len(answer.table)))
