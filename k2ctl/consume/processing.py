"""A batch of records through steps 1 to 5 of the design's section 4: decode, admit, dedup, sequence, enrich."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from k2ctl.consume.pending_checkpoint import PendingCheckpoint
from k2ctl.consume.platform import Platform
from k2ctl.consume.priority_lanes import PriorityReader
from k2ctl.consume.trade_state import TradeState
from k2ctl.deferred.admission import SHED, SPILL, Admitted, mask_of
from k2ctl.domain.rows import Rows
from k2ctl.feeds.decode import decode_batch
from k2ctl.kafka.dead_letters import DeadLetter
from k2ctl.kafka.reader import Fetched

BATCH_TRADES: Final = 50_000
"""Trades that go through the steps together, about: enough to make numpy's fixed costs small."""

LEAST_BATCH_RECORDS: Final = 100
"""The size of the first batch, and the smallest: how many trades a record holds is not known before it."""


CRITICAL_FIRST_FROM: Final = 3
"""From AGGRESSIVE on the CRITICAL lane is read first, and the others with what is left (design, section 5)."""


class BatchProcessor:
    """Reads batches and takes them into a pending checkpoint; what they teach goes into the assignment's state."""

    def __init__(self, platform: Platform, reader: PriorityReader, state: TradeState) -> None:
        self._platform = platform
        self._reader = reader
        self._state = state
        self.batch_records = LEAST_BATCH_RECORDS
        """Records to read next, by the trades that the last ones held."""

    def read_into(self, checkpoint: PendingCheckpoint) -> None:
        """Read a batch, and take it through the steps."""
        reader, before = self._reader, self._reader.positions
        fetched = reader.fetch(
            self.batch_records,
            self._platform.plan.profile.consumer.fetch_batch,
            critical_first=self._platform.pressure.number >= CRITICAL_FIRST_FROM,
        )
        spans = checkpoint.note_read(fetched, before, reader.positions, reader.holes(), reader.oldest_critical_ms)
        if len(fetched):
            self.process(fetched, spans, checkpoint)

    def process(self, fetched: Fetched, spans: Mapping[int, tuple[int, int]], checkpoint: PendingCheckpoint) -> None:
        """Take n records through the steps. spans: what was read of each partition, as `note_read` returns it."""
        platform, timed = self._platform, self._platform.steps.timed
        with timed("decode"):
            decoded, dead_letters = self._decoded(fetched, checkpoint)
        checkpoint.add_dead_letters(dead_letters)
        with timed("admit"):
            admitted = self._admitted(decoded, spans, checkpoint)
        with timed("dedup"):
            rows = self._state.deduplicator.step(admitted.process, checkpoint.tally)
        with timed("sequence"):
            self._state.tracker.step(rows.trades, rows.partition)
        if platform.pressure.level.enrich:
            with timed("enrich"):
                rows = platform.references.table.step(rows)
        checkpoint.add_rows(rows)
        self._account(len(fetched), len(decoded), admitted)

    def _decoded(self, fetched: Fetched, checkpoint: PendingCheckpoint) -> tuple[Rows, list[DeadLetter]]:
        platform = self._platform
        return decode_batch(
            fetched,
            platform.topic,
            platform.epoch,
            platform.kafka_time.now_us(fetched.newest_ms),
            checkpoint.tally,
            platform.plan.profile.topic.format,
            platform.kafka_time.checked_us,
        )

    def _admitted(self, rows: Rows, spans: Mapping[int, tuple[int, int]], checkpoint: PendingCheckpoint) -> Admitted:
        """Divide by the level. What it defers goes into the checkpoint: shed trades as ranges, spilled ones as rows."""
        admission, pressure = self._platform.admission, self._platform.pressure
        actions = admission.actions(pressure.level, spill_works=not self._platform.spiller.trouble)
        admitted = admission.step(rows, actions)
        if actions.any():
            shed_mask = mask_of(actions, SHED)
            if shed_mask:
                entries = admission.shed_entries(admitted.shed, spans, pressure.number, shed_mask)
                checkpoint.add_shed(admitted.shed, entries)
            checkpoint.add_spilled(admitted.spill, mask_of(actions, SPILL), pressure.number)
            for deferred in (admitted.shed, admitted.spill):
                self._state.tracker.note_deferred(deferred.trades, deferred.partition)
        return admitted

    def _account(self, records: int, trades: int, admitted: Admitted) -> None:
        """Count the batch, and choose the size of the next."""
        pressure, totals = self._platform.pressure, self._platform.totals
        pressure.budget.spend(len(admitted.process))
        # A record in which nothing can be decoded weighs like one that holds a trade.
        wanted = pressure.batch_limit(BATCH_TRADES) * records / max(records, trades)
        self.batch_records = max(LEAST_BATCH_RECORDS, round(wanted))
        totals.records += records
        totals.trades += trades
        totals.by_priority += np.asarray(admitted.counts)
