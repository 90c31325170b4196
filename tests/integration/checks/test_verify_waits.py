"""`verify` beside a consumer that backfills: it knows of it, and waits for it."""

import threading
from dataclasses import replace
from pathlib import Path

from k2ctl.checks.verify.verification import failed
from k2ctl.checks.verify.waiting import as_of_now, hint_of, running, until_backfilled
from k2ctl.clock import SystemClock
from k2ctl.deferred.outstanding import BY_HAND
from k2ctl.domain.status import ConsumerStatus
from k2ctl.endpoints import Endpoints
from k2ctl.kafka.telemetry import TelemetryWriter
from k2ctl.load.generator import run_load
from k2ctl.load.plan import plan_load
from tests.support.consumers import one_platform, run_until
from tests.support.verified import only


def test_it_waits_until_a_running_consumer_has_backfilled_everything(
    embedded_stack: Endpoints, home: Path, exchange: str
) -> None:
    endpoints, profile = one_platform(embedded_stack, home, exchange)
    topics = {profile.trades_topic}
    run_load(plan_load(profile, rate=45_000, duration_s=1.0), endpoints, threading.Event())
    said, _ = run_until(endpoints, profile, lambda status: status.outstanding > 500)
    until_backfilled(endpoints, topics, lambda _: None)  # nobody runs, so nobody is waited for
    assert running(endpoints, topics) == []
    error = failed([only(endpoints)], lambda wanted: running(endpoints, wanted))
    assert error is not None
    assert error.hint == "Backfill them: k2ctl backfill"
    deferred = "5 trades of LOW symbols are deferred"
    reasons = ("a hole", f"{deferred}{BY_HAND}")
    assert as_of_now(reasons, endpoints, topics) == reasons
    assert_a_consumer_at_work_is_named(said[-1])

    enough, lines, telemetry = threading.Event(), list[str](), TelemetryWriter(endpoints)
    publish_now(telemetry, said[-1])
    at_work = hint_of(running(endpoints, topics))
    assert "Wait for it" in at_work
    assert as_of_now(reasons, endpoints, topics) == ("a hole", f"{deferred}; {at_work}")
    publish_now(telemetry, said[-1])
    consumer = threading.Thread(
        target=run_until,
        args=(endpoints, profile, lambda _: enough.is_set()),
        kwargs={"budget": None, "telemetry": telemetry},
    )

    def say(line: str) -> None:
        if not lines:
            consumer.start()
        lines.append(line)

    try:
        until_backfilled(endpoints, topics, say)
        result = only(endpoints)
    finally:
        enough.set()
        consumer.join(60)
    assert not result.faults["deferred"]
    assert result.holds
    assert "trades are deferred" in lines[0]


def publish_now(telemetry: TelemetryWriter, status: ConsumerStatus) -> None:
    """As a consumer that was killed this moment."""
    telemetry.publish(replace(status, at_us=SystemClock().now_us()))


def assert_a_consumer_at_work_is_named(status: ConsumerStatus) -> None:
    one = replace(status, id="consumer-1", level="GRACEFUL", level_number=2)
    assert hint_of([one]) == (
        "consumer-1 backfills them once the level is NORMAL (it is GRACEFUL). Wait for it: k2ctl verify --wait"
    )
    both = [replace(one, level="NORMAL", level_number=0), replace(one, id="consumer-2", level="NORMAL", level_number=0)]
    assert hint_of(both) == "consumer-1, consumer-2 backfill them. Wait for it: k2ctl verify --wait"
    assert hint_of([replace(one, outstanding=0)]) == "Backfill them: k2ctl backfill"
