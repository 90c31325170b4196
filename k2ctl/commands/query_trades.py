"""`k2ctl query recent`, `ohlcv` and `explain`: trades and bars of symbols."""

from typing import TYPE_CHECKING, Annotated

import typer

from k2ctl import known_names
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
    show,
    window_of,
    with_reasons_of_now,
)
from k2ctl.errors import UsageError
from k2ctl.options import JsonOption

if TYPE_CHECKING:
    from pyarrow import Table

BarOption = Annotated[
    str,
    typer.Option(
        "--bar",
        metavar="LENGTH",
        help="The length of a bar: 1m, 1h, 1d, 1w, 1mo.",
        autocompletion=known_names.one_of("1m", "5m", "15m", "1h", "1d", "1w", "1mo"),
    ),
]


def recent(
    symbols: Symbols,
    window: WindowOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = None,
    fields: Annotated[
        str | None,
        typer.Option(
            "--fields",
            metavar="NAME,...",
            help="Only these columns, in this order.",
            show_default="those of a trade",
            autocompletion=known_names.columns,
        ),
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


def ohlcv(
    symbols: Symbols,
    bar: BarOption = "1m",
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
        out().print(plan_table(with_reasons_of_now(answer.evidence), len(answer.table)))
