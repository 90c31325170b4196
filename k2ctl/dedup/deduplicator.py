"""Step 3: drop the copies of trades of the last 24 hours. No good trade is ever taken for a copy.

What is remembered are message ids. Those made of a feed session and a sequence number are dense, so interval sets hold
a whole day in a few bytes per session. Other ids (random uuids) go to Bloom chunks. Either way an id that was there
before makes a suspect and never a verdict: a copy is the same in more than its id (`k2ctl.domain.copies`).

Ids of rows that did not reach the table do no harm: they make suspects, which are looked up.
"""

from dataclasses import asdict, dataclass, field
from typing import Final

import numpy as np

from k2ctl.clock import Clock
from k2ctl.dedup.bloom import words_of
from k2ctl.dedup.chunks import ChunkPlan, ChunkSeries
from k2ctl.dedup.judging import Judge, Lookup
from k2ctl.domain.copies import CopyIndex
from k2ctl.domain.intervals import NUMBER_BITS, IntervalSets
from k2ctl.domain.rows import Rows
from k2ctl.domain.tally import Tally

SEQUENCED_BELOW: Final = np.uint64((1 << NUMBER_BITS) - 1)
"""The second half of an id that is a sequence number; of random ids, one in 2^24 looks like one, which does no harm."""


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
        self.memory = memory
        self._judge = Judge(lookup)
        self._clock = clock

    def step(self, rows: Rows, tally: Tally) -> Rows:
        """The rows that are new; counts the others as `duplicate`. A replay (same identity in Kafka) is not counted.

        Raises:
            LakeError: suspects cannot be looked up.
        """
        new, seen = self._check(rows, replays_pass=True)
        if new is not rows:
            tally.add("duplicate", rows.partition[seen])
        return new

    def remember(self, rows: Rows) -> Rows:
        """Take in rows that are backfilled; the new ones, without those of which the very row is stored.

        Raises:
            LakeError: suspects cannot be looked up.
        """
        return self._check(rows, replays_pass=False)[0]

    def _check(self, rows: Rows, *, replays_pass: bool) -> tuple[Rows, np.ndarray]:
        """The new rows, and bool[n], which are not: suspects by their ids are judged, then what is new remembered."""
        words, now_us, memory = words_of(rows.trades["message_id"]), self._clock.now_us(), self.memory
        batch, sequenced = CopyIndex(rows.trades), words[:, 1] < SEQUENCED_BELOW
        if sequenced.all():
            suspects = memory.sequenced.add(words[:, 0], words[:, 1], now_us)
            return self._judge.new(rows, batch, suspects, replays_pass=replays_pass)
        suspects = batch.repeats.copy()
        others: slice | np.ndarray = slice(None)
        if sequenced.any():
            others = ~sequenced
            suspects[sequenced] |= memory.sequenced.add(words[sequenced, 0], words[sequenced, 1], now_us)
        ids, times = words[others], rows.trades["timestamp"].astype(np.int64)[others]
        suspects[others] |= memory.series.suspects(ids, times)
        new, seen = self._judge.new(rows, batch, suspects, replays_pass=replays_pass)
        if new is not rows:
            fresh = ~seen[others]
            ids, times = ids[fresh], times[fresh]
        memory.series.add(ids, times, now_us)
        return new, seen

    def seal(self) -> None:
        """A commit begins, of all rows that were remembered so far."""
        self._judge.pending.seal()

    def publish(self) -> None:
        """The commit that was begun first is through: its rows are in the table. Forgets what is past the window."""
        self._judge.pending.publish()
        now_us, series = self._clock.now_us(), self.memory.series
        series.expire(now_us)
        self.memory.sequenced.forget(now_us - series.plan.window_us)

    def statistics(self) -> dict[str, int]:
        """What is remembered. bytes: what it takes; planned_bytes: what it may take by plan; the rest are counts."""
        series, sequenced = self.memory.series, self.memory.sequenced
        held = series.size_bytes + sequenced.size_bytes
        return {
            "sessions": sequenced.keys,
            "intervals": len(sequenced),
            "other_ids": series.ids,
            "chunks": len(series),
            "chunks_forgotten": series.forgotten,
            "pending_ids": len(self._judge.pending),
            "bytes": held,
            "planned_bytes": series.plan.limit * series.plan.chunk_bytes + sequenced.size_bytes,
            **asdict(self._judge.judged),
        }
