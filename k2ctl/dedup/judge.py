"""The verdict on suspects: by what is pending in this process, and else by the lake."""

from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

import numpy as np

from k2ctl.clock import Clock
from k2ctl.domain.checkpoint import TopicPartition
from k2ctl.domain.copies import CopyIndex, Met
from k2ctl.domain.dedup_status import Judged
from k2ctl.domain.rows import Rows
from k2ctl.lake.stored_lookup import Stored


class Lookup(Protocol):
    """Where suspects are looked up; `k2ctl.lake.stored_lookup.SuspectLookup` is the one in use."""

    def find(self, rows: Rows) -> Stored:
        """What the table holds of some trades."""


class PendingTrades:
    """Trades whose rows are in this process and not yet in the table: of the commit under way, and of the next one.

    Exact. The trades are those of the rows to store, not copies of them, and are indexed at the first suspect.
    """

    def __init__(self) -> None:
        self._commits: deque[list[tuple[CopyIndex, Rows]]] = deque([[]])

    def __len__(self) -> int:
        return sum(len(batch) for batch, _ in self._batches())

    def add(self, batch: CopyIndex, rows: Rows) -> None:
        """Take in trades, which are those of the rows; they belong to the next commit."""
        if len(batch):
            self._commits[-1].append((batch, rows))

    def seal(self) -> None:
        """A commit begins, of all trades that were added so far."""
        self._commits.append([])

    def publish(self) -> None:
        """The oldest commit that was begun has succeeded: its rows are in the table, and no longer pending."""
        if len(self._commits) > 1:
            self._commits.popleft()

    def met(self, suspects: CopyIndex) -> Met:
        """Which trades are copies and reprints of pending ones."""
        copies, reprints = (np.zeros(len(suspects), np.bool_) for _ in range(2))
        for batch, _ in self._batches():
            if len(suspects):
                met = batch.met(suspects)
                copies |= met.copies
                reprints |= met.reprints
        return Met(copies, reprints & ~copies)

    def ends(self) -> dict[TopicPartition, int]:
        """The offset after the last pending row of each partition."""
        found: dict[TopicPartition, int] = {}
        for _, rows in self._batches():
            for number in np.unique(rows.partition).tolist():
                end = int(rows.offset[rows.partition == number].max()) + 1
                partition = TopicPartition(rows.topic, rows.epoch, number)
                found[partition] = max(end, found.get(partition, 0))
        return found

    def _batches(self) -> Iterator[tuple[CopyIndex, Rows]]:
        return (batch for batches in self._commits for batch in batches)


class JudgedBatch(NamedTuple):
    """What became of a batch."""

    # The rows that are new; they are pending from here on.
    new: Rows
    # bool[n]: the rows that are not.
    seen: np.ndarray
    # The places of suspects of which nothing is known but the id.
    cleared: np.ndarray


_NONE: Final = np.zeros(0, np.int64)


class Judge:
    """Decides on suspects, and keeps what is pending."""

    def __init__(self, lookup: Lookup, clock: Clock) -> None:
        self.pending = PendingTrades()
        self.judged = Judged()
        self._lookup = lookup
        self._clock = clock

    def judge(self, rows: Rows, batch: CopyIndex, suspects: np.ndarray, *, replays_pass: bool) -> JudgedBatch:
        """Which rows are new, and which were seen.

        1. Copies within the batch: the first one goes on.
        2. Copies of the pending were seen.
        3. The rest is looked up in the lake, in one query. A row with the same identity in Kafka is a replay: the
           commit, which compares offsets, says whether it is stored again. Without `replays_pass` it was seen.
        4. Reprints of any of these go on, marked.

        batch: the rows' trades. suspects: bool[n]; of trades with one id all but the first at least.

        Raises:
            LakeError: the lake does not answer, so suspects cannot be judged; nothing was taken in.
        """
        judged = self.judged
        judged.checked += len(rows)
        if not suspects.any():
            self.pending.add(batch, rows)
            return JudgedBatch(rows, suspects, _NONE)
        seen, reprints = batch.within.copies.copy(), batch.within.reprints.copy()
        at = np.flatnonzero(suspects & ~seen)
        pending = self.pending.met(batch.take(at))
        seen[at[pending.copies]], reprints[at[pending.reprints]] = True, True
        cleared = self._look_up(rows, seen, reprints, at[~pending.copies], replays_pass=replays_pass)
        kept = rows.with_reprints(reprints & ~seen)
        kept = kept.take(~seen) if seen.any() else kept
        self.pending.add(batch if kept is rows else CopyIndex(kept.trades), kept)
        judged.within += int(batch.within.copies.sum())
        judged.suspects += len(at)
        judged.pending += int(pending.copies.sum())
        judged.reprints += int((reprints & ~seen).sum())
        return JudgedBatch(kept, seen, cleared[~reprints[cleared]])

    def _look_up(
        self, rows: Rows, seen: np.ndarray, reprints: np.ndarray, at: np.ndarray, *, replays_pass: bool
    ) -> np.ndarray:
        """Mark what is stored as seen, and reprints of it; returns the places of what is not."""
        if not len(at):
            return at
        started_s = self._clock.monotonic_s()
        stored = self._lookup.find(rows.take(at))
        reprints[at[stored.reprinted]] = True
        replays = stored.itself
        copies = stored.elsewhere & ~replays if replays_pass else stored.elsewhere | replays
        seen[at[copies]] = True
        cleared: np.ndarray = at[~copies & ~replays]
        judged = self.judged
        judged.lookups = judged.lookups.plus(self._clock.monotonic_s() - started_s)
        judged.stored += int(copies.sum())
        judged.replays += int(replays.sum())
        judged.cleared += len(cleared)
        return cleared
