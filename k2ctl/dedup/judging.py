"""The verdict on suspects: copies of trades in the same batch, of pending or of stored trades; or new after all."""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from k2ctl.domain.copies import CopyIndex
from k2ctl.domain.rows import Rows
from k2ctl.lake.stored_lookup import Stored


class Lookup(Protocol):
    """Where suspects are looked up; `k2ctl.lake.stored_lookup.SuspectLookup` is the one in use."""

    def find(self, rows: Rows) -> Stored:
        """What the table holds of some trades."""
        ...


@dataclass
class Judged:
    """Counts of verdicts so far."""

    checked: int = 0
    # Trades with an id that may have been seen, or from before what is remembered.
    suspects: int = 0
    # Copies of trades that were pending, and of stored ones.
    pending: int = 0
    stored: int = 0
    # Suspects that were new after all.
    cleared: int = 0
    # Read again from the same place in Kafka.
    replays: int = 0
    # Queries of the lake.
    queries: int = 0


class PendingTrades:
    """Trades whose rows are in this process and not yet in the table: of the commit under way, and of the next one.

    Exact. The trades are those of the rows to store, not copies of them, and are indexed at the first suspect.
    """

    def __init__(self) -> None:
        self._commits: deque[list[CopyIndex]] = deque([[]])

    def __len__(self) -> int:
        """How many trades are pending."""
        return sum(len(batch) for batches in self._commits for batch in batches)

    def add(self, batch: CopyIndex) -> None:
        """Take in trades; they belong to the next commit."""
        if len(batch):
            self._commits[-1].append(batch)

    def seal(self) -> None:
        """A commit begins, of all trades that were added so far."""
        self._commits.append([])

    def publish(self) -> None:
        """The oldest commit that was begun has succeeded: its rows are in the table, and no longer pending."""
        if len(self._commits) > 1:
            self._commits.popleft()

    def holds(self, suspects: CopyIndex) -> np.ndarray:
        """bool[n]: which trades have a copy among the pending."""
        found = np.zeros(len(suspects), np.bool_)
        for batch in (batch for batches in self._commits for batch in batches):
            if len(suspects):
                found |= batch.holds(suspects)
        return found


class Judge:
    """Decides on suspects, and keeps what is pending."""

    def __init__(self, lookup: Lookup) -> None:
        self.pending = PendingTrades()
        self.judged = Judged()
        self._lookup = lookup

    def new(self, rows: Rows, batch: CopyIndex, suspects: np.ndarray, *, replays_pass: bool) -> tuple[Rows, np.ndarray]:
        """The rows that are new, which are pending from here on, and bool[n], which are not.

        1. Copies within the batch: the first one goes on.
        2. Copies of the pending were seen.
        3. The rest is looked up in the lake, in one query. A row with the same identity in Kafka is a replay: the
           commit, which compares offsets, says whether it is stored again. Without `replays_pass` it was seen.

        batch: the rows' trades. suspects: bool[n]; of copies all but the first at least.

        Raises:
            LakeError: the lake does not answer, so suspects cannot be judged; nothing was taken in.
        """
        judged = self.judged
        judged.checked += len(rows)
        if not suspects.any():
            self.pending.add(batch)
            return rows, suspects
        seen = batch.repeats.copy()
        at = np.flatnonzero(suspects & ~seen)
        held = self.pending.holds(batch.take(at))
        seen[at[held]] = True
        self._look_up(rows, seen, at[~held], replays_pass=replays_pass)
        kept = rows.take(~seen) if seen.any() else rows
        self.pending.add(batch if kept is rows else CopyIndex(kept.trades))
        judged.suspects += len(at)
        judged.pending += int(held.sum())
        return kept, seen

    def _look_up(self, rows: Rows, seen: np.ndarray, at: np.ndarray, *, replays_pass: bool) -> None:
        if not len(at):
            return
        stored = self._lookup.find(rows.take(at))
        replays = stored.itself
        copies = stored.elsewhere & ~replays if replays_pass else stored.elsewhere | replays
        seen[at[copies]] = True
        judged = self.judged
        judged.queries += 1
        judged.stored += int(copies.sum())
        judged.replays += int(replays.sum())
        judged.cleared += int((~copies & ~replays).sum())
