"""Open-loop load: topics and reference data first, then workers that send on an absolute schedule."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final

from k2ctl.endpoints import Endpoints
from k2ctl.errors import K2Error
from k2ctl.kafka.admin import BrokerAdmin, make_topics
from k2ctl.kafka.producer import publish
from k2ctl.load.intake import Gate, first_reason, gates_of
from k2ctl.load.market import reference_data
from k2ctl.load.plan import LoadPlan
from k2ctl.load.replay import read_replay
from k2ctl.load.report import LoadReporter, LoadSnapshot
from k2ctl.load.summary import LoadFailed, LoadSummary, summarise
from k2ctl.load.workers import LoadWorkers
from k2ctl.profiles.universe import Universe

SETTLE_S: Final = 90.0
"""How long workers may take to flush and report once something has ended the load: Kafka may be gone."""


def run_load(
    plan: LoadPlan,
    endpoints: Endpoints,
    stop: threading.Event,
    on_snapshot: Callable[[LoadSnapshot], None] = lambda _: None,
) -> LoadSummary:
    """Run a load to its end, or until `stop` is set; what was sent by then is flushed either way.

    on_snapshot is called about ten times a second. A KeyboardInterrupt ends it at once, with what is known then.

    Raises:
        LoadFailed: something ended it early: Kafka does not take the load, nobody reads what the embedded engine cannot
            keep, a worker was killed, what was sent cannot be written down. It holds the summary.
        BrokerError: it could not begin.
        UsageError: a replay that cannot be read.
    """
    replay = read_replay(plan.replay, Universe(plan.profile)) if plan.replay else None
    topic, plan = prepare_topics(plan, endpoints)
    failure: K2Error | None = None
    interrupted = False
    with ExitStack() as opened:
        gates = gates_of(endpoints, topic, ignore_intake=plan.ignore_intake)
        for gate in gates:
            opened.callback(gate.close)
        reporter = LoadReporter(endpoints, topic)
        opened.callback(reporter.close)
        workers = LoadWorkers(plan, endpoints)
        opened.callback(workers.end)

        def on_pass(reason: str) -> None:
            snapshot = workers.snapshot(reason)
            reporter.report(snapshot)
            on_snapshot(snapshot)

        try:
            workers.start()
            workers.begin()
            failure = _drive(workers, gates, stop, on_pass)
        except K2Error as error:
            failure = error
        except KeyboardInterrupt:
            interrupted = True
            workers.kill()
    summary = summarise(plan, workers, replay, interrupted=interrupted or stop.is_set(), failure=failure)
    if failure is not None:
        raise LoadFailed(failure, summary)
    return summary


def _drive(
    workers: LoadWorkers, gates: Sequence[Gate], stop: threading.Event, on_pass: Callable[[str], None]
) -> K2Error | None:
    """Listen until every worker has ended; returns what ended the load early. The others flush and report then."""
    failure: K2Error | None = None
    until_s = math.inf
    while workers.working and time.monotonic() < until_s:
        try:
            workers.listen()
            reason = "" if failure or stop.is_set() else first_reason(gates, workers)
            workers.hold(reason)
            on_pass(reason)
        except K2Error as error:
            failure = failure or error
        failure = failure or workers.failure
        if stop.is_set() or failure is not None:
            workers.signals.stop.set()
        if failure is not None:
            until_s = min(until_s, time.monotonic() + SETTLE_S)
    return failure


def prepare_topics(plan: LoadPlan, endpoints: Endpoints) -> tuple[str, LoadPlan]:
    """Make the topics when they are missing, and publish the reference data.

    Returns the topic of the trades, and the plan for as many partitions as it has: fewer than the profile says, where
    somebody made it before. Of more than that the rest stays empty, for else a symbol would change its partition.
    """
    with BrokerAdmin(endpoints) as admin:
        topic, reference = make_topics(admin, plan.profile)
        partitions = admin.topics()[topic]
    entries = reference_data(Universe(plan.profile), time.time_ns() // 1000)
    publish(endpoints, reference, [(entry["symbol"].decode(), entry.tobytes()) for entry in entries])
    return topic, plan.on(partitions)
