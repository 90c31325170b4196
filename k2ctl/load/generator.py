"""One load: topics and reference data first, then workers that send on an absolute schedule, then the summary."""

import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import Any, Final

from hdrh.histogram import HdrHistogram

from k2ctl.domain.status import LoadStatus
from k2ctl.endpoints import Endpoints
from k2ctl.errors import BrokerError, K2Error, UsageError
from k2ctl.kafka.admin import BrokerAdmin, make_topics
from k2ctl.kafka.producer import new_histogram, publish
from k2ctl.kafka.telemetry import PUBLISH_EVERY_S, TelemetryWriter
from k2ctl.load.intake import Gate, first_reason, gates_of
from k2ctl.load.market import reference_data
from k2ctl.load.plan import LoadPlan
from k2ctl.load.replay import ReplayPlan, ReplayState, open_replay
from k2ctl.load.workers import LoadSnapshot, LoadWorkers
from k2ctl.profiles.universe import Universe
from k2ctl.timing import Every

SETTLE_S: Final = 90.0
"""How long workers may take to flush and report once something has ended the load: Kafka may be gone."""

UNREPORTED: Final = "a worker ended before Kafka answered for them"
PERCENTILES: Final = (50.0, 99.0, 99.9, 100.0)
ACCURACY_MEAN, ACCURACY_SECOND = 0.01, 0.05
"""Further from the target than this, in the mean or in any whole second, a load calls itself saturated."""


@dataclass(frozen=True)
class LoadSummary:
    """What a load did. Names are for scripts; counts are trades unless they say records, rates trades per second."""

    trades_acknowledged: int
    records_acknowledged: int
    trades_failed: int
    target_rate: float
    reached_rate: float
    # The machine could not follow the schedule.
    saturated: bool
    seconds: float
    # The largest deviation from the schedule in any whole second, as a fraction.
    worst_second: float
    paused_s: float
    wire_bytes: int
    workers: int
    # Percentile → from when a trade was due to its acknowledgement, sampled once per tick and worker.
    ack_ms: dict[str, float]
    # Percentile → from when a trade was due until it was handed to the client library.
    publish_delay_ms: dict[str, float]
    # Files of a replay, lines of them that are no trades, and the first of these.
    files: int = 0
    broken_lines: int = 0
    first_broken: list[dict[str, Any]] = field(default_factory=list)
    # Rows of a replay that the feed leaves out, and trades that stood too late in their file to be sent in order.
    filtered: int = 0
    late: int = 0
    # The command that goes on where a replay ended early; empty where there is nothing to go on with.
    go_on: str = ""
    interrupted: bool = False
    # Every worker reported at its end; else the counts are those of the last reports: at least so much was sent.
    exact: bool = True
    # What ended the load early, or why Kafka did not take a trade; empty if nothing did.
    failure: str = ""
    # Over how many partitions of its topic the load was spread.
    partitions: int = 0
    # Reason → trades not acknowledged for it. Kafka may have some; the others are gaps in their symbols' numbers.
    failed_by: dict[str, int] = field(default_factory=dict)


class LoadFailed(BrokerError):
    """Something ended a load early; `summary` is what it did until then."""

    def __init__(self, cause: K2Error, summary: LoadSummary) -> None:
        super().__init__(str(cause), cause.hint)
        self.exit_code = cause.exit_code
        self.summary = summary


def run_load(
    plan: LoadPlan,
    endpoints: Endpoints,
    stop: threading.Event,
    on_snapshot: Callable[[LoadSnapshot], None] = lambda _: None,
    when_ready: Callable[[], object] = lambda: None,
) -> LoadSummary:
    """Run a load to its end, or until `stop` is set; what was sent by then is flushed either way.

    on_snapshot is called about ten times a second. when_ready is called when the workers have been started; they send
    once it has returned. A KeyboardInterrupt ends the load at once, with what is known then.

    Raises:
        LoadFailed: something ended it early: Kafka does not take the load, nobody reads what the embedded engine cannot
            keep, a worker was killed, what was sent cannot be written down. It holds the summary.
        BrokerError: it could not begin.
        UsageError: a replay that cannot be read.
    """
    if plan.replay is not None:
        with closing(open_replay(plan.replay, plan.profile, endpoints)) as replayed:
            replayed.require_trades()
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
            when_ready()
            workers.begin()
            failure = _drive(workers, gates, stop, on_pass)
        except K2Error as error:
            failure = error
        except KeyboardInterrupt:
            interrupted = True
            workers.kill()
    summary = summarise(plan, workers, interrupted=interrupted or stop.is_set(), failure=failure)
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
    feed = plan.profile.topic.feed
    if feed is not None:
        raise UsageError(
            f"The topic {plan.profile.trades_topic} has the feed {feed}, and k2ctl load sends K2's own records.",
            "Choose a profile without `topic.feed`: --profile laptop",
        )
    with BrokerAdmin(endpoints) as admin:
        topic, reference = make_topics(admin, plan.profile)
        partitions = admin.topics()[topic]
    if reference is not None:
        entries = reference_data(Universe(plan.profile), time.time_ns() // 1000)
        publish(endpoints, reference, [(entry["symbol"].decode(), entry.tobytes()) for entry in entries])
    return topic, plan.on(partitions)


class LoadReporter:
    """Publishes a load's status; its last word is that it has stopped."""

    def __init__(self, endpoints: Endpoints, topic: str) -> None:
        self._writer = TelemetryWriter(endpoints)
        self._status = LoadStatus(f"load-{os.getpid()}", 0, topic, 0.0, 0.0, 0, 0.0, "")
        self._every = Every(PUBLISH_EVERY_S)

    def report(self, snapshot: LoadSnapshot) -> None:
        """Publish what the load does now; cheap to call often."""
        if not self._every.due():
            return
        self._status = replace(
            self._status,
            at_us=time.time_ns() // 1000,
            rate=snapshot.rate,
            target_rate=snapshot.target_rate,
            sent=snapshot.sent,
            paused_s=snapshot.paused_s,
            paused_why=snapshot.paused_why,
        )
        self._writer.publish(self._status)

    def close(self) -> None:
        """Say that the load has ended."""
        self._writer.publish(replace(self._status, at_us=time.time_ns() // 1000, rate=0.0, stopped=True))
        self._writer.close()


def summarise(
    plan: LoadPlan, workers: LoadWorkers, *, interrupted: bool, failure: K2Error | None = None
) -> LoadSummary:
    """Add the workers' last reports up."""
    early = interrupted or failure is not None
    sent, acknowledged = workers.total("enqueued"), workers.total("acknowledged")
    replay, schedule, state = plan.replay, plan.schedule, workers.replay
    total, duration_s = (schedule.total, schedule.duration_s) if replay is None else (sent, state.span_s)
    elapsed_s = max(workers.elapsed_s, 1e-9) if early or not duration_s else duration_s
    seconds = min(elapsed_s, max(workers.elapsed_s, 1e-9))
    target = total / duration_s if duration_s else 0.0
    late_s = max(0.0, workers.elapsed_s - duration_s) if duration_s and not early else 0.0
    reached = sent / (seconds + late_s)
    worst = worst_second(plan, workers.reports.values()) if replay is None else 0.0
    faulty = plan.faults.duplicates or plan.faults.gaps
    short = bool(target) and not early and not faulty and reached < target * (1 - ACCURACY_MEAN)
    failed_by = _failed_by(sent - acknowledged, [report.failed_by for report in workers.reports.values()])
    reasons = [*(report.failure for report in workers.reports.values() if report.failure), *failed_by]
    return LoadSummary(
        trades_acknowledged=acknowledged,
        records_acknowledged=workers.total("acknowledged_records"),
        trades_failed=sent - acknowledged,
        target_rate=target,
        reached_rate=reached,
        saturated=short or (replay is None and not faulty and worst > ACCURACY_SECOND),
        seconds=seconds + late_s,
        worst_second=worst,
        paused_s=workers.paused_s,
        wire_bytes=workers.total("wire_bytes"),
        workers=plan.workers,
        ack_ms=_percentiles([report.latency for report in workers.reports.values()]),
        publish_delay_ms=_percentiles([report.publish_delay for report in workers.reports.values()]),
        **_of_files(replay, state, exact=workers.exact),
        interrupted=interrupted,
        exact=workers.exact,
        partitions=plan.profile.topic.partitions,
        failure=str(failure or next(iter(reasons), "")),
        failed_by=failed_by,
    )


def _of_files(plan: ReplayPlan | None, state: ReplayState, *, exact: bool) -> dict[str, Any]:
    """What a summary says of a replay. One that was killed goes on from its start: what was on its way nobody knows."""
    if plan is None:
        return {}
    began = state.reached_ns is not None
    return {
        "files": state.files,
        "broken_lines": state.broken_lines,
        "first_broken": [vars(line) for line in state.first_broken],
        "filtered": state.filtered,
        "late": state.late,
        "go_on": plan.command(state.reached_ns if exact else None) if began and not state.ended else "",
    }


def _failed_by(failed: int, reported: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """The workers' reasons, added up; failures without a reason belong to a worker that ended too early to report."""
    reasons: dict[str, int] = {}
    for reason, trades in (item for each in reported for item in each.items()):
        reasons[reason] = reasons.get(reason, 0) + trades
    untold = failed - sum(reasons.values())
    return reasons | ({UNREPORTED: untold} if untold > 0 else {})


def worst_second(plan: LoadPlan, reports: Any) -> float:
    """The largest deviation from the schedule of any whole second, as a fraction of what was due in it."""
    sent: dict[int, int] = {}
    for report in reports:
        for second, count in report.per_second.items():
            sent[second] = sent.get(second, 0) + count
    schedule, worst = plan.schedule, 0.0
    for second in range(min(int(schedule.duration_s), max(sent, default=0))):
        due = schedule.due(second + 1) - schedule.due(second)
        if due >= 1:
            worst = max(worst, abs(sent.get(second, 0) - due) / due)
    return worst


def _percentiles(encoded: list[bytes]) -> dict[str, float]:
    """Milliseconds at the usual percentiles, over all workers."""
    merged = new_histogram()
    for text in encoded:
        if text:
            merged.add(HdrHistogram.decode(text))
    if not merged.get_total_count():
        return {}
    return {f"p{percent:g}": merged.get_value_at_percentile(percent) / 1000 for percent in PERCENTILES}
