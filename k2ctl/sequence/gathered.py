"""Small batches on their way to the tracker, followed together: a batch of one costs the tracker as much as one of 500.

What the tracker makes of trades does not depend on how they are cut into batches. So trades wait here until they are
many, or until somebody asks what the tracker knows.
"""

from typing import Final

import numpy as np

from k2ctl.domain.trade import TRADE
from k2ctl.sequence.tracker import SequenceTracker

GATHERED_MOST: Final = 8_192
"""Trades that wait, at most: from so many on the tracker's time a trade is what it is in the largest batches."""


class GatheredSteps:
    """Takes the steps of a tracker. What is known of the trades is asked of `tracker`."""

    def __init__(self, tracker: SequenceTracker) -> None:
        self._tracker = tracker
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._count = 0

    def step(self, trades: np.ndarray, partition: np.ndarray) -> None:
        """As `SequenceTracker.step`. Neither array may change any more."""
        self._waiting.append((trades, partition))
        self._count += len(trades)
        if len(trades) >= GATHERED_MOST:
            last = self._waiting.pop()
            self.follow()
            self._tracker.step(*last)
        elif self._count >= GATHERED_MOST:
            self.follow()

    @property
    def tracker(self) -> SequenceTracker:
        """The tracker, which has followed all trades by now."""
        self.follow()
        return self._tracker

    def follow(self) -> None:
        """Let the tracker follow what waits."""
        waiting, self._waiting, self._count = self._waiting, [], 0
        if len(waiting) == 1:
            self._tracker.step(*waiting[0])
        elif waiting:
            trades, partitions = zip(*waiting, strict=True)
            # Bytes are joined five times as fast as arrays are where these have a few trades each.
            content = bytearray().join([np.ascontiguousarray(part) for part in trades])  # type: ignore[misc]  # buffers
            self._tracker.step(np.frombuffer(content, TRADE.message), np.concatenate(partitions))
