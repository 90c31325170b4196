"""Step 3: drop the copies of trades of the last 24 hours. No good trade is ever taken for a copy.

What is remembered are message ids. Those made of a feed session and a sequence number are dense, so interval sets hold
a whole day in a few bytes per session. Other ids (random, digests) go to Bloom chunks. Either way an id that was there
before makes a suspect and never a verdict: a copy is the same in more than its id (`k2ctl.domain.copies`). What has the
id, symbol, exchange and time of a trade and another price or quantity is a reprint of it: it is stored, marked as one.

The verdict on suspects is `Judge`'s. Ids of rows that did not reach the table do no harm: they make suspects, which are
looked up.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from k2ctl.clock import Clock
from k2ctl.dedup.bloom import words_of
from k2ctl.dedup.chunk_plan import ChunkPlan
from k2ctl.dedup.chunks import ChunkSeries
from k2ctl.domain.checkpoint import Tally
from k2ctl.domain.copies import CopyIndex, Met
from k2ctl.domain.intervals import NUMBER_BITS, IntervalSets
from k2ctl.domain.rows import Rows
from k2ctl.domain.status_parts import DedupStatus, Judged
from k2ctl.lake.stored_lookup import Stored


class Lookup(Protocol):
    """Where suspects are looked up; `k2ctl.lake.stored_lookup.SuspectLookup` is the one in use."""

    def find(self, rows: Rows) -> Stored:
        """What the table holds of some trades."""


class PendingTrades:
    """Trades whose rows are in this process and not yet in the table: of the commit under way, and of the next one.

    Exact. The trades are those of the rows to store, not copies of them, and are indexed at the first suspect.
    """

    def __init__(self) -> None:
        self._commits: deque[list[CopyIndex]] = deque([[]])

    def __len__(self) -> int:
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

    def met(self, suspects: CopyIndex) -> Met:
        """Which trades are copies and reprints of pending ones."""
        copies, reprints = (np.zeros(len(suspects), np.bool_) for _ in range(2))
        for batch in (batch for batches in self._commits for batch in batches):
            if len(suspects):
                met = batch.met(suspects)
                copies |= met.copies
                reprints |= met.reprints
        return Met(copies, reprints & ~copies)


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
        4. Reprints of any of these go on, marked.

        batch: the rows' trades. suspects: bool[n]; of trades with one id all but the first at least.

        Raises:
            LakeError: the lake does not answer, so suspects cannot be judged; nothing was taken in.
        """
        judged = self.judged
        judged.checked += len(rows)
        if not suspects.any():
            self.pending.add(batch)
            return rows, suspects
        seen, reprints = batch.within.copies.copy(), batch.within.reprints.copy()
        at = np.flatnonzero(suspects & ~seen)
        pending = self.pending.met(batch.take(at))
        seen[at[pending.copies]], reprints[at[pending.reprints]] = True, True
        self._look_up(rows, seen, reprints, at[~pending.copies], replays_pass=replays_pass)
        kept = rows.with_reprints(reprints & ~seen)
        kept = kept.take(~seen) if seen.any() else kept
        self.pending.add(batch if kept is rows else CopyIndex(kept.trades))
        judged.suspects += len(at)
        judged.pending += int(pending.copies.sum())
        judged.reprints += int((reprints & ~seen).sum())
        return kept, seen

    def _look_up(
        self, rows: Rows, seen: np.ndarray, reprints: np.ndarray, at: np.ndarray, *, replays_pass: bool
    ) -> None:
        if not len(at):
            return
        stored = self._lookup.find(rows.take(at))
        reprints[at[stored.reprinted]] = True
        replays = stored.itself
        copies = stored.elsewhere & ~replays if replays_pass else stored.elsewhere | replays
        seen[at[copies]] = True
        judged = self.judged
        judged.queries += 1
        judged.stored += int(copies.sum())
        judged.replays += int(replays.sum())
        judged.cleared += int((~copies & ~replays).sum())


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
        if seen.any():
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
        suspects = batch.within.copies | batch.within.reprints
        others: slice | np.ndarray = slice(None)
        if sequenced.any():
            others = ~sequenced
            suspects[sequenced] |= memory.sequenced.add(words[sequenced, 0], words[sequenced, 1], now_us)
        ids, times = words[others], rows.trades["event_ns"][others] // 1000
        suspects[others] |= memory.series.suspects(ids, times)
        new, seen = self._judge.new(rows, batch, suspects, replays_pass=replays_pass)
        if seen.any():
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

    def statistics(self) -> DedupStatus:
        """What is remembered, and what was judged."""
        series, sequenced = self.memory.series, self.memory.sequenced
        held = series.size_bytes + sequenced.size_bytes
        return DedupStatus(
            sessions=sequenced.keys,
            intervals=len(sequenced),
            other_ids=series.ids,
            chunks=len(series),
            chunks_forgotten=series.forgotten,
            pending_ids=len(self._judge.pending),
            bytes=held,
            planned_bytes=series.plan.limit * series.plan.chunk_bytes + sequenced.size_bytes,
            **vars(self._judge.judged),
        )
