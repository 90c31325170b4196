"""Step 3: drop trades whose message_id was seen in the last 24 hours. No good trade is ever taken for a copy.

Ids made of a feed session and a sequence number are dense, so exact interval sets hold a whole day in a few bytes per
session. Other ids (random uuids) go to Bloom chunks, whose hits are suspects and never verdicts.

What is remembered of rows that are not in the table lives and dies with the process: interval sets are saved without
the pending, and what a chunk holds is only suspected, and looked up.
"""

from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Final

import numpy as np

from k2ctl.clock import Clock
from k2ctl.pipeline.dedup.unsequenced import Lookup, UnsequencedIds
from k2ctl.pipeline.tally import Tally
from k2ctl.schema.rows import Rows
from k2ctl.state.bloom import words_of
from k2ctl.state.chunks import ChunkPlan, ChunkSeries
from k2ctl.state.intervals import NUMBER_BITS, IntervalSets

SEQUENCED_BELOW: Final = np.uint64((1 << NUMBER_BITS) - 1)
"""The second half of an id that is a sequence number; of random ids, one in 2^24 looks like one, and is as exact."""


@dataclass
class Memory:
    """What deduplication remembers, and what is saved of it."""

    series: ChunkSeries
    sequenced: IntervalSets = field(default_factory=IntervalSets)

    @classmethod
    def empty(cls, plan: ChunkPlan) -> "Memory":
        """Nothing was ever seen."""
        return cls(ChunkSeries(plan))

    def absorb(self, other: "Memory") -> None:
        """Remember all that another does."""
        self.series.absorb(other.series)
        self.sequenced.absorb(other.sequenced)


class HybridDeduplicator:
    """Remembers message ids; one per consumer, fed in the order of the partitions, on the consumer's thread."""

    def __init__(self, memory: Memory, lookup: Lookup, clock: Clock) -> None:
        self._plan = memory.series.plan
        self._sequenced = memory.sequenced
        self._others = UnsequencedIds(memory.series, lookup)
        self._pending: deque[list[np.ndarray]] = deque([[]])
        self._clock = clock

    def step(self, rows: Rows, tally: Tally) -> Rows:
        """The rows that are new; counts the others as `duplicate`. A replay (same identity in Kafka) is not counted.

        Raises:
            LakeError: suspects cannot be looked up.
        """
        seen = self._check(rows, replays_pass=True)
        if not seen.any():
            return rows
        tally.add("duplicate", rows.partition[seen])
        return rows.take(~seen)

    def remember(self, rows: Rows) -> np.ndarray:
        """Take in rows that are given back; bool[n], true where an id was seen, or its very row is stored.

        Raises:
            LakeError: suspects cannot be looked up.
        """
        return self._check(rows, replays_pass=False)

    def _check(self, rows: Rows, *, replays_pass: bool) -> np.ndarray:
        words, now_us = words_of(rows.trades["message_id"]), self._clock.now_us()
        sequenced = words[:, 1] < SEQUENCED_BELOW
        if sequenced.all():
            return self._check_sequenced(words, now_us)
        if not sequenced.any():
            return self._others.check(rows, words, now_us, replays_pass=replays_pass)
        seen = np.zeros(len(words), np.bool_)
        others = rows.take(~sequenced)
        seen[~sequenced] = self._others.check(others, words[~sequenced], now_us, replays_pass=replays_pass)
        seen[sequenced] = self._check_sequenced(words[sequenced], now_us)
        return seen

    def _check_sequenced(self, words: np.ndarray, now_us: int) -> np.ndarray:
        seen = self._sequenced.add(words[:, 0], words[:, 1], now_us)
        self._pending[-1].append(words[~seen] if seen.any() else words)
        return seen

    def seal(self) -> None:
        """A commit begins, of all rows that were taken in so far."""
        self._pending.append([])
        self._others.pending.seal()

    def publish(self) -> None:
        """The commit that was begun first is through: its rows are in the table. Forgets what is past the window."""
        if len(self._pending) > 1:
            self._pending.popleft()
        self._others.pending.publish()
        now_us = self._clock.now_us()
        self._others.series.expire(now_us)
        self._sequenced.forget(now_us - self._plan.window_us)

    def committed(self) -> Memory:
        """What may be saved: interval sets of rows that are in the table, and the chunks, which name suspects only."""
        parts = [part for parts in self._pending for part in parts if len(part)]
        if not parts:
            return Memory(self._others.series, self._sequenced)
        words = np.concatenate(parts)
        return Memory(self._others.series, self._sequenced.without(words[:, 0], words[:, 1]))

    def statistics(self) -> dict[str, int]:
        """What is remembered. bytes: what it takes; planned_bytes: what it may take by plan; the rest are counts."""
        series, sequenced = self._others.series, self._sequenced
        held = series.size_bytes + sequenced.size_bytes
        return {
            "sessions": sequenced.keys,
            "intervals": len(sequenced),
            "other_ids": series.ids,
            "chunks": len(series),
            "chunks_forgotten": series.forgotten,
            "pending_ids": len(self._others.pending),
            "bytes": held,
            "planned_bytes": series.plan.limit * series.plan.chunk_bytes + sequenced.size_bytes,
            **asdict(self._others.judged),
        }
