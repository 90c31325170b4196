"""What a load did, from the last reports of its workers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hdrh.histogram import HdrHistogram

from k2ctl.errors import BrokerError, K2Error
from k2ctl.kafka.producer import new_histogram
from k2ctl.load.plan import LoadPlan
from k2ctl.load.replay import Replay, ReplaySchedule
from k2ctl.load.workers import LoadWorkers

UNREPORTED: Final = "a worker ended before Kafka answered for them"
PERCENTILES: Final = (50.0, 99.0, 99.9, 100.0)
ACCURACY_MEAN, ACCURACY_SECOND = 0.01, 0.05
"""Further from the target than this, in the mean or in any whole second, a load calls itself saturated."""


@dataclass(frozen=True)
class LoadSummary:
    """What a load did. Names are for scripts; counts are trades unless they say records, latencies milliseconds.

    ack_ms: from when a trade was due to its acknowledgement, sampled once per tick and worker. publish_delay_ms:
    from when it was due until it was handed to the client library. saturated: the machine could not follow.
    exact: every worker reported at its end; else the counts are what they said last, and at least so much was sent.
    partitions: over how many of its topic the load was spread.
    failure: what ended the load early, or why Kafka did not take a trade; empty when nothing did.
    failed_by: reason → trades that were not acknowledged for it. Kafka may have some of them; those that it has not are
    gaps in their symbols' numbers.
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
    exact: bool = True
    failure: str = ""
    partitions: int = 0
    failed_by: dict[str, int] = field(default_factory=dict)


class LoadFailed(BrokerError):
    """Something ended a load early; `summary` is what it did until then."""

    def __init__(self, cause: K2Error, summary: LoadSummary) -> None:
        super().__init__(str(cause), cause.hint)
        self.exit_code = cause.exit_code
        self.summary = summary


def summarise(
    plan: LoadPlan, workers: LoadWorkers, replay: Replay | None, *, interrupted: bool, failure: K2Error | None = None
) -> LoadSummary:
    """Add the workers' last reports up."""
    early = interrupted or failure is not None
    sent, acknowledged = workers.total("enqueued"), workers.total("acknowledged")
    schedule: Any = ReplaySchedule.of(replay, plan.speed) if replay else plan.schedule
    elapsed_s = max(workers.elapsed_s, 1e-9) if early or not schedule.duration_s else schedule.duration_s
    seconds = min(elapsed_s, max(workers.elapsed_s, 1e-9))
    target = schedule.total / schedule.duration_s if schedule.duration_s else 0.0
    late_s = max(0.0, workers.elapsed_s - schedule.duration_s) if schedule.duration_s and not early else 0.0
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
        broken_lines=replay.broken_count if replay else 0,
        first_broken=[vars(line) for line in replay.broken] if replay else [],
        interrupted=interrupted,
        exact=workers.exact,
        partitions=plan.profile.topic.partitions,
        failure=str(failure or next(iter(reasons), "")),
        failed_by=failed_by,
    )


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
