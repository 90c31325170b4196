"""Open-loop load: topics and reference data first, then workers that send on an absolute schedule."""

import threading
import time
from collections.abc import Callable

from k2ctl.broker.admin import BrokerAdmin
from k2ctl.broker.producer import publish
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
from k2ctl.schema.topics import reference_topic, trades_topic


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
    crew = Crew(plan, endpoints)
    gates, reporter = gates_of(endpoints, topic, ignore_intake=plan.ignore_intake), LoadReporter(endpoints, topic)
    try:
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
    finally:
        crew.end()
        reporter.close()
        for gate in gates:
            gate.close()
    return summarise(plan, crew, replay, interrupted=stop.is_set())


def prepare_topics(plan: LoadPlan, endpoints: Endpoints) -> str:
    """Make the topics when they are missing, and publish the reference data; returns the topic of the trades."""
    market = plan.profile.market
    topic = trades_topic(market.asset_class, market.exchange)
    reference = reference_topic(market.asset_class, market.exchange)
    with BrokerAdmin(endpoints) as admin:
        retention_ms = str(round(plan.profile.topic.retention_hours * 3_600_000))
        admin.create_topic(topic, plan.profile.topic.partitions, {"retention.ms": retention_ms})
        admin.create_topic(reference, 1, {"cleanup.policy": "compact"})
        partitions = admin.topics().get(topic, 0)
    if partitions != plan.profile.topic.partitions:
        raise BrokerError(
            f"{topic} has {partitions} partitions, the profile says {plan.profile.topic.partitions}.",
            "Use the profile that the topic was made with, or a new stack: k2ctl stack down --volumes",
        )
    entries = reference_data(Universe(plan.profile), time.time_ns() // 1000)
    publish(endpoints, reference, [(entry["symbol"].decode(), entry.tobytes()) for entry in entries])
    return topic
