"""`k2ctl load`: trades into Kafka at an exact rate."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from k2ctl.commands import load_options as options
from k2ctl.commands.replaying import MAX_SPEED, check_said, speed_of, wanted_trades
from k2ctl.errors import ExitCode
from k2ctl.options import ColumnOption, JsonOption, StackProfileOption, columns_said, typed

if TYPE_CHECKING:
    from k2ctl.endpoints import Endpoints
    from k2ctl.load.generator import LoadFailed, LoadSummary
    from k2ctl.load.plan import LoadPlan


def load(
    context: typer.Context,
    rate: options.Rate = None,
    ramp_to: options.RampTo = None,
    duration: options.Duration = None,
    shape: options.Shape = None,
    frame: options.Frame = None,
    workers: options.Workers = None,
    replay: options.Replay = None,
    feed: options.Feed = None,
    column: ColumnOption = None,
    from_lake: options.FromLake = False,
    topic: options.Topic = None,
    speed: options.Speed = MAX_SPEED,
    now: options.Now = False,
    since: options.Since = None,
    until: options.Until = None,
    symbols: options.Symbols = None,
    duplicates: options.Duplicates = 0.0,
    gaps: options.Gaps = 0.0,
    out_of_order: options.OutOfOrder = 0.0,
    corrections: options.Corrections = 0.0,
    cancels: options.Cancels = 0.0,
    seed: options.Seed = None,
    ignore_intake: options.IgnoreIntake = False,
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
    check_said(typed(context))

    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.load.market import Faults
    from k2ctl.load.plan import plan_load
    from k2ctl.load.replay import ReplayPlan, replay_plan
    from k2ctl.load.replayed import destination
    from k2ctl.profiles import load_profile

    endpoints = require_endpoints(Home.of_user())
    chosen, wanted, replayed = load_profile(profile or endpoints.profile), wanted_trades(since, until, symbols), None
    if seed is not None:
        chosen = chosen.model_copy(update={"market": chosen.market.model_copy(update={"seed": seed})})
    if from_lake and topic:
        chosen = destination(endpoints, chosen, topic)
        replayed = ReplayPlan(None, wanted=wanted, speed=speed_of(speed), topic=topic)
    elif replay is not None:
        names = columns_said(column)
        replayed = replay_plan(replay, feed, wanted, speed=speed_of(speed), shift_to_now=now, columns=names)
    faults = Faults(duplicates, gaps, out_of_order, corrections, cancels)
    plan = plan_load(
        chosen, rate=rate, ramp_to=ramp_to, duration_s=duration, shape=shape, frame=frame, workers=workers,
        faults=faults, replay=replayed, ignore_intake=ignore_intake,
    )  # fmt: skip
    _run(plan, endpoints, as_json=as_json)


def _run(plan: "LoadPlan", endpoints: "Endpoints", *, as_json: bool) -> None:
    """The load with its progress, and its summary whatever ends it."""
    from k2ctl.commands.consuming import stop_on_signals
    from k2ctl.console import out, print_json, say
    from k2ctl.cost import measured
    from k2ctl.load.generator import run_load
    from k2ctl.signals import closing_pipes
    from k2ctl.views.live import live_line
    from k2ctl.views.load import progress_text, summary_table

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
