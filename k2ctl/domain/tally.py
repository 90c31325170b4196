"""Counting what becomes of the trades of each partition, between two commits."""

import numpy as np

from k2ctl.domain.checkpoint import COUNT_NAMES, Counts


class Tally:
    """Counts per partition, one numpy row each; `seen` and its parts as in `Counts`."""

    def __init__(self) -> None:
        self._counts = np.zeros((0, len(COUNT_NAMES)), np.int64)

    def add(self, name: str, partition: np.ndarray, amount: np.ndarray | None = None) -> None:
        """Count one (or `amount[i]`) under `name` for each entry of `partition`, int32[n]."""
        if not len(partition):
            return
        highest = int(partition.max()) + 1
        if highest > len(self._counts):
            grown = np.zeros((highest, len(COUNT_NAMES)), np.int64)
            grown[: len(self._counts)] = self._counts
            self._counts = grown
        added = np.bincount(partition, amount, minlength=len(self._counts)).astype(np.int64)
        self._counts[:, COUNT_NAMES.index(name)] += added

    def of(self, partition: int) -> Counts:
        """The counts of one partition."""
        if partition >= len(self._counts):
            return Counts()
        return Counts(*self._counts[partition].tolist())
