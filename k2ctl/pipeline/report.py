"""A consumer's status as others see it: pulled from the running consumer, never pushed by it."""

from collections import deque
from dataclasses import asdict, replace

from k2ctl.pipeline.consumer import Consumer
from k2ctl.schema.status import ConsumerStatus, PartitionStatus

RATE_WINDOW_S = 5.0


class StatusReporter:
    """Makes a `ConsumerStatus` whenever asked; rates are means over the last five seconds."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._samples: deque[tuple[float, int, int]] = deque()
        self._last: ConsumerStatus | None = None

    def final_status(self) -> ConsumerStatus:
        """The last status, marked as stopped, so that nobody waits for the next."""
        if self._last is None:
            return self.status(stopped=True)
        return replace(self._last, stopped=True, at_us=self._consumer.clock.now_us())

    def status(self, *, stopped: bool = False) -> ConsumerStatus:
        """The consumer as it stands. Only the consumer's own thread may call this, while it runs."""
        consumer, totals = self._consumer, self._consumer.totals
        rate_in, rate_committed = self._rates()
        highs, positions = consumer.high_watermarks(), consumer.positions()
        partitions = [
            PartitionStatus(p, positions[p], consumer.committed_offsets.get(p, positions[p]), high or 0)
            for p, high in sorted(highs.items())
        ]
        known = all(high is not None for high in highs.values())
        per_record = consumer.trades_per_record()
        lag = consumer.lag_records()
        behind = sum(max(0, part.high_watermark - part.committed) for part in partitions) if known else None
        controller = consumer.controller
        self._last = ConsumerStatus(
            id=consumer.plan.consumer_id,
            pid=consumer.pid,
            at_us=consumer.clock.now_us(),
            topic=consumer.topic,
            epoch=consumer.epoch,
            level=controller.level.name,
            level_number=controller.number,
            level_reason=controller.transitions[-1].reason if controller.transitions else "",
            cooldown_left_s=round(controller.cooldown_left_s(), 1) if controller.number else 0.0,
            lag_trades=None if lag is None else round(lag * per_record),
            lag_records=lag,
            lag_committed_trades=None if behind is None else round(behind * per_record),
            lag_seconds=consumer.lag_seconds(behind),
            trades_per_record=round(per_record, 2),
            rate_in=rate_in,
            rate_committed=rate_committed,
            pending=consumer.pending_trades,
            counts=asdict(consumer.counts()),
            memory_bytes=consumer.memory_bytes(),
            memory_share=consumer.memory_share(),
            commits=totals.commits,
            commit_ms=round(totals.last_commit_s * 1000, 1),
            last_commit_at_us=totals.last_commit_at_us,
            snapshot_id=totals.last_commit.snapshot_id if totals.last_commit else None,
            sequence=asdict(consumer.tracker.counts()),
            dedup=consumer.deduplicator.statistics(),
            partitions=partitions,
            transitions=[asdict(transition) for transition in list(controller.transitions)[-10:]],
            stopped=stopped,
        )
        return self._last

    def _rates(self) -> tuple[float, float]:
        now_s, totals = self._consumer.clock.monotonic_s(), self._consumer.totals
        self._samples.append((now_s, totals.trades, totals.stored))
        while self._samples[0][0] < now_s - RATE_WINDOW_S:
            self._samples.popleft()
        since_s, trades, stored = self._samples[0]
        if now_s <= since_s:
            return 0.0, 0.0
        span_s = now_s - since_s
        return (totals.trades - trades) / span_s, (totals.stored - stored) / span_s
