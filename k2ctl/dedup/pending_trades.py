"""Trades whose rows are in this process and not yet in the table, commit by commit."""

from collections import deque

import numpy as np

from k2ctl.domain.copies import CopyIndex


class PendingTrades:
    """What was taken in since the last commit that is through: trades of the commit under way, and of the next one.

    Exact. The trades are those of the rows to store, not copies of them, and are indexed once a suspect is looked for.
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
        """A commit begins, of all that was taken in so far."""
        self._commits.append([])

    def publish(self) -> None:
        """The oldest commit that was begun is through: its rows are in the table, and no longer pending."""
        if len(self._commits) > 1:
            self._commits.popleft()

    def holds(self, suspects: CopyIndex) -> np.ndarray:
        """bool[n]: which trades have a copy among the pending."""
        found = np.zeros(len(suspects), np.bool_)
        for batch in (batch for batches in self._commits for batch in batches):
            if len(suspects):
                found |= batch.holds(suspects)
        return found
