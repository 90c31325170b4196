"""Consumers in the foreground: on screen, on `k2.telemetry`, for Prometheus, and with a summary at the end."""

import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import typer

from k2ctl.errors import ExitCode
from k2ctl.log import speaks_json
from k2ctl.signals import ENDING, interrupt, on_signals
from k2ctl.timing import Every
from k2ctl.views.consume import status_text, statuses_text
from k2ctl.views.live import live_line

if TYPE_CHECKING:
    from k2ctl.consume.consumer import Consumer
    from k2ctl.consume.health import ConsumerHealth
    from k2ctl.consume.platform import ConsumerPlan
    from k2ctl.consume.topic_consumers import TopicConsumers
    from k2ctl.domain.status import ConsumerStatus
    from k2ctl.endpoints import Endpoints
    from k2ctl.kafka.watermarks import Silence
    from k2ctl.metrics import Exporter

Opened = TypeVar("Opened")
Done = Callable[[Mapping[str, int]], None]
"""Takes down what a consumer in the background has done."""

NOTED: Final = ("trades", "stored", "commits", "left_in_kafka")


class _Reporting:
    """Publishes the status of one consumer. Everything on the consumer's thread."""

    def __init__(self, consumer: "Consumer") -> None:
        from k2ctl.consume.report import StatusReporter
        from k2ctl.kafka.telemetry import IDLE_PUBLISH_EVERY_S, PUBLISH_EVERY_S, TelemetryWriter

        self._telemetry, self._reporter = TelemetryWriter(consumer.endpoints), StatusReporter(consumer)
        self._consumer, self._every, self._idle_s = consumer, Every(PUBLISH_EVERY_S), IDLE_PUBLISH_EVERY_S

    def tick(self) -> "ConsumerStatus | None":
        """The status, where it is due."""
        if not self._every.due():
            return None
        if self._consumer.is_idle:
            self._every.restart(self._idle_s)
        status = self._reporter.status()
        self._telemetry.publish(status)
        return status

    def close(self) -> None:
        """Publish the last status; the consumer has ended."""
        self._telemetry.publish(self._reporter.final_status())
        self._telemetry.close()


class At(NamedTuple):
    """Where something is served."""

    port: int
    address: str


def run_plan(
    endpoints: "Endpoints",
    plan: "ConsumerPlan",
    metrics_at: At | None,
    patience_s: float,
    done: Done | None,
    *,
    as_json: bool,
) -> None:
    """Open the consumer of the plan, or one for each of its topics, and run it to its end.

    metrics_at: where metrics and probes are served, from before it is opened. patience_s: how long to wait for a Kafka
    or a table that does not answer.
    """
    from k2ctl.console import say
    from k2ctl.consume.consumer import Consumer
    from k2ctl.consume.health import ConsumerHealth
    from k2ctl.consume.start import opened_within
    from k2ctl.consume.topic_consumers import TopicConsumers
    from k2ctl.consume.topics import topics_of
    from k2ctl.domain.topics import is_pattern
    from k2ctl.metrics import Exporter

    health, profile, announce = ConsumerHealth(), plan.profile, None if plan.until_caught_up else say
    exporter = Exporter(metrics_at.port, metrics_at.address, health.probes()) if metrics_at is not None else None

    def opened(open_: Callable[[], Opened]) -> Opened:
        return opened_within(open_, patience_s, health.waits)

    topics = opened(lambda: topics_of(endpoints, profile, announce, health.waits))
    if is_pattern(profile.trades_topic):
        run_topics(opened(lambda: TopicConsumers(endpoints, plan, topics)), done, as_json=as_json)
    else:
        run_consumer(opened(lambda: Consumer(endpoints, plan)), exporter, done, health, as_json=as_json)


def run_consumer(
    consumer: "Consumer",
    exporter: "Exporter | None" = None,
    done: Done | None = None,
    health: "ConsumerHealth | None" = None,
    *,
    as_json: bool,
) -> None:
    """Run a consumer to its end: on screen, on `k2.telemetry` and, with an exporter, for Prometheus and probes."""
    _announce(consumer)
    if health is not None:
        health.begins(consumer)
    reporting, received = _Reporting(consumer), list[int]()
    with stop_on_signals(received) as stop, live_line(status_text, quiet=as_json) as show, _measured([consumer], done):

        def on_tick() -> None:
            status = reporting.tick()
            if status is not None:
                show(status)
                if exporter is not None:
                    exporter.update(status)
                if health is not None:
                    health.update(status)

        started_s = time.monotonic()
        try:
            consumer.run(stop, on_tick)
            silence = consumer.silence
        finally:
            reporting.close()
            if exporter is not None:
                exporter.close()
    _summarise(consumer, time.monotonic() - started_s, as_json=as_json)
    _end(silence, received)


def run_topics(several: "TopicConsumers", done: Done | None = None, *, as_json: bool) -> None:
    """Run the consumers of several topics to their end; as `run_consumer`."""
    reporting, latest, received = dict[str, _Reporting](), dict[str, "ConsumerStatus"](), list[int]()
    consumers = several.consumers
    with (
        stop_on_signals(received) as stop,
        live_line(statuses_text, quiet=as_json) as show,
        _measured(consumers.values(), done),
    ):
        lock = threading.Lock()

        def on_open(consumer: "Consumer") -> None:
            _announce(consumer)
            reporting[consumer.topic] = _Reporting(consumer)

        def on_tick(consumer: "Consumer") -> None:
            status = reporting[consumer.topic].tick()
            if status is not None:
                with lock:
                    latest[consumer.topic] = status
                    show(list(latest.values()))

        started_s = time.monotonic()
        try:
            several.run(stop, on_tick, on_open)
        finally:
            for one in reporting.values():
                one.close()
    _summarise_topics(list(consumers.values()), time.monotonic() - started_s, as_json=as_json)
    _end(next(filter(None, several.silences), None), received)


@contextmanager
def _measured(consumers: "Collection[Consumer]", done: Done | None) -> Iterator[None]:
    """Takes down what the consumers have done, and what it cost."""
    cpu_from_s = time.process_time()
    try:
        yield
    finally:
        if done is not None:
            done({key: sum(getattr(one.totals, key) for one in consumers) for key in NOTED})
    cpu_s, totals = time.process_time() - cpu_from_s, [one.totals for one in consumers]
    trades, stored, written = (
        sum(getattr(one, name) for one in totals) for name in ("trades", "stored", "written_bytes")
    )
    deferred = sum(int(one.by_priority[:, 1:].sum()) for one in totals)
    from k2ctl.cost import measured

    for home in {one.endpoints.home.path: one.endpoints.home for one in consumers}.values():
        measured.record_consume(home, trades, stored, written, cpu_s, deferred)


def _end(silence: "Silence | None", received: list[int]) -> None:
    """End with the code that says why: it was ended while Kafka did not answer, or by Ctrl-C."""
    from k2ctl.console import say

    if silence is not None:
        # What was committed is all that it could do.
        say(f"{silence}. What was committed stays; what is unread is left in Kafka.")
        say("See: k2ctl stack status")
        raise typer.Exit(ExitCode.UNHEALTHY)
    if signal.SIGINT in received:
        raise typer.Exit(ExitCode.INTERRUPTED)


def _announce(consumer: "Consumer") -> None:
    """What the consumer found when it started: a Kafka that is gone, and what the table already holds."""
    from k2ctl.console import say

    of = f"{consumer.topic}: " if consumer.plan.topics > 1 else ""
    for epoch in consumer.start.retired:
        say(f"Epoch {epoch[:8]} of {consumer.topic} is gone with its Kafka; {consumer.start.lost_text}.")
    restored = consumer.assignment.restored_rows
    if restored:
        say(f"{of}Remembering {restored:,} trades that the table holds, so that none is stored twice.")
    if consumer.plan.budget is not None:
        say(f"Held to {consumer.plan.budget:,.0f} processed trades per second: pressure on purpose, not this machine.")
    if consumer.ledger.count and not consumer.plan.backfill:
        say(f"{of}{consumer.ledger.count:,} trades were deferred; they are backfilled once the level is NORMAL.")


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


def _document(consumer: "Consumer") -> dict[str, Any]:
    from dataclasses import asdict

    totals = consumer.totals
    return {
        "records": totals.records,
        "trades": totals.trades,
        "stored": totals.stored,
        "commits": totals.commits,
        "written_bytes": totals.written_bytes,
        "backfilled": totals.backfilled,
        "outstanding": consumer.ledger.count,
        "left_in_kafka": totals.left_in_kafka,
        "table": asdict(consumer.counts()),
        "sequence": asdict(consumer.assignment.remembered.sequence),
    }


def _summarise(consumer: "Consumer", seconds: float, *, as_json: bool) -> None:
    from k2ctl.console import out, print_json
    from k2ctl.views.consume import summary

    if as_json or speaks_json():
        print_json({**_document(consumer), "seconds": seconds})
        return
    out().print(summary(consumer.totals, consumer.counts(), consumer.assignment.remembered.sequence, seconds))
    _say_rest([consumer])


def _summarise_topics(consumers: "Sequence[Consumer]", seconds: float, *, as_json: bool) -> None:
    from k2ctl.console import out, print_json
    from k2ctl.views.consume import topics_summary

    if as_json or speaks_json():
        documents = {one.topic: _document(one) for one in consumers}
        whole = {key: sum(document[key] for document in documents.values()) for key in ("records", "trades", "stored")}
        print_json({**whole, "topics": documents, "seconds": seconds})
        return
    out().print(topics_summary([(one.topic, one.totals, one.counts()) for one in consumers], seconds))
    _say_rest(consumers)


def _say_rest(consumers: "Sequence[Consumer]") -> None:
    """What else is to be known of what they have done."""
    from k2ctl.console import say

    for consumer in consumers:
        for damage in consumer.assignment.remembered.state.damaged:
            say(f"State that another program had written to was replaced from the table. {damage}.")
    left = sum(one.totals.left_in_kafka for one in consumers)
    if left:
        say(f"{left:,} trades that were read are left to Kafka, to stop in time; nothing is lost.")
    outstanding = sum(one.ledger.count for one in consumers)
    if outstanding:
        say(f"{outstanding:,} trades are deferred. Backfill them with: k2ctl backfill")
