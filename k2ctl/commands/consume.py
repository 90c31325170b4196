"""`k2ctl consume`: read trades, clean them, commit them."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from k2ctl.errors import ExitCode
from k2ctl.options import JsonOption, ProfileOption
from k2ctl.panels.consume import live_view

if TYPE_CHECKING:
    from k2ctl.pipeline.consumer import Consumer

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def consume(
    profile: ProfileOption = "",
    until_caught_up: Annotated[
        bool, typer.Option("--until-caught-up", help="End when everything that is there now is committed.")
    ] = False,
    rebase: Annotated[
        bool, typer.Option("--rebase", help="Kafka was wiped on purpose: give up what it held unread, and start anew.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read trades from Kafka, clean them and commit them to the table, exactly once.

    Runs until Ctrl-C; what was read by then is committed first.

    Example:  k2ctl consume --until-caught-up
    """
    from k2ctl.broker.telemetry import PUBLISH_EVERY_S, TelemetryWriter
    from k2ctl.home import require_endpoints
    from k2ctl.pipeline.consumer import Consumer, ConsumerPlan
    from k2ctl.pipeline.report import StatusReporter
    from k2ctl.profiles import load_profile, measured

    endpoints = require_endpoints()
    plan = ConsumerPlan(load_profile(profile or endpoints.profile), until_caught_up=until_caught_up, rebase=rebase)
    consumer = Consumer(endpoints, plan)
    _announce(consumer)
    telemetry, reporter = TelemetryWriter(endpoints), StatusReporter(consumer)
    started_s = due_s = time.monotonic()
    cpu_from_s = time.process_time()
    received: list[int] = []
    with stop_on_signals(received) as stop, live_view(quiet=as_json) as show:

        def on_tick() -> None:
            nonlocal due_s
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + PUBLISH_EVERY_S
                status = reporter.status()
                telemetry.publish(status)
                show(status)

        try:
            consumer.run(stop, on_tick)
        finally:
            telemetry.publish(reporter.final_status())
            telemetry.close()
    totals = consumer.totals
    put_aside, cpu_s = int(totals.by_priority[:, 1:].sum()), time.process_time() - cpu_from_s
    measured.record_consume(totals.trades, totals.stored, totals.written_bytes, cpu_s, put_aside)
    _summarise(consumer, time.monotonic() - started_s, as_json=as_json)
    if signal.SIGINT in received:
        raise typer.Exit(ExitCode.INTERRUPTED)


def _announce(consumer: "Consumer") -> None:
    """What the consumer found when it started: a Kafka that is gone, and what the table already holds."""
    from k2ctl.console import say

    for epoch in consumer.beginning.retired:
        say(f"Epoch {epoch[:8]} of {consumer.topic} is gone with its Kafka; {consumer.beginning.lost_text}.")
    if consumer.remembered:
        say(f"Remembering {consumer.remembered:,} trades that the table holds, so that none is stored twice.")


@contextmanager
def stop_on_signals(received: list[int]) -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; the consumer then commits what it has read. A second one ends at once."""
    stop = threading.Event()

    def on_signal(number: int, _: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _summarise(consumer: "Consumer", seconds: float, *, as_json: bool) -> None:
    from dataclasses import asdict

    import orjson

    from k2ctl.console import out, print_json
    from k2ctl.panels.consume import summary

    totals, counts = consumer.totals, consumer.counts()
    if as_json:
        document = {
            "records": totals.records,
            "trades": totals.trades,
            "stored": totals.stored,
            "commits": totals.commits,
            "written_bytes": totals.written_bytes,
            "seconds": seconds,
            "table": asdict(counts),
            "sequence": asdict(consumer.tracker.counts()),
        }
        print_json(orjson.dumps(document))
    else:
        out().print(summary(totals, counts, consumer.tracker.counts(), seconds))
