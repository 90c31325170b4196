"""`k2ctl query sql`: one SELECT over lake and stream, here or on Spark."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from k2ctl.commands.answers import (
    AsOfOption,
    Format,
    FormatOption,
    JsonFormatOption,
    KnownAtOption,
    LimitOption,
    OutputOption,
    as_of,
    check_output,
    format_of,
    known_at,
    limit_of,
    part_of,
    show_footer,
    write_limited,
)
from k2ctl.errors import UsageError
from k2ctl.options import (
    LOCAL_MASTER,
    ConfOption,
    MasterOption,
    ParamOption,
    parameters_said,
    parse_count,
    parse_duration,
)

if TYPE_CHECKING:
    from k2ctl.query.seam import AsOf

SqlEngineOption = Annotated[
    Literal["duckdb", "spark"], typer.Option("--engine", help="Who runs it: this machine, or a Spark cluster.")
]

MemoryOption = Annotated[
    str | None, typer.Option("--memory-mb", metavar="N", help="What a query may take.", show_default="1024")
]
TimeoutOption = Annotated[
    str | None,
    typer.Option("--timeout", metavar="DURATION", help="How long it may take.", show_default="60; of Spark: any"),
]


def sql(
    text: Annotated[str, typer.Argument(metavar="SELECT", help="One query, in DuckDB's SQL; with Spark in Spark's.")],
    param: ParamOption = None,
    limit: LimitOption = None,
    form: FormatOption = "table",
    as_json: JsonFormatOption = False,
    output: OutputOption = None,
    at: AsOfOption = None,
    known: KnownAtOption = None,
    memory: MemoryOption = None,
    timeout: TimeoutOption = None,
    engine: SqlEngineOption = "duckdb",
    master: MasterOption = LOCAL_MASTER,
    conf: ConfOption = None,
) -> None:
    """One query (SELECT, PIVOT, DESCRIBE, EXPLAIN …) over the views trades (lake and stream, each trade once, as
    corrected), trades_raw (every print, with corrections and cancellations), reference, snapshots and gaps.

    Values are given with --param, for $NAME in the query: DuckDB binds them, whatever is in them, and takes them for
    what they are compared with; where that does not say it, write $NAME::INT.

    The query can read nothing else: no file, no network, no extension, no setting. Rows are written as they are
    computed. The query runs in a process of its own, which is ended when its time or its memory is over. Trades that
    were deferred look like gaps until they are backfilled; the footer says so.

    --engine spark scans the lake on a Spark cluster, without the stream, and without the view gaps.

    Examples:

    k2ctl query sql "SELECT symbol, count(*), sum(quantity) FROM trades GROUP BY symbol ORDER BY 2 DESC"

    k2ctl query sql "SELECT * FROM gaps WHERE symbol = $symbol" --param symbol=BHP --format json

    k2ctl query sql "EXPLAIN ANALYZE SELECT max(price) FROM trades WHERE symbol = 'BHP'"
    """
    form = format_of(form, as_json)
    check_output(form, output)
    rows, known_us = limit_of(limit, form), known_at(known)
    parameters = parameters_said(param)
    if engine == "spark":
        if parameters:
            raise UsageError("--param is for DuckDB.", "Leave out --engine spark, or write the value into the query.")
        if memory is not None:
            raise UsageError("Memory is Spark's to give.", "Write: --conf spark.executor.memory=4g")
        asked = SqlOnSpark(text, rows, as_of(at), known_us, None if timeout is None else parse_duration(timeout))
        _on_spark(asked, master, conf or [], form, output)
        return
    limit_mb, limit_s = limits_of(memory, timeout)

    from k2ctl.bounded import Bounds, bounded

    # Whatever starts threads is imported in the child.
    def answer(begun: Callable[[], None]) -> None:
        from k2ctl.endpoints import require_endpoints
        from k2ctl.home import Home
        from k2ctl.query.session import Session
        from k2ctl.query.sql import SqlLimits
        from k2ctl.query.sql import sql as run

        with Session.at(require_endpoints(Home.of_user())) as session:
            limits, moment = SqlLimits(limit_mb, limit_s), as_of(at)
            with run(
                session, text, limits, parameters=parameters, as_of=moment, known_at_us=known_us, begun=begun
            ) as found:
                cut = write_limited(found.rows, rows, form, output)
            show_footer(found.evidence, cut)

    bounded(answer, Bounds(limit_s, limit_mb, part_of(output) if output else None), "k2ctl query sql")


def limits_of(memory: str | None, timeout: str | None) -> tuple[int, float]:
    """What one query may take, in MB and seconds."""
    limit_mb, limit_s = parse_count(memory or 1024), parse_duration(timeout or 60)
    if limit_mb < 16 or limit_s <= 0:
        raise UsageError("A query needs 16 MB and some time.", "Leave --memory-mb and --timeout out.")
    return limit_mb, limit_s


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
                cut = write_limited(found.rows, asked.limit, form, output)
        show_footer(found.evidence, cut)
