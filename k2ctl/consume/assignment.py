"""The partitions that a consumer holds, and all that it remembers of them.

A share is opened as a whole from what the table says, at the start and whenever the group assignments out anew, and
let go
as a whole: nothing that was read and not stored outlives it, so whoever reads those trades next takes them for new.
"""

from collections.abc import Collection, Mapping
from typing import Final

from k2ctl.consume.degradation.pressure import release_freed
from k2ctl.consume.pending import Pending
from k2ctl.consume.platform import Platform
from k2ctl.consume.priority_lanes import PriorityReader
from k2ctl.consume.start import starting_offsets
from k2ctl.dedup.deduplicator import HybridDeduplicator, Memory
from k2ctl.dedup.restore import restore
from k2ctl.dedup.saver import DedupSaver
from k2ctl.deferred.backfill import Backfill
from k2ctl.domain.checkpoint import Checkpoints, TopicPartition
from k2ctl.domain.ledger import Ledger
from k2ctl.lake.stored_lookup import SuspectLookup
from k2ctl.sequence.open_gaps import is_deferred
from k2ctl.sequence.rebuild import rebuild
from k2ctl.sequence.state_sync import StateSync, fences_at
from k2ctl.sequence.store_view import open_store
from k2ctl.sequence.symbol_codec import Gap
from k2ctl.sequence.tracker import SequenceTracker

GROUP: Final = "k2ctl"
"""Where offsets are told to lag monitors. Nobody joins it, so that anybody may."""


class Assignment:
    """Some partitions of the topic, or all of them.

    checkpoints: the table as the assignment was opened from it. highs: the high watermarks of all partitions then.
    committed_offsets: per partition the table's next offset. remembered: rows that were read from the table for it.
    """

    def __init__(self, platform: Platform, partitions: Collection[int] | None) -> None:
        """partitions: those to hold; None for all of them, which nobody else may hold then.

        Raises:
            BrokerError: Kafka does not answer, or is not the one that the table was filled from. LakeError: the table
            does not answer.
        """
        plan, topic = platform.plan, platform.topic
        self.checkpoints: Checkpoints = platform.checkpoints()
        marks = platform.watermarks()
        self.highs = {partition: mark.high for partition, mark in marks.items()}
        self.alone = partitions is None
        self.partitions = frozenset(marks if partitions is None else partitions)
        self._platform = platform
        self.offsets = starting_offsets(self.checkpoints, topic, platform.epoch, marks, self.partitions)
        self.committed_offsets = dict(self.offsets)
        self.pending = Pending(topic, platform.epoch)
        if not plan.backfill:
            # The first commit names every partition, so that what is deleted before it is read counts as lost.
            self.pending.note_starts({p: o for p, o in self.offsets.items() if not self._knows(p)})
        with platform.lake.answering():
            self._remember()
        self.reader = PriorityReader(
            platform.endpoints,
            topic,
            GROUP,
            plan.profile.topic.critical_partitions,
            {} if plan.backfill else self.offsets,
            self.highs,
        )

    def _knows(self, partition: int) -> bool:
        return TopicPartition(self._platform.topic, self._platform.epoch, partition) in self.checkpoints.by_partition

    def _remember(self) -> None:
        """What the state store and the table know of the trades of these partitions."""
        platform, clock = self._platform, self._platform.clock
        lake, topic, epoch, plan = platform.lake, platform.topic, platform.epoch, platform.plan
        self.tracker = SequenceTracker(clock)
        store = open_store(plan.state or platform.endpoints.state_url, platform.table_id, topic)
        self.state_sync = StateSync(store, self.tracker, clock)
        since_us = clock.now_us() - platform.chunks.window_us
        covered = self.state_sync.restore(fences_at(self.checkpoints, topic, epoch, self.offsets), since_us)
        behind = [partition for partition, offset in self.offsets.items() if covered.get(partition) != offset]
        rebuild(lake, topic, behind, since_us, self.tracker, epoch, covered)
        restored = restore(lake, topic, self.offsets, platform.chunks, clock)
        self.remembered = restored.rows
        self.suspects = SuspectLookup(lake, clock)
        self.deduplicator = HybridDeduplicator(restored.memory, self.suspects, clock)
        who = () if self.alone else (plan.consumer_id, self.partitions)
        self.dedup_saver = DedupSaver(restored.folder, topic, platform.chunks, restored.checkpoints, clock, *who)
        self.recovery = self._recovery()
        self.tracker.explain_by(self._is_outstanding)
        self.state_sync.begin()
        release_freed()

    def _recovery(self) -> Backfill:
        platform = self._platform
        return Backfill(
            platform.endpoints,
            platform.lake,
            platform.admission,
            self.deduplicator,
            platform.epoch,
            platform.plan.profile.topic.format,
        )

    @property
    def consumers(self) -> int:
        """How many read the topic, as this assignment tells: it is about as large as the others'."""
        return round(len(self.highs) / len(self.partitions)) if self.partitions else 1

    def outstanding(self, checkpoints: Checkpoints) -> Ledger:
        """What this assignment has deferred, or took over with its partitions; those of a longer topic go by
        remainder."""
        ledger = checkpoints.ledger.of(self._platform.topic)
        if self.alone or not ledger.entries:
            return ledger
        return Ledger(tuple(e for e in ledger.entries if e.partition % len(self.highs) in self.partitions))

    def _is_outstanding(self, channel: int, gap: Gap) -> bool:
        """Whether the ledger, as it is now, explains a gap of one of the tracker's channels."""
        channels = self.tracker.channels
        lane = (self._platform.topic, int(channels.partition[channel]))
        symbol = channels.names[channel].rpartition(b"/")[2]
        return is_deferred(self.outstanding(self.checkpoints).entries, lane, symbol, gap, self._platform.admission)

    def reached(self, goal: Mapping[int, int]) -> bool:
        """Whether all partitions are read up to a goal."""
        return all(position >= goal[partition] for partition, position in self.reader.positions.items())

    def release(self) -> None:
        """Publish what is left of sequence state, if that is quick: whoever follows goes on from it."""
        self.state_sync.close()

    def forget(self) -> None:
        """Free the memory of what was seen, before another assignment takes as much; this one must not read on."""
        self.deduplicator = HybridDeduplicator(Memory.empty(self._platform.chunks), self.suspects, self._platform.clock)
        self.recovery = self._recovery()

    def close(self) -> None:
        """Read no more."""
        self.reader.close()
        self.suspects.close()
