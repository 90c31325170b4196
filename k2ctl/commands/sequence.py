"""`k2ctl gaps`: what is missing from the table, by symbol and day; `k2ctl state`: what is remembered of the trades."""

from typing import TYPE_CHECKING, Annotated

import typer

from k2ctl import known_names
from k2ctl.commands.answers import SessionOption, UntilOption, ZoneOption, time_of, with_reasons_of_now
from k2ctl.errors import UsageError
from k2ctl.options import JsonOption, StackProfileOption, at_most_one, group, parse_duration, parse_span

if TYPE_CHECKING:
    from k2ctl.domain.trade import Window

OneSymbolOption = Annotated[
    str | None,
    typer.Option(
        "--symbol",
        metavar="SYMBOL",
        help="Only this symbol.",
        show_default="all symbols",
        autocompletion=known_names.symbols,
    ),
]
GapsSinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME|DURATION",
        help="From this ISO time on (UTC), or so far back: 24h, 7d.",
        show_default="all",
    ),
]
GapsWindowOption = Annotated[
    str | None,
    typer.Option("--window", metavar="DURATION", help="As --since with a duration: 15m, 24h.", show_default="all"),
]
CompareLinesOption = Annotated[bool, typer.Option("--lines", help="Compare the lines that the profile names.")]
LineOption = Annotated[
    list[str] | None,
    typer.Option(
        "--line",
        metavar="NAME=TOPIC",
        help="A line to compare; repeatable.",
        show_default="the profile's",
        autocompletion=known_names.lines_of_topics,
    ),
]
SettleOption = Annotated[
    str, typer.Option("--settle", metavar="DURATION", help="How long a line may take, until a trade is missing.")
]

app = group(no_args_is_help=True)


@app.callback()
def state() -> None:
    """What is remembered: sequence state in the store, which a consumer that takes over goes on from; ids of trades.

    Example:  k2ctl state stats
    """


@app.command(short_help="What the state store holds, and how deduplication goes.")
def stats(
    store: Annotated[
        str, typer.Option("--state", metavar="URL", help="The store: redis://HOST:PORT/0", show_default="the stack's")
    ] = "",
    topic: Annotated[
        str,
        typer.Option(
            "--topic",
            metavar="NAME",
            help="Of this topic.",
            show_default="the profile's",
            autocompletion=known_names.topics,
        ),
    ] = "",
    profile: StackProfileOption = "",
    as_json: JsonOption = False,
) -> None:
    """How many symbols the store holds in each partition, up to which commit, how much memory they take, how long for.

    Of deduplication, as running consumers report it: what was suspected and what became of it, how often Bloom chunks
    err against the plan, look-ups in the lake and their time, memory against the plan. Of the claims that consumers
    share: ids, memory against the plan, partitions that are covered.

    Example:  k2ctl state stats --json
    """
    from dataclasses import asdict

    from k2ctl.console import out, print_json
    from k2ctl.dedup.report import reported
    from k2ctl.dedup.shared.claims_view import view_claims
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.profiles import chosen, state_address
    from k2ctl.sequence.store_view import view_store
    from k2ctl.views.claims import claims_panel
    from k2ctl.views.dedup import dedup_panel
    from k2ctl.views.lake import store_panel

    endpoints, wanted = chosen(require_endpoints(Home.of_user()), profile)
    view = view_store(endpoints, wanted, state_address(store), topic)
    claims, report = view_claims(endpoints, wanted, state_address(store), topic), reported(endpoints, view.topic)
    if as_json:
        print_json({**asdict(view), "dedup": report, "claims": claims})
    else:
        out().print(store_panel(view))
        out().print()
        out().print(dedup_panel(report))
        if claims is not None:
            out().print()
            out().print(claims_panel(claims))


def gaps(
    symbol: OneSymbolOption = None,
    since: GapsSinceOption = None,
    until: UntilOption = None,
    window: GapsWindowOption = None,
    lines: CompareLinesOption = False,
    line: LineOption = None,
    settle: SettleOption = "5s",
    lake_only: Annotated[bool, typer.Option("--lake-only", help="Only what the table holds.")] = False,
    zone: ZoneOption = None,
    session_of: SessionOption = None,
    profile: StackProfileOption = "",
    as_json: JsonOption = False,
) -> None:
    """How complete the trades are, in per cent by symbol and day, and what became of those that are missing.

    A gap is OPEN for a quarter of an hour, LOST from then on, or EXPLAINED: its trades were deferred, or the venue has
    restarted its numbers. Gaps that late trades have filled are none, and what is in Kafka on its way to the table is
    not missing. Times are the exchange's, days those of bars: the profile's, of --zone or of --session, else of UTC.

    --lines compares feeds of one market on several topics (A and B lines), as Kafka holds them: which came first, what
    is missing, which gaps of one the others fill, and how far they are apart.

    Examples:

    k2ctl gaps --symbol BHP --since 24h

    k2ctl gaps --session XASX

    k2ctl gaps --line A=market.equities.trades.asx --line B=market.equities.trades.asx-b --window 15m
    """
    from dataclasses import asdict

    from k2ctl.console import err, out, print_json
    from k2ctl.domain.days import day_rule
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.profiles import chosen
    from k2ctl.query.session import Session
    from k2ctl.views.lake import gaps_panel

    asked, symbols = _window(since, until, window), None if symbol is None else [symbol]
    if lines or line:
        of_days = {"--lines": True, "--lake-only": lake_only, "--zone": zone, "--session": session_of}
        at_most_one(of_days, "Lines are compared in Kafka, and not by day.")
        _compare(line or [], asked, symbols, parse_duration(settle), profile, as_json=as_json)
        return
    days = day_rule(zone, session_of)
    endpoints, _ = chosen(require_endpoints(Home.of_user()), profile)
    with Session.at(endpoints) as session:
        report, evidence = session.gaps(symbols, asked, lake_only=lake_only, days=days)
    if as_json:
        print_json({**asdict(report), "missing_reasons": evidence.missing})
        return
    out().print(gaps_panel(report))
    for reason in with_reasons_of_now(evidence).missing:
        err().print(f"Not all that there is: {reason}", style="yellow", highlight=False)


def _window(since: str | None, until: str | None, window: str | None) -> "Window":
    from k2ctl.domain.trade import Window

    at_most_one({"--since": since, "--window": window})
    since_us = parse_since(since or window or "") if since or window else None
    until_us = None if until is None else time_of(until)
    if since_us is not None and until_us is not None and since_us >= until_us:
        raise UsageError("--since is not before --until.", "Exchange them?")
    return Window(since_us, until_us)


def _compare(
    named: list[str], window: "Window", symbols: list[str] | None, settle_s: float, profile: str, *, as_json: bool
) -> None:
    """`k2ctl gaps --lines`."""
    from k2ctl.clock import SystemClock
    from k2ctl.console import out, print_json
    from k2ctl.endpoints import require_endpoints
    from k2ctl.feeds.topics import TopicFeeds
    from k2ctl.home import Home
    from k2ctl.lake.catalog import Lake
    from k2ctl.lake.checkpoints import feeds_in
    from k2ctl.profiles import chosen
    from k2ctl.profiles.lines import lines_named
    from k2ctl.sequence.lines.report import lines_report
    from k2ctl.views.lines import lines_panel
    from k2ctl.views.stack import progress

    endpoints, wanted = chosen(require_endpoints(Home.of_user()), profile)
    topics = lines_named(named, wanted.topic.lines)
    with Lake.at(endpoints) as lake:
        table = lake.find_table()
        feeds = TopicFeeds(wanted, feeds_in(table) if table else {})
    with progress("k2ctl gaps", quiet=as_json) as say:
        report = lines_report(endpoints, feeds, topics, window, symbols, settle_s, SystemClock(), say)
    if as_json:
        print_json(report)
    else:
        out().print(lines_panel(report))


def parse_since(text: str) -> int:
    """An ISO time (UTC unless it says otherwise), or a duration back from now, as µs UTC."""
    from k2ctl.clock import SystemClock

    try:
        return time_of(text)
    except UsageError:
        try:
            return SystemClock().now_us() - round(parse_span(text) * 1e6)
        except typer.BadParameter:
            if text.strip().isdecimal():
                raise  # it lacks only its unit
            raise UsageError(f"'{text}' is neither a time nor a duration.", "Write 2014-03-10T05:00 or 24h.") from None
