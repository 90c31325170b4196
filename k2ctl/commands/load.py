"""`k2ctl load`: trades into Kafka at an exact rate."""

import fcntl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from k2ctl import known_names
from k2ctl.errors import ExitCode, UsageError
from k2ctl.options import (
    ColumnOption,
    JsonOption,
    StackProfileOption,
    at_most_one,
    columns_said,
    parse_count,
    parse_duration,
)

if TYPE_CHECKING:
    from k2ctl.feeds.files.reading import WantedTrades
    from k2ctl.load.generator import LoadFailed, LoadSummary

MAX_SPEED: Final = "max"
_SLOWEST, _FASTEST = 0.001, 1_000_000.0


def load(
    rate: Annotated[
        int | None,
        typer.Option(
            parser=parse_count,
            metavar="COUNT",
            help="Trades per second: 10000, 10k, 1M, 1e5.",
            show_default="the profile's; a tenth of --ramp-to",
        ),
    ] = None,
    ramp_to: Annotated[
        int | None,
        typer.Option(
            parser=parse_count,
            metavar="COUNT",
            help="Rise to this rate over the duration, from --rate or else from a tenth of it.",
            show_default="a constant rate",
        ),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(
            parser=parse_duration, metavar="TIME", help="How long: 300, 90s, 5m, 1m30s.", show_default="the profile's"
        ),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            metavar="SHAPE",
            help="constant, linear, step, spike or sine.",
            autocompletion=known_names.one_of("constant", "linear", "step", "spike", "sine"),
            show_default="the profile's; linear with --ramp-to",
        ),
    ] = None,
    frame: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Trades per Kafka record.", show_default="the profile's")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=16, help="Worker processes.", show_default="as the rate needs")
    ] = None,
    replay: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Trades of files: a file, folder, glob or s3:// prefix.",
            show_default="a synthetic market",
        ),
    ] = None,
    feed: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="What the lines of the files are; see: k2ctl feed list.",
            show_default="what the files show",
            autocompletion=known_names.feeds,
        ),
    ] = None,
    column: ColumnOption = None,
    from_lake: Annotated[
        bool, typer.Option("--from-lake", help="Replay what the table holds, with its ids and times, to --topic.")
    ] = False,
    topic: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Where --from-lake sends to; made if it is missing.",
            show_default="the profile's, without --from-lake",
            autocompletion=known_names.topics,
        ),
    ] = None,
    speed: Annotated[str, typer.Option(metavar="1x|60x|max", help="How fast to replay.")] = MAX_SPEED,
    now: Annotated[bool, typer.Option("--now", help="Shift the replay's times so that it ends now.")] = False,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Replay from this time of the venue on.", show_default="the beginning"),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Replay up to this time.", show_default="the end")
    ] = None,
    symbols: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Replay only these symbols.",
            show_default="all symbols",
            autocompletion=known_names.symbol_list,
        ),
    ] = None,
    duplicates: Annotated[float, typer.Option(min=0.0, max=0.5, help="Fraction of trades that is sent twice.")] = 0.0,
    gaps: Annotated[float, typer.Option(min=0.0, max=0.5, help="Fraction that is numbered and never sent.")] = 0.0,
    out_of_order: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="Fraction that is sent after its successor.")
    ] = 0.0,
    corrections: Annotated[float, typer.Option(min=0.0, max=0.5, help="Fraction that is corrected later.")] = 0.0,
    cancels: Annotated[float, typer.Option(min=0.0, max=0.5, help="Fraction that is cancelled later.")] = 0.0,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Which market is made up.", show_default="the profile's")
    ] = None,
    ignore_intake: Annotated[
        bool, typer.Option("--ignore-intake", help="Do not pause when a consumer closes the intake.")
    ] = False,
    profile: StackProfileOption = "",
    as_json: JsonOption = False,
) -> None:
    """Load trades into Kafka at an exact rate, and say how exact it was.

    Open loop: the schedule does not wait for Kafka. Where the machine cannot follow, the summary says saturated.

    Examples:

    k2ctl load --rate 10k --ramp-to 100k --duration 60

    k2ctl load --replay BTCUSDT-trades-2025-01-01.zip --feed binance-trades

    k2ctl load --from-lake --topic backtest --since 2025-01-01T10:00:00Z --speed 10x
    """
    _check_from_lake(
        replay, topic, {"--feed": feed is not None, "--now": now, "--column": bool(column)}, from_lake=from_lake
    )
    _check_replay(
        replay if not from_lake else "the table",
        {
            "--speed": speed != MAX_SPEED, "--now": now, "--feed": feed is not None, "--since": since is not None,
            "--until": until is not None, "--symbols": symbols is not None,
            "--column": bool(column),
        },
        {
            "--rate": rate, "--ramp-to": ramp_to, "--duration": duration, "--shape": shape, "--workers": workers,
            "--seed": seed, "--duplicates": duplicates or None, "--gaps": gaps or None,
            "--out-of-order": out_of_order or None, "--corrections": corrections or None, "--cancels": cancels or None,
        },
    )  # fmt: skip

    from k2ctl.commands.consuming import stop_on_signals
    from k2ctl.console import out, print_json, say
    from k2ctl.cost import measured
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.load.generator import run_load
    from k2ctl.load.market import Faults
    from k2ctl.load.plan import plan_load
    from k2ctl.load.replay import ReplayPlan, replay_plan
    from k2ctl.load.replayed import destination
    from k2ctl.profiles import load_profile
    from k2ctl.signals import closing_pipes
    from k2ctl.views.live import live_line
    from k2ctl.views.load import progress_text, summary_table

    endpoints = require_endpoints(Home.of_user())
    chosen = load_profile(profile or endpoints.profile)
    if seed is not None:
        chosen = chosen.model_copy(update={"market": chosen.market.model_copy(update={"seed": seed})})
    wanted = _wanted(since, until, symbols)
    replayed = None
    if topic is not None:
        chosen = destination(endpoints, chosen, topic)
        replayed = ReplayPlan(None, wanted=wanted, speed=_speed(speed), topic=topic)
    elif replay is not None:
        said = columns_said(column)
        replayed = replay_plan(replay, feed, wanted, speed=_speed(speed), shift_to_now=now, columns=said)
    plan = plan_load(
        chosen,
        rate=rate,
        ramp_to=ramp_to,
        duration_s=duration,
        shape=shape,
        frame=frame,
        workers=workers,
        faults=Faults(duplicates, gaps, out_of_order, corrections, cancels),
        replay=replayed,
        ignore_intake=ignore_intake,
    )
    received: list[int] = []
    with _beside_others(), stop_on_signals(received) as stop, live_line(progress_text, quiet=as_json) as show:
        summary, failure = _loaded(lambda: run_load(plan, endpoints, stop, show))
    measured.record_load(endpoints.home, summary.trades_acknowledged, summary.wire_bytes)
    with closing_pipes(lambda: received):
        if as_json:
            print_json(summary)
        else:
            out().print(summary_table(summary))
            if summary.go_on:
                say(f"What goes on from there: {summary.go_on}")
    if failure is not None:
        raise failure
    if summary.trades_failed and summary.exact:
        raise typer.Exit(ExitCode.FAILED)
    if received:
        raise typer.Exit(ExitCode.INTERRUPTED)


def _loaded(run: "Callable[[], LoadSummary]") -> "tuple[LoadSummary, LoadFailed | None]":
    """What a load did, and what ended it early: its summary is shown either way."""
    from k2ctl.load.generator import LoadFailed

    try:
        return run(), None
    except LoadFailed as error:
        return error.summary, error


def _wanted(since: str | None, until: str | None, symbols: str | None) -> "WantedTrades":
    """Raises:
    UsageError: one is no time.
    """
    from k2ctl.feeds.files.reading import WantedTrades

    since_ns, until_ns = (_nanoseconds(option, text) for option, text in (("--since", since), ("--until", until)))
    names = tuple(name.strip() for name in symbols.split(",") if name.strip()) if symbols is not None else None
    if names is not None and not names:
        raise UsageError("--symbols names none.", "Example: --symbols BTCUSDT,ETHUSDT")
    return WantedTrades(since_ns, until_ns, names)


def _nanoseconds(option: str, text: str | None) -> int | None:
    from k2ctl.domain.trade import nanos_of

    if text is None:
        return None
    try:
        return nanos_of(text)
    except ValueError as error:
        raise UsageError(f"{option} {text[:40]}: {error}.", f"Example: {option} 2025-01-01T10:00:00Z") from error


def _check_from_lake(replay: str | None, topic: str | None, for_files: Mapping[str, bool], *, from_lake: bool) -> None:
    """Raises:
    UsageError: something is missing, or was said that would be ignored.
    """
    at_most_one({"--replay": replay, "--from-lake": from_lake})
    if from_lake and topic is None:
        raise UsageError("--from-lake needs a topic to send to.", "It is made if it is missing: --topic backtest")
    if topic is not None and not from_lake:
        raise UsageError("--topic is for --from-lake.", "A load's own topic is that of its profile: --profile NAME")
    said = [option for option, is_said in for_files.items() if is_said and from_lake]
    if said:
        raise UsageError(f"{said[0]} is for files.", "What the table holds is sent as it is: leave it out.")


def _check_replay(replay: str | None, for_a_replay: Mapping[str, bool], for_a_market: Mapping[str, object]) -> None:
    """Raises:
    UsageError: something was said that would be ignored.
    """
    if replay is None:
        said = [option for option, is_said in for_a_replay.items() if is_said]
        what, hint = "a replay", "Say of what: k2ctl load --replay FILE"
    else:
        said = [option for option, value in for_a_market.items() if value is not None]
        what, hint = "a synthetic market", "A replay has its own trades and times: k2ctl load --replay FILE --speed 60x"
    if said:
        raise UsageError(f"{said[0]} is for {what}.", hint)


@contextmanager
def _beside_others() -> Iterator[None]:
    """Says so where another load runs: each market numbers the same symbols of the same venue from 1 on."""
    from k2ctl.console import say
    from k2ctl.home import Home

    with (Home.of_user().path / "load.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another load runs. Both number the same symbols: watch and gaps will show gaps, verify will not.")
        yield


def _speed(text: str) -> float:
    """`1x`, `60x`, `2.5`, `max` as a factor."""
    if text == MAX_SPEED:
        return float("inf")
    try:
        factor = float(text.removesuffix("x"))
    except ValueError:
        factor = 0.0
    if not _SLOWEST <= factor <= _FASTEST:
        raise UsageError(f"'{text[:40]}' is not a speed.", "Write 1x, 60x or max.")
    return factor
