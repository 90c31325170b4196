"""Settlement: which rows of a commit are copies of trades that other consumers of the scope store, or have stored.

A batch is settled once, right before its commit, in these steps:

1. Its ids are claimed, all in one call. An id that somebody else has claimed makes a suspect, and never a verdict.
2. Suspects wait until each of these claims is *decided*: its commit is in the table, or can never be there, because
   the table's checkpoint of its partition is another one than the commit was to be put on.
3. Then the table is asked for all of them. What it holds is a copy, and goes; a reprint is marked.
4. The claims of the others are taken over in one call. What somebody has taken over meanwhile is a suspect again.
5. The batch is committed, as a whole or not at all, and its claims are confirmed.

No clock decides, and no store does: both can only make a suspect wait, or make one too many. A claim whose owner is
gone would be waited for without end, so after some patience its partition is *fenced*: a commit without rows moves the
table's checkpoint, and the owner's commit is refused, should it come.

Where the store does not answer, or has lost claims, the guarantee is REDUCED: trades are stored although copies of them
may be, too, and they are counted. Of any two copies in the table at least one was stored by such a batch. No trade is
dropped that is not in the table.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from k2ctl.clock import Clock
from k2ctl.dedup.shared.claims import ClaimBatch, Claimed, ClaimStore, Covered, GenerationLost, Ticket, tickets_of
from k2ctl.dedup.shared.coverage import uncovered
from k2ctl.dedup.shared.healing import Healer
from k2ctl.dedup.shared.settled import Settled, Unsettled
from k2ctl.dedup.shared.waiting import LEAST_PATIENCE_S, ClaimWaiter, SettledTable, SettlementTotals, moved_by
from k2ctl.domain.checkpoint import Checkpoints, OffsetDelta, TopicPartition
from k2ctl.domain.dedup_status import TierStatus
from k2ctl.domain.rows import Rows
from k2ctl.domain.status_parts import REDUCED, SHARED
from k2ctl.errors import LakeUnanswered, StateError, first_line
from k2ctl.lake.written_offer import Committed
from k2ctl.sequence.lines.totals import LineTotals

UNHEALED: Final = "claims of stored trades are missing"

LOG: Final = logging.getLogger("k2ctl.dedup")

RETRY_FIRST_S: Final = 1.0
RETRY_MOST_S: Final = 30.0
"""For how long a store that has failed is not asked: a commit spends a second on it, and not every commit does."""


class Settlement:
    """Settles the batches of one consumer, one at a time, on its committing thread."""

    def __init__(
        self,
        store: ClaimStore,
        table: SettledTable,
        consumer: str,
        topic: str | None,
        clock: Clock,
        patience_s: float = LEAST_PATIENCE_S,
        healer: Healer | None = None,
        lines: LineTotals | None = None,
    ) -> None:
        """topic: the scope; None for all topics of the table. healer: adds claims that are missing. lines: take note of
        what is stored, and of copies.
        """
        self._store = store
        self._table = table
        self._consumer = consumer
        self._topic = topic
        self._clock = clock
        self._healer = healer
        self._ask_again_s = 0.0
        self._failures = 0
        self._verified = ""
        self._lines = lines or LineTotals({})
        self.totals = SettlementTotals()
        self._waiter = ClaimWaiter(store, table, consumer, clock, patience_s, self.totals)
        # Why copies may pass now; empty while none can.
        self.why_reduced = ""

    def begin(self) -> None:
        """A commit is about to begin; called before it is handed to the committing thread."""
        self._waiter.begin()

    def give_up(self) -> None:
        """Suspects of the commit under way wait no longer: it ends without having stored anything. From any thread."""
        self._waiter.give_up()

    def end_within(self, seconds: float) -> None:
        """The consumer ends: suspects wait for so long yet, in all. From any thread."""
        self._waiter.end_within(seconds)

    def settle(self, parts: Sequence[Rows], moved: Mapping[TopicPartition, OffsetDelta], base: Checkpoints) -> Settled:
        """Steps 1 to 4. moved: what the commit does to each partition, if the table stands at `base`.

        Raises:
            SettlementGivenUp: `give_up` or `end_within` says so. LakeError: the table cannot be asked.
        """
        batch = Unsettled(parts, moved, base)
        if self._clock.monotonic_s() < self._ask_again_s:
            return batch.settled(None, self.why_reduced)
        if not batch.is_of_known_partitions:
            return batch.settled(None, "the table does not know a partition yet")
        try:
            claimed = self._claimed(batch.record(self._consumer), batch.ids, batch.times_us, batch.places)
        except StateError as error:
            return batch.settled(None, self._failed(error))
        why = self._why_uncovered(claimed.covered, base)
        holders = claimed.holders
        suspects = np.flatnonzero(_others(holders, claimed.ticket))
        self.totals.ids += len(batch)
        self.totals.hits += len(suspects)
        try:
            while len(suspects):
                suspects = self._round(batch, claimed.ticket, holders, suspects)
        except StateError as error:
            why = self._failed(error)
        finally:
            self._waiter.waiting, self._waiter.waits_for = 0, ""
        settled = batch.settled(claimed.ticket, why)
        self.totals.copies += len(batch) - settled.rows
        return settled

    def _round(self, batch: Unsettled, ticket: Ticket, holders: np.ndarray, suspects: np.ndarray) -> np.ndarray:
        """Steps 2 to 4, once; returns the suspects that are left, and notes whose claims they meet now."""
        trouble: StateError | None = None
        try:
            for holder, place in self._waiter.wait(holders[suspects], batch).items():
                batch.places[suspects[holders[suspects] == holder]] = place
        except StateError as error:
            trouble = error
        left = batch.judge(suspects, self._table.find)
        if trouble is not None:
            raise trouble  # without the store nobody is waited for; what is stored already goes all the same
        if not len(left):
            return left
        self.totals.round_trips += 1
        found = self._store.take_over(ticket, batch.ids[left], batch.times_us[left], batch.places[left], holders[left])
        holders[left] = found
        return np.asarray(left[_others(found, ticket)])

    def confirm(self, settled: Settled, committed: Committed) -> None:
        """Step 5: the commit is decided, one way or the other."""
        why = settled.why_reduced
        moved = moved_by(settled.partitions, committed)
        if settled.ticket is not None and moved:
            self.totals.round_trips += 1
            try:
                is_whole = self._store.confirm(settled.ticket, moved)
                self._failures = 0
            except StateError as error:
                is_whole, why = False, self._failed(error)
            if not is_whole and not why:
                why = "claims were lost while they were committed"
        self.why_reduced = why
        if moved:
            for part in settled.parts:
                self._lines.note(len(part.rows), part.copied)
        if committed.snapshot_id is not None and why:
            self.totals.stored_reduced += settled.rows
            self.totals.unclaimed += settled.rows if settled.ticket is None else 0

    def status(self) -> TierStatus:
        """How it goes. From any thread."""
        why, progress = self.why_reduced, self._healer.progress if self._healer is not None else None
        if progress is not None:
            why = f"{UNHEALED}: healing {progress.percent} %"
        return TierStatus(
            guarantee=REDUCED if why else SHARED,
            why=why,
            waiting=self._waiter.waiting,
            waits_for=self._waiter.waits_for,
            lines=self._lines.status(),
            **vars(self.totals),
        )

    def close(self) -> None:
        """No batch is settled any more."""
        if self._healer is not None:
            self._healer.close()
        self._table.close()
        self._store.close()

    # The store.

    def _claimed(self, record: ClaimBatch, ids: np.ndarray, times_us: np.ndarray, places: np.ndarray) -> Claimed:
        self.totals.round_trips += 1
        claimed = self._store.claim(record, ids, times_us, places)
        self._failures = 0
        return claimed

    def _failed(self, error: StateError) -> str:
        """Take note of a failure; returns what reduces the guarantee."""
        if not isinstance(error, GenerationLost):
            pause_s = min(RETRY_MOST_S, RETRY_FIRST_S * 2.0**self._failures)
            self._failures += 1
            self._ask_again_s = self._clock.monotonic_s() + pause_s
        why = first_line(error)
        if not self.why_reduced:
            LOG.warning("copies across partitions may be stored: %s", why)
        self.why_reduced = why
        return why

    def _why_uncovered(self, covered: Covered, base: Checkpoints) -> str:
        """Why copies of trades that were stored before may pass; empty if all of these are claimed.

        The table as this consumer knows it is not the newest. What it lacks was claimed in the same generation, or
        counted as reduced; of another generation nothing is known, so the table is asked.
        """
        table = base
        if covered.generation != self._verified:
            try:
                table = self._table.checkpoints()
            except LakeUnanswered as error:
                return first_line(error)
        missing = uncovered(covered, table, self._topic)
        if missing:
            if self._healer is not None:
                self._healer.wake()
            return UNHEALED
        self._verified = covered.generation
        return ""


def _others(holders: np.ndarray, ticket: Ticket) -> np.ndarray:
    """bool[n]: which claims are another's."""
    return np.asarray((holders != 0) & (tickets_of(holders) != ticket.number))
