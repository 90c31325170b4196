"""Waiting until claims of others are decided, and fencing where that would take without end."""

import logging
import math
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from k2ctl.clock import Clock
from k2ctl.dedup.shared.claims import (
    ClaimBatch,
    ClaimedPartition,
    ClaimStore,
    Coverage,
    places_of,
    tickets_of,
)
from k2ctl.dedup.shared.settled import Unsettled
from k2ctl.domain.checkpoint import Checkpoints, Counts, OffsetDelta, TopicPartition
from k2ctl.domain.rows import Rows
from k2ctl.errors import K2Error, LakeUnanswered
from k2ctl.lake.stored_lookup import Stored
from k2ctl.lake.written_offer import Committed

LOG: Final = logging.getLogger("k2ctl.dedup")

POLL_S: Final = 0.05
LONGEST_POLL_S: Final = 0.25
"""How often it is asked whether claims are decided: at first, and later."""

LEAST_PATIENCE_S: Final = 10.0
PATIENCE_INTERVALS: Final = 5

TABLE_AWAY_S: Final = 60.0


def patience_of(commit_interval_s: float) -> float:
    """How long nothing may move on the partition of a claim until it is fenced."""
    return max(LEAST_PATIENCE_S, PATIENCE_INTERVALS * commit_interval_s)


class SettlementGivenUp(K2Error):
    """The consumer ends, or its partitions go to others, while suspects wait; nothing of the batch was committed."""


class SettledTable(Protocol):
    """What settlement asks of the table; `CommittedTable` is the one in use."""

    def checkpoints(self) -> Checkpoints:
        """Where it stands now. Raises: LakeUnanswered."""
        ...

    def find(self, rows: Rows) -> Stored:
        """What it holds now of some trades. Raises: LakeError."""
        ...

    def move(self, deltas: Mapping[TopicPartition, OffsetDelta]) -> Committed:
        """Commit no rows. Raises: LakeError."""
        ...

    def waits(self) -> bool:
        """Whether it is waited for as long as it takes, where it does not answer."""
        ...

    def close(self) -> None:
        """It is asked nothing more."""
        ...


@dataclass
class SettlementTotals:
    """Counts since the start."""

    # Ids that were claimed, and those of them that another batch had claimed.
    ids: int = 0
    hits: int = 0
    # Trades that were copies of stored ones.
    copies: int = 0
    # Trades that were stored while the guarantee was reduced, and those of them without a claim.
    stored_reduced: int = 0
    unclaimed: int = 0
    # Partitions that were fenced because nothing moved on them.
    fences: int = 0
    # Calls of the store.
    round_trips: int = 0


class ClaimWaiter:
    """Waits for one consumer, on its committing thread."""

    def __init__(
        self,
        store: ClaimStore,
        table: SettledTable,
        consumer: str,
        clock: Clock,
        patience_s: float,
        totals: SettlementTotals,
    ) -> None:
        self._store = store
        self._table = table
        self._consumer = consumer
        self._clock = clock
        self._patience_s = patience_s
        self._totals = totals
        self._given_up = threading.Event()
        self._deadline_s = math.inf
        # Trades that wait now, and whose claims they wait for.
        self.waiting = 0
        self.waits_for = ""

    def begin(self) -> None:
        """What was given up before concerns the next commit no longer."""
        self._given_up.clear()

    def give_up(self) -> None:
        """Wait no longer in the commit under way. From any thread."""
        self._given_up.set()

    def end_within(self, seconds: float) -> None:
        """Wait for so long yet, in all commits together. From any thread."""
        self._deadline_s = self._clock.monotonic_s() + seconds

    def wait(self, holders: np.ndarray, batch: Unsettled) -> dict[int, int]:
        """Wait until the claims of all of these holders are decided.

        Returns those that are on the batch's own base, which its own commit decides, each with the place of that
        partition in the batch: claims that are taken over from them stay with it, because somebody else may yet commit
        there, and whoever meets the claim has to wait until nobody can.
        """
        pairs, counts = np.unique(holders, return_counts=True)
        open_claims = dict(zip(pairs.tolist(), counts.tolist(), strict=True))
        beside: dict[int, int] = {}
        since_s: dict[ClaimedPartition, float] = {}
        pause_s, table_away_s = POLL_S, None
        while True:
            on = self._unconfirmed(open_claims)
            beside |= {holder: batch.place_of(claim) for holder, claim in on.items() if batch.is_beside(claim)}
            on = {holder: claim for holder, claim in on.items() if holder not in beside}
            if on:
                try:
                    table = self._table.checkpoints()
                except LakeUnanswered:
                    table_away_s = self._waited_for_table(table_away_s)
                else:
                    table_away_s = None
                    on = {holder: claim for holder, claim in on.items() if not is_decided(claim, table)}
                    self._fence_stuck(set(on.values()), since_s, table)
            open_claims = {holder: open_claims[holder] for holder in on}
            self.waiting = sum(open_claims.values())
            if not on:
                return beside
            if self._given_up.is_set() or self._clock.monotonic_s() >= self._deadline_s:
                raise SettlementGivenUp(f"{self.waiting} trades wait for {self.waits_for}")
            self._clock.sleep(pause_s)
            pause_s = min(LONGEST_POLL_S, 2 * pause_s)

    def _unconfirmed(self, holders: Collection[int]) -> dict[int, ClaimedPartition]:
        """Holder → what it claims, of those whose commits are not known to be in the table."""
        asked = np.array([*holders], np.int64)
        self._totals.round_trips += 1
        records = self._store.batches(set(tickets_of(asked).tolist()))
        unconfirmed = {}
        for holder, number, place in zip(holders, tickets_of(asked).tolist(), places_of(asked).tolist(), strict=True):
            record = records.get(number)
            # A store that was turned back gives numbers again; what was claimed in it before is not confirmed then.
            if record is None or record.confirmed or place >= len(record.partitions):
                continue
            if record.partitions[place].base:
                unconfirmed[holder] = record.partitions[place]
                self.waits_for = f"{record.consumer}, which claimed them first"
        return unconfirmed

    def _waited_for_table(self, since_s: float | None) -> float:
        now_s = self._clock.monotonic_s()
        since_s = now_s if since_s is None else since_s
        if now_s - since_s > TABLE_AWAY_S and not self._table.waits():
            self._table.checkpoints()  # raises what it says now
        return since_s

    def _fence_stuck(
        self, claims: Collection[ClaimedPartition], since_s: dict[ClaimedPartition, float], table: Checkpoints
    ) -> None:
        """Fence the partitions of claims that were waited for long enough."""
        now_s = self._clock.monotonic_s()
        stuck = [claim for claim in claims if now_s - since_s.setdefault(claim, now_s) >= self._patience_s]
        deltas = {}
        for at, _ in stuck:
            stands = table.by_partition[at].next_offset
            deltas[at] = OffsetDelta(stands, stands, Counts(), table.by_partition[at].commit_id)
        if not deltas:
            return
        LOG.warning(
            "fenced, because nothing was committed there for %.0f s while trades wait: %s",
            self._patience_s,
            ", ".join(f"partition {at.partition} of {at.topic}" for at in deltas),
        )
        self._fence(deltas)

    def _fence(self, deltas: Mapping[TopicPartition, OffsetDelta]) -> None:
        """Move checkpoints on without moving offsets. It is claimed like any commit, so that coverage goes on."""
        record = ClaimBatch(
            self._consumer, tuple(ClaimedPartition(at, delta.base or "") for at, delta in deltas.items())
        )
        nothing = np.zeros(0, np.int64)
        claimed = self._store.claim(record, np.zeros(0, "V16"), nothing, nothing.astype(np.uint16))
        committed = self._table.move(deltas)
        moved = moved_by(tuple(deltas), committed)
        self._totals.fences += len(moved)
        self._totals.round_trips += 2
        self._store.confirm(claimed.ticket, moved)


def is_decided(claim: ClaimedPartition, table: Checkpoints) -> bool:
    """Whether the commit of a claim is in the table, or can never be; `table` was loaded after the claim was met.

    A commit is put on its base and on no other. So is that of an epoch that was retired, or never.
    """
    stands = table.by_partition.get(claim.partition)
    return stands is None or stands.commit_id != claim.base


def moved_by(partitions: Collection[TopicPartition], committed: Committed) -> dict[TopicPartition, Coverage]:
    """The partitions that a commit moved, and where they stand now."""
    table = committed.checkpoints
    return {
        at: Coverage("", committed.commit_id, table.sequence_number)
        for at in partitions
        if at in table.by_partition and table.by_partition[at].commit_id == committed.commit_id
    }
