"""Ids without a sequence (random uuids): suspected by Bloom chunks, judged by what is pending and what is stored."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from k2ctl.lake.reading.suspects import Stored
from k2ctl.schema.rows import Rows
from k2ctl.state.chunks import ChunkSeries
from k2ctl.state.pending_ids import PendingIds


class Lookup(Protocol):
    """Where suspects are looked up; `k2ctl.lake.reading.suspects.SuspectLookup` is the one in use."""

    def find(self, rows: Rows) -> Stored:
        """What the table holds of some trades."""
        ...


@dataclass
class Judged:
    """What became of ids so far. checked: all. suspects: what the chunks did not clear. pending, stored: found there.
    cleared: suspects that were new after all. replays: read again by Kafka's doing. queries: to the lake.
    """

    checked: int = 0
    suspects: int = 0
    pending: int = 0
    stored: int = 0
    cleared: int = 0
    replays: int = 0
    queries: int = 0


class UnsequencedIds:
    """Tells the new from the seen. The chunks only spare look-ups: what they hold may be too much, never too little."""

    def __init__(self, series: ChunkSeries, lookup: Lookup) -> None:
        self.series = series
        self.pending = PendingIds()
        self.judged = Judged()
        self._lookup = lookup

    def check(self, rows: Rows, words: np.ndarray, now_us: int, *, replays_pass: bool) -> np.ndarray:
        """bool[n]: which of the rows (ids uint64[n, 2]) were seen; the others are pending from here on.

        1. Copies within the batch: the first one goes on.
        2. Suspects: a chunk may hold them, or they are from before what is remembered.
        3. Those among the pending were seen.
        4. The rest is looked up in the lake, in one query. A row with the same identity in Kafka is a replay: the
           commit, which compares offsets, says whether it is stored again. Without `replays_pass` it was seen.
        5. What is new is added to the chunks and to the pending.

        Raises:
            LakeError: the lake does not answer, so suspects cannot be judged; nothing was taken in.
        """
        times = rows.trades["timestamp"].astype(np.int64)
        order, seen = sorted_ids(words)
        at = np.flatnonzero(~seen & self.series.suspects(words, times))
        held = self.pending.contains(words[at])
        seen[at[held]] = True
        self._judge(rows, seen, at[~held], replays_pass=replays_pass)
        new = ~seen
        self.pending.add(words[order[new[order]]])
        self.series.add(words[new], times[new], now_us)
        self.judged.checked += len(words)
        self.judged.suspects += len(at)
        self.judged.pending += int(held.sum())
        return seen

    def _judge(self, rows: Rows, seen: np.ndarray, at: np.ndarray, *, replays_pass: bool) -> None:
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


def sorted_ids(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order of ids (uint64[n, 2]) by their first half, int64[n]; and bool[n], which came earlier in the batch."""
    copies = np.zeros(len(words), np.bool_)
    order = np.argsort(words[:, 0])
    first = words[order, 0]
    if (first[1:] == first[:-1]).any():
        order = np.lexsort((words[:, 1], words[:, 0]))  # stable, so that the first of equals stays first
        ordered = words[order]
        copies[order[1:]] = (ordered[1:] == ordered[:-1]).all(axis=1)
    return order, copies
