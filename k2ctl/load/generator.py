"""Open-loop load: workers send on an absolute schedule, and this module starts, watches and sums them up."""

import multiprocessing
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final

from hdrh.histogram import HdrHistogram

from k2ctl.broker.admin import BrokerAdmin
from k2ctl.broker.producer import new_histogram, publish
from k2ctl.errors import BrokerError
from k2ctl.home import Endpoints
from k2ctl.load.intake import first_reason, gates_of
from k2ctl.load.market import reference_data
from k2ctl.load.plan import LoadPlan
from k2ctl.load.replay import Replay, ReplaySchedule, read_replay
from k2ctl.load.report import LoadReporter
from k2ctl.load.worker import Signals, WorkerReport, run_worker
from k2ctl.profiles.universe import Universe
from k2ctl.schema.topics import reference_topic, trades_topic

READY_S: Final = 30.0
HEADSTART_S: Final = 0.05

PERCENTILES: Final = (50.0, 99.0, 99.9, 100.0)
ACCURACY_MEAN, ACCURACY_SECOND = 0.01, 0.05
"""Further from the target than this, in the mean or in any whole second, a load calls itself saturated."""


@dataclass(frozen=True)
class LoadSnapshot:
    """A load under way. Counts are trades; rates trades per second."""

    elapsed_s: float
    duration_s: float
    target_rate: float
    rate: float
    sent: int
    total: int
    in_flight_records: int
    paused_s: float
    paused_why: str


@dataclass(frozen=True)
class LoadSummary:
    """What a load did. Names are for scripts; counts are trades unless they say records, latencies milliseconds.

    ack_ms: from when a trade was due to its acknowledgement, sampled once per tick and worker. publish_delay_ms:
    from when it was due until it was handed to the client library. saturated: the machine could not follow.
    """

    trades_acknowledged: int
    records_acknowledged: int
    trades_failed: int
    target_rate: float
    reached_rate: float
    saturated: bool
    seconds: float
    worst_second: float
    paused_s: float
    wire_bytes: int
    workers: int
    ack_ms: dict[str, float]
    publish_delay_ms: dict[str, float]
    broken_lines: int = 0
    first_broken: list[dict[str, Any]] = field(default_factory=list)
    interrupted: bool = False


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


class Crew:
    """The worker processes of one load, and the newest report of each."""

    def __init__(self, plan: LoadPlan, endpoints: Endpoints) -> None:
        context = multiprocessing.get_context("spawn")
        self._plan = plan
        self.signals = Signals(context.Event(), context.Event(), context.Event(), context.Value("d", 0.0))
        self._pipes: list[Connection] = []
        self._processes: list[BaseProcess] = []
        for number in range(plan.workers):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=run_worker, args=(endpoints, plan, number, self.signals, theirs), daemon=True
            )
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        self.reports: dict[int, WorkerReport] = {}
        self._open = set(self._pipes)
        self._recent: list[tuple[float, int]] = []

    def begin(self) -> None:
        """Wait until all are ready, then let them start at the same moment."""
        for pipe in self._pipes:
            if not pipe.poll(READY_S):
                raise BrokerError(
                    "A load worker did not start in time.", "Look at the machine with: k2ctl stack status"
                )
            self._take(pipe)
        self.signals.start_s.value = time.monotonic() + HEADSTART_S
        self.signals.go.set()

    def listen(self) -> None:
        """Take in what the workers say, for about a tenth of a second.

        Raises:
            BrokerError: a worker failed, or died.
        """
        for pipe in wait(list(self._open), 0.1):
            self._take(pipe)  # type: ignore[arg-type]

    def hold(self, reason: str) -> None:
        """Pause the workers while there is a reason to."""
        if reason:
            self.signals.pause.set()
        else:
            self.signals.pause.clear()

    def _take(self, pipe: Connection) -> None:
        try:
            report = pipe.recv()
        except EOFError:
            self._open.discard(pipe)
            number = self._pipes.index(pipe)
            if not (number in self.reports and self.reports[number].finished):
                raise BrokerError(f"Load worker {number} died.", "Try again with fewer: --workers 1") from None
            return
        if isinstance(report, WorkerReport):
            if report.failure and not report.enqueued:
                raise BrokerError(report.failure, report.hint or "See: k2ctl stack status")
            self.reports[report.worker] = report

    @property
    def finished(self) -> bool:
        """Every worker has sent its last report."""
        return len(self.reports) == self._plan.workers and all(r.finished for r in self.reports.values())

    def total(self, name: str) -> Any:
        """The sum of one figure over the workers."""
        return sum(getattr(report, name) for report in self.reports.values())

    @property
    def paused_s(self) -> float:
        """Seconds paused; the workers pause together."""
        return max((report.paused_s for report in self.reports.values()), default=0.0)

    @property
    def elapsed_s(self) -> float:
        """Seconds of the schedule that have passed."""
        return max((max(0.0, report.elapsed_s) for report in self.reports.values()), default=0.0)

    def snapshot(self, paused_why: str) -> LoadSnapshot:
        """The load as it stands."""
        schedule, sent = self._plan.schedule, self.total("enqueued")
        now_s = time.monotonic()
        self._recent = [*[sample for sample in self._recent if sample[0] > now_s - 2], (now_s, sent)]
        since_s, before = self._recent[0]
        return LoadSnapshot(
            elapsed_s=self.elapsed_s,
            duration_s=schedule.duration_s if self._plan.replay is None else 0.0,
            target_rate=schedule.rate_at(self.elapsed_s) if self._plan.replay is None else 0.0,
            rate=(sent - before) / (now_s - since_s) if now_s > since_s else 0.0,
            sent=sent,
            total=schedule.total if self._plan.replay is None else 0,
            in_flight_records=self.total("records") - self.total("acknowledged_records"),
            paused_s=self.paused_s,
            paused_why=paused_why,
        )

    def end(self) -> None:
        """Stop whoever still runs."""
        self.signals.stop.set()
        self.signals.go.set()
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()
        for pipe in self._pipes:
            pipe.close()


def summarise(plan: LoadPlan, crew: Crew, replay: Replay | None, *, interrupted: bool) -> LoadSummary:
    """Add the workers' last reports up."""
    sent, failed = crew.total("enqueued"), crew.total("failed")
    schedule: Any = ReplaySchedule.of(replay, plan.speed) if replay else plan.schedule
    elapsed_s = max(crew.elapsed_s, 1e-9) if interrupted or not schedule.duration_s else schedule.duration_s
    seconds = min(elapsed_s, max(crew.elapsed_s, 1e-9))
    target = schedule.total / schedule.duration_s if schedule.duration_s else 0.0
    late_s = max(0.0, crew.elapsed_s - schedule.duration_s) if schedule.duration_s and not interrupted else 0.0
    reached = sent / (seconds + late_s)
    worst = worst_second(plan, crew.reports.values()) if replay is None else 0.0
    faulty = plan.faults.duplicates or plan.faults.gaps
    short = bool(target) and not interrupted and not faulty and reached < target * (1 - ACCURACY_MEAN)
    return LoadSummary(
        trades_acknowledged=sent - failed,
        records_acknowledged=crew.total("acknowledged_records"),
        trades_failed=failed,
        target_rate=target,
        reached_rate=reached,
        saturated=short or (replay is None and not faulty and worst > ACCURACY_SECOND),
        seconds=seconds + late_s,
        worst_second=worst,
        paused_s=crew.paused_s,
        wire_bytes=crew.total("wire_bytes"),
        workers=plan.workers,
        ack_ms=_percentiles([report.latency for report in crew.reports.values()]),
        publish_delay_ms=_percentiles([report.publish_delay for report in crew.reports.values()]),
        broken_lines=replay.broken_count if replay else 0,
        first_broken=[vars(line) for line in replay.broken] if replay else [],
        interrupted=interrupted,
    )


def worst_second(plan: LoadPlan, reports: Any) -> float:
    """The largest deviation from the schedule of any whole second, as a share of what was due in it."""
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
