"""Step 3: drop the copies of trades of the last 24 hours. No good trade is ever taken for a copy.

What is remembered are message ids. Those made of a feed session and a sequence number are dense, so interval sets hold
a whole day in a few bytes per session. Other ids (random, digests) go to Bloom chunks. Either way an id that was there
before makes a suspect and never a verdict: a copy is the same in more than its id (`k2ctl.domain.copies`). What has the
id, symbol, exchange and time of a trade and another price or quantity is a reprint of it: it is stored, marked as one.

The verdict on suspects is that of `k2ctl.dedup.judge`. Ids of rows that did not reach the table do no harm: they make
suspects, which are looked up.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from k2ctl.clock import Clock
from k2ctl.dedup.bloom import words_of
from k2ctl.dedup.chunk_plan import ChunkPlan
from k2ctl.dedup.chunks import ChunkSeries, Probe
from k2ctl.dedup.judge import Judge, JudgedBatch, Lookup
from k2ctl.domain.checkpoint import Tally, TopicPartition
from k2ctl.domain.copies import CopyIndex
from k2ctl.domain.dedup_status import DedupStatus, Judged
from k2ctl.domain.figure import combined
from k2ctl.domain.intervals import NUMBER_BITS, IntervalSets
from k2ctl.domain.rows import Rows

SEQUENCED_BELOW: Final = np.uint64((1 << NUMBER_BITS) - 1)
"""The second half of an id that is a sequence number; of random ids, one in 2^24 looks like one, which does no harm."""


@dataclass
class Memory:
    """What deduplication remembers, and what is saved of it."""

    series: ChunkSeries
    sequenced: IntervalSets = field(default_factory=IntervalSets)
    # The offsets before which rows may be remembered that a consumer read, and ended before it stored them.
    pending_ends: dict[TopicPartition, int] = field(default_factory=dict)

    @classmethod
    def empty(cls, plan: ChunkPlan) -> "Memory":
        """Nothing was ever seen."""
        return cls(ChunkSeries(plan))

    def absorb(self, other: "Memory") -> None:
        """Remember all that another does."""
        self.series.absorb(other.series)
        self.sequenced.absorb(other.sequenced)
        self.pending_ends = later_ends(self.pending_ends, other.pending_ends)

    def may_be_reread(self, rows: Rows) -> np.ndarray:
        """bool[n]: rows that a consumer may have remembered before it ended."""
        numbers, which = np.unique(rows.partition, return_inverse=True)
        ends = [self.pending_ends.get(TopicPartition(rows.topic, rows.epoch, one), 0) for one in numbers.tolist()]
        below: np.ndarray = rows.offset < np.array(ends, np.int64)[which]
        return below


def later_ends(some: dict[TopicPartition, int], others: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
    """Of each partition the later offset."""
    return {one: max(some.get(one, 0), others.get(one, 0)) for one in some.keys() | others.keys()}


class HybridDeduplicator:
    """Remembers message ids; one per consumer, fed in the order of the partitions, on the consumer's thread."""

    def __init__(self, memory: Memory, lookup: Lookup, clock: Clock) -> None:
        self.memory = memory
        self._judge = Judge(lookup, clock)
        self._clock = clock

    def step(self, rows: Rows, tally: Tally) -> Rows:
        """The rows that are new; counts the others as `duplicate`. A replay (same identity in Kafka) is not counted.

        Raises:
            LakeError: suspects cannot be looked up.
        """
        verdict = self._check(rows, replays_pass=True)
        if verdict.seen.any():
            tally.add("duplicate", rows.partition[verdict.seen])
        return verdict.new

    def remember(self, rows: Rows) -> Rows:
        """Take in rows that are backfilled; the new ones, without those of which the very row is stored.

        Raises:
            LakeError: suspects cannot be looked up.
        """
        return self._check(rows, replays_pass=False).new

    def _check(self, rows: Rows, *, replays_pass: bool) -> JudgedBatch:
        """Suspects by their ids are judged, then what is new is remembered."""
        words, now_us, memory = words_of(rows.trades["message_id"]), self._clock.now_us(), self.memory
        batch, sequenced = CopyIndex(rows.trades), words[:, 1] < SEQUENCED_BELOW
        if sequenced.all():
            suspects = memory.sequenced.add(words[:, 0], words[:, 1], now_us)
            return self._judge.judge(rows, batch, suspects, replays_pass=replays_pass)
        suspects = batch.within.copies | batch.within.reprints
        others: slice | np.ndarray = slice(None)
        if sequenced.any():
            others = ~sequenced
            suspects[sequenced] |= memory.sequenced.add(words[sequenced, 0], words[sequenced, 1], now_us)
        ids, times = words[others], rows.trades["event_ns"][others] // 1000
        probe = memory.series.probe(ids, times)
        suspects[others] |= probe.suspects
        verdict = self._judge.judge(rows, batch, suspects, replays_pass=replays_pass)
        self._count(probe, others, rows, verdict)
        if verdict.seen.any():
            fresh = ~verdict.seen[others]
            ids, times = ids[fresh], times[fresh]
        memory.series.add(ids, times, now_us)
        return verdict

    def _count(self, probe: Probe, others: slice | np.ndarray, rows: Rows, verdict: JudgedBatch) -> None:
        """Count what the chunks were asked, and what their hits turned out to be.

        A hit that is new after all is a false positive, unless a consumer remembered the very row before it ended.
        """
        judged = self._judge.judged
        judged.ids_tested += probe.ids_tested
        judged.chunk_tests += probe.chunk_tests
        judged.beyond_memory += int(np.count_nonzero(probe.forgotten))
        hits = int(np.count_nonzero(probe.hits))
        if not hits:
            return
        is_hit = np.zeros(len(rows), np.bool_)
        is_hit[others] = probe.hits
        cleared = verdict.cleared[is_hit[verdict.cleared]]
        reread = int(self.memory.may_be_reread(rows.take(cleared)).sum()) if len(cleared) else 0
        judged.hits_confirmed += hits - len(cleared)
        judged.hits_false += len(cleared) - reread
        judged.hits_reread += reread

    def seal(self) -> None:
        """A commit begins, of all rows that were remembered so far."""
        self._judge.pending.seal()

    def publish(self) -> None:
        """The commit that was begun first is through: its rows are in the table. Forgets what is past the window."""
        self._judge.pending.publish()
        now_us, series = self._clock.now_us(), self.memory.series
        series.expire(now_us)
        self.memory.sequenced.forget(now_us - series.plan.window_us)

    def pending_ends(self) -> dict[TopicPartition, int]:
        """The offset after the last row of each partition that is remembered and may not be stored."""
        return later_ends(self.memory.pending_ends, self._judge.pending.ends())

    def count_on(self, before: "HybridDeduplicator") -> None:
        """Begin the totals where those of the deduplicator before ended."""
        self._judge.judged = Judged(**combined(Judged, [self._judge.judged, before._judge.judged]))
        self.memory.series.forgotten_early += before.memory.series.forgotten_early

    def statistics(self) -> DedupStatus:
        """What is remembered, and what was judged."""
        series, sequenced = self.memory.series, self.memory.sequenced
        held = series.size_bytes + sequenced.size_bytes
        return DedupStatus(
            sessions=sequenced.keys,
            intervals=len(sequenced),
            other_ids=series.ids,
            chunks=len(series),
            chunks_forgotten_early=series.forgotten_early,
            planned_error_rate=series.plan.look_up_error_rate,
            pending_ids=len(self._judge.pending),
            bytes=held,
            planned_bytes=series.plan.limit * series.plan.chunk_bytes + sequenced.size_bytes,
            **vars(self._judge.judged),
        )
