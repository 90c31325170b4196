"""`k2ctl consume`: read trades, clean them, commit them."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated, Final

import typer

from k2ctl.commands import fleet
from k2ctl.errors import ExitCode, UsageError
from k2ctl.log import speaks_json
from k2ctl.options import JsonOption, ProfileOption, group, parse_count
from k2ctl.signals import ENDING, interrupt, on_signals
from k2ctl.timing import Every
from k2ctl.views.consume import status_text
from k2ctl.views.live import live_line

if TYPE_CHECKING:
    from k2ctl.consume.consumer import Consumer
    from k2ctl.kafka.watermarks import Silence
    from k2ctl.metrics import Exporter

LOOPBACK: Final = "127.0.0.1"
EXAMPLE_METRICS: Final = "k2ctl consume --metrics-port 9464"

app = group(invoke_without_command=True)
app.command()(fleet.status)
app.command()(fleet.stop)
app.command()(fleet.scale)


@app.callback()
def consume(
    context: typer.Context,
    profile: ProfileOption = "",
    feed: Annotated[
        str, typer.Option("--feed", metavar="NAME|PATH", help="What the records of others are: see k2ctl feed.")
    ] = "",
    topic: Annotated[
        str,
        typer.Option(
            "--topic", metavar="NAME|^REGEX", help="A topic of others, or several by a regular expression [the feed's]."
        ),
    ] = "",
    until_caught_up: Annotated[
        bool, typer.Option("--until-caught-up", help="End when everything that is there now is committed.")
    ] = False,
    rebase: Annotated[
        bool,
        typer.Option("--rebase", help="Kafka was wiped on purpose: count what was unread as lost, and start over."),
    ] = False,
    budget: Annotated[
        int | None,
        typer.Option(
            parser=parse_count, metavar="COUNT", help="Process at most so many trades per second: pressure on purpose."
        ),
    ] = None,
    state: Annotated[
        str,
        typer.Option(
            "--state",
            metavar="memory|URL",
            help="Keep sequence state in memory, or in a Redis at redis://HOST:PORT/0 [the stack's]; a password as "
            "${file:PATH} or ${env:NAME}.",
        ),
    ] = "",
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65535, metavar="PORT", help="Serve Prometheus metrics on this port.")
    ] = None,
    metrics_address: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="Where to serve them; on another address than loopback anyone there can read them."
        ),
    ] = LOOPBACK,
    group: Annotated[
        bool, typer.Option("--group", help="Divide the partitions with other consumers of the group, on any machine.")
    ] = False,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="In a group: come back under this name, and to the same partitions.")
    ] = "",
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background, in a group.")] = False,
    replicas: Annotated[int, typer.Option(min=1, metavar="N", help="With --detach: start so many more.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Read trades from Kafka, clean them and commit them to the table, exactly once.

    Runs until Ctrl-C; what was read by then is committed first. In the background: --detach, status, stop, scale.

    Examples:

    k2ctl consume --detach --replicas 2

    k2ctl consume --feed ./my.yaml --topic trades.raw
    """
    if context.invoked_subcommand is not None:
        return
    if budget == 0:
        raise UsageError("Nothing would be processed.", "A budget is at least 1 trade a second: --budget 50k")
    if metrics_address != LOOPBACK and metrics_port is None:
        raise UsageError("--metrics-address needs --metrics-port.", f"{EXAMPLE_METRICS} --metrics-address ADDRESS")
    if detach:
        from k2ctl.profiles import lasting_name, without_written_password
        from k2ctl.profiles.foreign import lasting_feed

        _refuse_alone({"--rebase": rebase, "--until-caught-up": until_caught_up, "--name": bool(name)})
        options: dict[str, object] = {
            "--profile": lasting_name(profile) if profile else "",
            "--feed": lasting_feed(feed) if feed else "",
            "--topic": topic,
            "--budget": budget,
            "--state": without_written_password(state),
            "--metrics-port": metrics_port,
        }
        if metrics_port and metrics_address != LOOPBACK:
            options["--metrics-address"] = metrics_address
        fleet.detach(replicas, [str(part) for o, v in options.items() if v for part in (o, v)], as_json=as_json)
        return
    if name and not group:
        raise UsageError("--name is for a consumer in a group.", f"k2ctl consume --group --name {name}")
    if replicas > 1:
        raise UsageError("Several consumers run in the background.", f"k2ctl consume --detach --replicas {replicas}")
    from k2ctl.console import say
    from k2ctl.consume.consumer import Consumer
    from k2ctl.consume.platform import ConsumerPlan, unique_id
    from k2ctl.consume.topics import topics_of
    from k2ctl.endpoints import require_endpoints
    from k2ctl.home import Home
    from k2ctl.metrics import Exporter
    from k2ctl.profiles import load_profile, state_address
    from k2ctl.profiles.foreign import of_others
    from k2ctl.stack.replicas import registered

    endpoints = require_endpoints(Home.of_user())
    chosen = load_profile(profile or endpoints.profile)
    plan = ConsumerPlan(
        of_others(chosen, feed, topic) if feed or topic else chosen,
        until_caught_up=until_caught_up,
        rebase=rebase,
        budget=budget,
        state=state_address(state),
        group=group,
        named=bool(name),
        consumer_id=name or unique_id(),
    )
    exporter = Exporter(metrics_port, metrics_address) if metrics_port else None
    with registered(name, endpoints.home) if name else nullcontext() as done:
        topics_of(endpoints, plan.profile, None if until_caught_up else say)
        consumer = Consumer(endpoints, plan)
        try:
            run_consumer(consumer, exporter, as_json=as_json)
        finally:
            if done is not None:
                totals = consumer.totals
                done({key: getattr(totals, key) for key in ("trades", "stored", "commits", "left_in_kafka")})


def _refuse_alone(given: dict[str, bool]) -> None:
    """Refuse options that only a single consumer in the foreground takes."""
    for option, is_given in given.items():
        if is_given:
            raise UsageError(f"{option} is not for consumers in the background.", f"First: k2ctl consume {option}")


def run_consumer(consumer: "Consumer", exporter: "Exporter | None" = None, *, as_json: bool) -> None:
    """Run a consumer to its end: on screen, on `k2.telemetry` and, with an exporter, for Prometheus."""
    from k2ctl.consume.report import StatusReporter
    from k2ctl.cost import measured
    from k2ctl.kafka.telemetry import PUBLISH_EVERY_S, TelemetryWriter

    _announce(consumer)
    telemetry, reporter = TelemetryWriter(consumer.endpoints), StatusReporter(consumer)
    started_s, every = time.monotonic(), Every(PUBLISH_EVERY_S)
    cpu_from_s = time.process_time()
    received: list[int] = []
    with stop_on_signals(received) as stop, live_line(status_text, quiet=as_json) as show:

        def on_tick() -> None:
            if every.due():
                status = reporter.status()
                telemetry.publish(status)
                show(status)
                if exporter is not None:
                    exporter.update(status)

        try:
            consumer.run(stop, on_tick)
            silence = consumer.silence
        finally:
            telemetry.publish(reporter.final_status())
            telemetry.close()
            if exporter is not None:
                exporter.close()
    totals = consumer.totals
    deferred, cpu_s = int(totals.by_priority[:, 1:].sum()), time.process_time() - cpu_from_s
    measured.record_consume(
        consumer.endpoints.home, totals.trades, totals.stored, totals.written_bytes, cpu_s, deferred
    )
    _summarise(consumer, time.monotonic() - started_s, as_json=as_json)
    if silence is not None:
        _report_silence(silence)
        raise typer.Exit(ExitCode.UNHEALTHY)
    if signal.SIGINT in received:
        raise typer.Exit(ExitCode.INTERRUPTED)


def _report_silence(silence: "Silence") -> None:
    """It was ended while Kafka did not answer: what was committed is all that it could do."""
    from k2ctl.console import say

    say(f"{silence}. What was committed stays; what is unread is left in Kafka.")
    say("See: k2ctl stack status")


def _announce(consumer: "Consumer") -> None:
    """What the consumer found when it started: a Kafka that is gone, and what the table already holds."""
    from k2ctl.console import say

    for epoch in consumer.start.retired:
        say(f"Epoch {epoch[:8]} of {consumer.topic} is gone with its Kafka; {consumer.start.lost_text}.")
    restored = consumer.assignment.restored_rows
    if restored:
        say(f"Remembering {restored:,} trades that the table holds, so that none is stored twice.")
    if consumer.plan.budget is not None:
        say(f"Held to {consumer.plan.budget:,.0f} processed trades per second: pressure on purpose, not this machine.")
    if consumer.ledger.count and not consumer.plan.backfill:
        say(f"{consumer.ledger.count:,} trades were deferred; they are backfilled once the level is NORMAL.")


@contextmanager
def stop_on_signals(received: list[int]) -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM and SIGHUP set; the consumer then commits what it has read.

    A second one ends at once.
    """
    stop = threading.Event()

    def on_signal(number: int, _: object) -> None:
        if received:
            interrupt()
        received.append(number)
        stop.set()

    with on_signals(on_signal, *ENDING):
        yield stop


def _summarise(consumer: "Consumer", seconds: float, *, as_json: bool) -> None:
    from dataclasses import asdict

    from k2ctl.console import out, print_json, say
    from k2ctl.views.consume import summary

    totals, counts, sequence = consumer.totals, consumer.counts(), consumer.assignment.remembered.sequence
    if as_json or speaks_json():
        document = {
            "records": totals.records,
            "trades": totals.trades,
            "stored": totals.stored,
            "commits": totals.commits,
            "written_bytes": totals.written_bytes,
            "backfilled": totals.backfilled,
            "outstanding": consumer.ledger.count,
            "left_in_kafka": totals.left_in_kafka,
            "seconds": seconds,
            "table": asdict(counts),
            "sequence": asdict(sequence),
        }
        print_json(document)
    else:
        out().print(summary(totals, counts, sequence, seconds))
        for damage in consumer.assignment.remembered.state.damaged:
            say(f"State that another program had written to was replaced from the table. {damage}.")
        if totals.left_in_kafka:
            say(f"{totals.left_in_kafka:,} trades that were read are left to Kafka, to stop in time; nothing is lost.")
        if consumer.ledger.count:
            say(f"{consumer.ledger.count:,} trades are deferred. Backfill them with: k2ctl backfill")
