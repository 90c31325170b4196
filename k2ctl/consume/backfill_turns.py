"""When a consumer backfills what is deferred, and when Kafka is about to delete some of it."""

import logging
from collections.abc import Iterator, Mapping
from typing import Final

from k2ctl.consume.platform import Platform
from k2ctl.deferred.backfill import Backfill, Backfilled
from k2ctl.domain.ledger import Ledger
from k2ctl.timing import Every

LOG: Final = logging.getLogger("k2ctl.consume")

LOOK_FOR_PRESSING_S: Final = 0.1


class BackfillTurns:
    """Of one assignment. outstanding: the ledger entries of its partitions, as they are when called."""

    def __init__(self, platform: Platform, backfill: Backfill) -> None:
        self._platform = platform
        self._backfill = backfill
        self._may_backfill = Every(0.0, platform.clock)
        self._look_for_pressing = Every(LOOK_FOR_PRESSING_S, platform.clock)
        self._presses = False

    @property
    def must_backfill(self) -> bool:
        """True if Kafka is about to delete deferred trades, and the profile's rate allows to backfill some now."""
        return self._presses and self._may_backfill.is_due

    def follow(self, outstanding: Ledger, highs: Mapping[int, int | None], committed: Mapping[int, int]) -> None:
        """Note what Kafka holds and must keep. highs, committed: watermark and the table's offset per partition."""
        retention = self._platform.retention
        if retention.room is not None:
            shed = outstanding.first_in_kafka(self._platform.epoch)
            needed_from = {p: min(offset, shed.get(p, offset)) for p, offset in committed.items()}
            retention.room.follow(highs, needed_from)
        if self._look_for_pressing.due():
            self._presses = retention.presses(outstanding)

    def due(self, outstanding: Ledger) -> Iterator[Backfilled]:
        """Resolve a part of the ledger: at NORMAL, when Kafka is about to delete it, or for `k2ctl backfill`.

        At most the rows of a full commit at once, and the next only when the profile's rate allows it.
        """
        platform = self._platform
        if not outstanding.entries or not (platform.plan.backfill or self._may_backfill.is_due):
            return
        if not (platform.plan.backfill or platform.pressure.number == 0 or self._presses):
            return
        profile = platform.plan.profile
        per_s = profile.degradation.deferral.backfill_per_s
        wanted = min(profile.consumer.commit_rows, round(per_s * profile.consumer.commit_interval_s))
        resolved = stored = records = 0
        for part in self._backfill.parts(outstanding, wanted, platform.clock.now_us()):
            resolved, stored = resolved + part.resolved_trades, stored + len(part.rows)
            records += max(len(part.rows), part.records)
            yield part.enriched(platform.references.table.step) if platform.pressure.level.enrich else part
        self._may_backfill.restart(records / per_s)
        if resolved:
            LOG.info("backfill", extra={"resolved": resolved, "stored": stored, "outstanding": outstanding.count})
