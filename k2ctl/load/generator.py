"""Open-loop load: topics and reference data first, then workers that send on an absolute schedule."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from k2ctl.broker.admin import BrokerAdmin
from k2ctl.broker.producer import publish
from k2ctl.broker.topics import make_topics
from k2ctl.errors import BrokerError
from k2ctl.home import Endpoints
from k2ctl.load.crew import Crew
from k2ctl.load.intake import first_reason, gates_of
from k2ctl.load.market import reference_data
from k2ctl.load.plan import LoadPlan
from k2ctl.load.replay import read_replay
from k2ctl.load.report import LoadReporter, LoadSnapshot
from k2ctl.load.summary import LoadSummary, summarise
from k2ctl.profiles.universe import Universe


def run_load(
    plan: LoadPlan,
    endpoints: Endpoints,
    stop: threading.Event,
    on_snapshot: Callable[[LoadSnapshot], None] = lambda _: None,
) -> LoadSummary:
    """Run a load to its end, or until `stop` is set; what was sent by then is flushed either way.

    on_snapshot is called about ten times a second.

    Raises:
        BrokerError: Kafka does not take the load, or nobody reads what the embedded engine cannot keep.
        UsageError: a replay that cannot be read.
    """
    replay = read_replay(plan.replay, Universe(plan.profile)) if plan.replay else None
    topic = prepare_topics(plan, endpoints)
    with ExitStack() as opened:
        gates = gates_of(endpoints, topic, ignore_intake=plan.ignore_intake)
        for gate in gates:
            opened.callback(gate.close)
        reporter = LoadReporter(endpoints, topic)
        opened.callback(reporter.close)
        crew = Crew(plan, endpoints)
        opened.callback(crew.end)
        crew.begin()
        while not crew.finished:
            if stop.is_set():
                crew.signals.stop.set()
            crew.listen()
            reason = first_reason(gates, crew)
            crew.hold(reason)
            snapshot = crew.snapshot(reason)
            reporter.report(snapshot)
            on_snapshot(snapshot)
    return summarise(plan, crew, replay, interrupted=stop.is_set())


def prepare_topics(plan: LoadPlan, endpoints: Endpoints) -> str:
    """Make the topics when they are missing, and publish the reference data; returns the topic of the trades."""
    with BrokerAdmin(endpoints) as admin:
        topic, reference = make_topics(admin, plan.profile)
        partitions = admin.topics().get(topic, 0)
    if partitions != plan.profile.topic.partitions:
        raise BrokerError(
            f"{topic} has {partitions} partitions, the profile says {plan.profile.topic.partitions}.",
            "Use the profile that the topic was made with, or a new stack: k2ctl stack down --volumes",
        )
    entries = reference_data(Universe(plan.profile), time.time_ns() // 1000)
    publish(endpoints, reference, [(entry["symbol"].decode(), entry.tobytes()) for entry in entries])
    return topic
