"""Step 3: drop trades whose message_id was seen before. Exact: no good trade is ever taken for a duplicate.

An id is a feed session and a sequence number, and sessions are dense, so interval sets hold a whole day in a few
bytes per session. Ids of other kinds (random uuids) are kept one by one.

What is remembered here lives and dies with the process. It is rebuilt from the table at every start, so that
nothing counts as seen whose row is not stored or still in this process's hands.
"""

import sys

import numpy as np

from k2ctl.pipeline.tally import Tally
from k2ctl.schema.rows import Rows
from k2ctl.state.intervals import NUMBER_BITS, IntervalSets


class Deduplicator:
    """Remembers message ids; one per consumer, fed in the order of the partitions."""

    def __init__(self) -> None:
        self._sequenced = IntervalSets()
        self._others: set[bytes] = set()

    def step(self, rows: Rows, tally: Tally) -> Rows:
        """The rows that are new; counts the others as `duplicate`."""
        seen = self.remember(rows.trades["message_id"])
        if not seen.any():
            return rows
        tally.add("duplicate", rows.partition[seen])
        return rows.take(~seen)

    def remember(self, message_ids: np.ndarray) -> np.ndarray:
        """Add ids (V16[n]); returns bool[n], true where an id was there or came earlier in the batch."""
        words = np.ascontiguousarray(message_ids).view(">u8").reshape(-1, 2)
        sessions, numbers = words[:, 0].astype(np.uint64), words[:, 1].astype(np.uint64)
        sequenced = numbers < np.uint64((1 << NUMBER_BITS) - 1)
        if sequenced.all():
            return self._sequenced.add(sessions, numbers)
        seen = np.zeros(len(words), np.bool_)
        seen[sequenced] = self._sequenced.add(sessions[sequenced], numbers[sequenced])
        seen[~sequenced] = self._remember_others(message_ids[~sequenced])
        return seen

    def _remember_others(self, message_ids: np.ndarray) -> np.ndarray:
        seen = np.zeros(len(message_ids), np.bool_)
        for at, message_id in enumerate(message_ids.tolist()):
            if message_id in self._others:
                seen[at] = True
            else:
                self._others.add(message_id)
        return seen

    def statistics(self) -> dict[str, int]:
        """What is remembered, and about how many bytes it takes."""
        intervals, sessions, others = len(self._sequenced), self._sequenced.keys, len(self._others)
        size = 16 * (intervals + sessions) + sys.getsizeof(self._others) + 49 * others
        return {"sessions": sessions, "intervals": intervals, "other_ids": others, "bytes": size}
