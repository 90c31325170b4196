"""A consumer's status as others see it: pulled from the running consumer, never pushed by it."""

from dataclasses import replace
from typing import Final

from k2ctl.consume.consumer import Consumer
from k2ctl.deferred.admission import ACTIONS
from k2ctl.domain.status import TRANSITIONS_SHOWN, ConsumerStatus
from k2ctl.domain.status_parts import LadderLevel, PartitionStatus
from k2ctl.profiles.universe import PRIORITIES
from k2ctl.timing import SlidingWindow, rate

RATE_WINDOW_S: Final = 5.0


class StatusReporter:
    """Makes a `ConsumerStatus` whenever asked; rates are means over the last five seconds."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._window = SlidingWindow[tuple[int, int]](RATE_WINDOW_S, consumer.clock)
        self._last: ConsumerStatus | None = None

    def final_status(self) -> ConsumerStatus:
        """The last status, marked as stopped, so that nobody waits for the next."""
        if self._last is None:
            return replace(self.status(), stopped=True)
        return replace(self._last, stopped=True, at_us=self._consumer.clock.now_us())

    def status(self) -> ConsumerStatus:
        """The consumer as it stands. Only the consumer's own thread may call this, while it runs."""
        consumer, totals = self._consumer, self._consumer.totals
        now_us = consumer.clock.now_us()
        controller, ledger = consumer.controller, consumer.ledger
        rate_in, rate_committed = self._rates()
        partitions, behind = self._partitions()
        per_record, lag = consumer.trades_per_record(), consumer.lag_trades()
        slope, dedup = consumer.slope.value, consumer.assignment.deduplicator.statistics()
        outstanding_since_us = min((entry.first_us for entry in ledger.entries if not entry.spill), default=None)
        lag_seconds = self._lag_seconds(behind, critical=False)
        ages = [age for age in (lag_seconds, self._age_s(outstanding_since_us)) if age is not None]
        self._last = ConsumerStatus(
            id=consumer.plan.consumer_id,
            pid=consumer.memory.pid,
            at_us=now_us,
            topic=consumer.topic,
            epoch=consumer.epoch,
            level=controller.level.name,
            level_number=controller.number,
            level_reason=controller.transitions[-1].reason if controller.transitions else "",
            cooldown_left_s=round(controller.cooldown_left_s(), 1) if controller.number else 0.0,
            lag_trades=lag,
            lag_records=consumer.assignment.reader.lag_records(),
            lag_committed_trades=None if behind is None else round(behind * per_record),
            lag_seconds=lag_seconds,
            trades_per_record=round(per_record, 2),
            rate_in=rate_in,
            rate_committed=rate_committed,
            pending=sum(batch.rows for batch in (consumer.committer.in_flight, consumer.assignment.pending) if batch),
            counts=consumer.counts(),
            memory_bytes=consumer.memory.resident_bytes(),
            memory_share=consumer.memory.share(dedup["bytes"], dedup["planned_bytes"]),
            commits=totals.commits,
            commit_ms=round(totals.last_commit_s * 1000, 1),
            last_commit_at_us=totals.last_commit_at_us,
            snapshot_age_s=(now_us - totals.last_commit_at_us) / 1e6 if totals.last_commit_at_us else None,
            snapshot_id=totals.last_commit.snapshot_id if totals.last_commit else None,
            critical_lag_seconds=self._lag_seconds(behind, critical=True),
            lag_slope=round(slope),
            drain_s=round(lag / -slope, 1) if lag and slope < 0 else None,
            retention_left_s=consumer.retention.left_s(max(ages, default=None)),
            intake=controller.intake,
            budget=consumer.budget.per_s,
            outstanding=ledger.count,
            outstanding_spilled=sum(entry.count for entry in ledger.entries if entry.spill),
            backfilled=totals.backfilled,
            by_priority={
                priority: dict(zip(ACTIONS, row, strict=True))
                for priority, row in zip(PRIORITIES, totals.by_priority.tolist(), strict=True)
            },
            ladder=self._ladder(),
            sequence=consumer.assignment.tracker.counts(),
            state=consumer.assignment.state_sync.snapshot(),
            dedup=dedup,
            partitions=partitions,
            transitions=list(controller.transitions)[-TRANSITIONS_SHOWN:],
            transitions_total=dict(controller.transitions_total),
            commit_times=totals.commit_times,
            maintenance=consumer.maintenance.snapshot(),
            maintenance_error=consumer.maintenance.last_error,
            dedup_save_error=consumer.assignment.dedup_saver.last_error,
            table_sequence=consumer.assignment.checkpoints.sequence_number,
            assignments_opened=consumer.assignments.opened,
            stood_still_s=round(consumer.assignments.still_s, 3),
            fenced_commits=totals.fenced,
            waiting=consumer.waiting,
            clock_behind_s=round(consumer.kafka_time.behind_s, 1),
        )
        return self._last

    def _partitions(self) -> tuple[list[PartitionStatus], int | None]:
        """Each partition's offsets, and the records between commit and watermark; None while a watermark is unknown."""
        consumer = self._consumer
        highs, positions = consumer.assignment.reader.high_watermarks(), consumer.assignment.reader.positions
        partitions = [
            PartitionStatus(p, positions[p], consumer.assignment.committed_offsets.get(p, positions[p]), high or 0)
            for p, high in sorted(highs.items())
        ]
        if None in highs.values():
            return partitions, None
        return partitions, sum(max(0, part.high_watermark - part.committed) for part in partitions)

    def _lag_seconds(self, behind_records: int | None, *, critical: bool) -> float | None:
        """Age of the oldest record that is not in the table, by the Kafka record's timestamp; None if unknown."""
        if behind_records is None:
            return None
        consumer = self._consumer
        batches = [batch for batch in (consumer.committer.in_flight, consumer.assignment.pending) if batch]
        oldest = [batch.oldest_critical_ms if critical else batch.oldest_ms for batch in batches]
        waiting = [self._age_s(ms * 1000) for ms in oldest if ms is not None]
        unread = consumer.assignment.reader.age_at_position_s(critical=critical)
        ages = [age for age in (*waiting, unread) if age is not None]
        return max(ages) if ages else None

    def _age_s(self, since_us: int | None) -> float | None:
        if since_us is None:
            return None
        behind_s = self._consumer.kafka_time.behind_s  # the records' times are Kafka's
        return max(0.0, (self._consumer.clock.now_us() - since_us) / 1e6 + behind_s)

    def _ladder(self) -> list[LadderLevel]:
        controller, admission = self._consumer.controller, self._consumer.admission
        return [
            LadderLevel(
                level.name,
                controller.lag_threshold(number),
                controller.exit_lag(number),
                level.memory,
                level.enrich,
                level.intake,
                {
                    priority: ACTIONS[action]
                    for priority, action in zip(PRIORITIES, admission.actions(level).tolist(), strict=True)
                },
            )
            for number, level in enumerate(controller.levels)
        ]

    def _rates(self) -> tuple[float, float]:
        totals = self._consumer.totals
        self._window.add((totals.trades, totals.stored))
        (trades, stored), span_s = self._window.oldest, self._window.span_s
        return rate(trades, totals.trades, span_s), rate(stored, totals.stored, span_s)
