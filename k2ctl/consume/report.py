"""A consumer's status as others see it: pulled from the running consumer, never pushed by it."""

import os
from dataclasses import replace
from typing import Final

from k2ctl.consume.assignment_snapshot import AssignmentSnapshot
from k2ctl.consume.consumer import Consumer
from k2ctl.deferred.admission import ACTIONS, SHED, SPILL
from k2ctl.domain.ledger import Ledger
from k2ctl.domain.status import ConsumerStatus
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
        """The last status, marked as stopped."""
        if self._last is None:
            return replace(self.status(), stopped=True)
        return replace(self._last, stopped=True, at_us=self._consumer.clock.now_us())

    def status(self) -> ConsumerStatus:
        """The consumer as it stands. Only the consumer's own thread may call this, while it runs."""
        consumer, totals = self._consumer, self._consumer.totals
        now_us = consumer.clock.now_us()
        assigned, ledger = consumer.assignment.snapshot(), consumer.ledger
        remembered = consumer.assignment.remembered
        pressure = consumer.pressure.snapshot(remembered.dedup)
        # The process is one, whatever the number of its topics.
        pressure = replace(pressure, memory_bytes=pressure.memory_bytes // consumer.plan.topics)
        rate_in, rate_committed = self._rates()
        per_record, behind = totals.trades_per_record, assigned.behind_records
        lag = None if assigned.lag_records is None else round(assigned.lag_records * per_record)
        outstanding_since_us = min((entry.first_us for entry in ledger.entries if not entry.spill), default=None)
        lag_seconds = self._lag_seconds(assigned, critical=False)
        ages = [age for age in (lag_seconds, self._age_s(outstanding_since_us)) if age is not None]
        self._last = ConsumerStatus(
            **vars(pressure),
            **vars(remembered),
            id=consumer.plan.consumer_id,
            pid=os.getpid(),
            at_us=now_us,
            topic=consumer.topic,
            epoch=consumer.epoch,
            lag_trades=lag,
            lag_records=assigned.lag_records,
            lag_committed_trades=None if behind is None else round(behind * per_record),
            lag_seconds=lag_seconds,
            trades_per_record=round(per_record, 2),
            rate_in=rate_in,
            rate_committed=rate_committed,
            pending=assigned.pending_rows,
            counts=assigned.counts,
            commits=totals.commits,
            commit_ms=round(totals.last_commit_s * 1000, 1),
            last_commit_at_us=totals.last_commit_at_us,
            snapshot_age_s=(now_us - totals.last_commit_at_us) / 1e6 if totals.last_commit_at_us else None,
            snapshot_id=totals.last_commit.snapshot_id if totals.last_commit else None,
            critical_lag_seconds=self._lag_seconds(assigned, critical=True),
            drain_s=round(lag / -pressure.lag_slope, 1) if lag and pressure.lag_slope < 0 else None,
            retention_left_s=consumer.retention.left_s(max(ages, default=None)),
            outstanding=ledger.count,
            outstanding_spilled=sum(entry.count for entry in ledger.entries if entry.spill),
            outstanding_of=_by_priorities(ledger),
            backfilled=totals.backfilled,
            by_priority={
                priority: dict(zip(ACTIONS, row, strict=True))
                for priority, row in zip(PRIORITIES, totals.by_priority.tolist(), strict=True)
            },
            partitions=assigned.partitions,
            transitions_total=consumer.pressure.transitions_total,
            commit_times=totals.commit_times,
            group_commit=consumer.group_commit(),
            maintenance=consumer.maintenance.snapshot(),
            maintenance_error=consumer.maintenance.last_error,
            table_sequence=assigned.table_sequence,
            assignments_opened=consumer.assignments.opened,
            stood_still_s=round(consumer.assignments.still_s, 3),
            fenced_commits=totals.fenced,
            waiting=consumer.waiting,
            clock_behind_s=round(consumer.kafka_time.behind_s, 1),
        )
        return self._last

    def _lag_seconds(self, assigned: AssignmentSnapshot, *, critical: bool) -> float | None:
        """Age of the oldest record that is not in the table, by the Kafka record's timestamp; None if unknown."""
        if assigned.behind_records is None:
            return None
        oldest_ms = assigned.oldest_critical_ms if critical else assigned.oldest_ms
        waiting = self._age_s(None if oldest_ms is None else oldest_ms * 1000)
        unread = assigned.critical_age_s if critical else assigned.age_s
        return max((age for age in (waiting, unread) if age is not None), default=None)

    def _age_s(self, since_us: int | None) -> float | None:
        if since_us is None:
            return None
        behind_s = self._consumer.kafka_time.behind_s  # the records' times are Kafka's
        return max(0.0, (self._consumer.clock.now_us() - since_us) / 1e6 + behind_s)

    def _rates(self) -> tuple[float, float]:
        totals = self._consumer.totals
        self._window.add((totals.trades, totals.stored))
        (trades, stored), span_s = self._window.oldest, self._window.span_s
        return rate(trades, totals.trades, span_s), rate(stored, totals.stored, span_s)


def _by_priorities(ledger: Ledger) -> dict[str, dict[str, int]]:
    """What is outstanding: names of the priorities of its ranges → action → trades."""
    counts: dict[tuple[int, str], int] = {}
    for entry in ledger.entries:
        key = entry.priorities, ACTIONS[SPILL if entry.spill else SHED]
        counts[key] = counts.get(key, 0) + entry.count
    found: dict[str, dict[str, int]] = {}
    for (mask, action), count in counts.items():
        names = "+".join(name for bit, name in enumerate(PRIORITIES) if mask >> bit & 1)
        found.setdefault(names, {})[action] = count
    return found
