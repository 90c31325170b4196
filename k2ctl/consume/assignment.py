"""The partitions that a consumer holds, and all that it remembers of them.

A share is opened as a whole from what the table says, at the start and whenever the group shares out anew, and let go
as a whole: nothing that was read and not stored outlives it, so whoever reads those trades next takes them for new.
"""

from collections.abc import Collection, Mapping
from typing import Final

from k2ctl.consume.degradation.pressure import release_freed
from k2ctl.consume.pending import Pending
from k2ctl.consume.platform import Platform
from k2ctl.consume.priority_lanes import LaneReader
from k2ctl.consume.start import starting_offsets
from k2ctl.dedup.deduplicator import HybridDeduplicator, Memory
from k2ctl.dedup.restore import restore
from k2ctl.dedup.saver import DedupSaver
from k2ctl.deferred.backfill import Recovery
from k2ctl.domain.checkpoint import Lane, Progress
from k2ctl.domain.ledger import Ledger
from k2ctl.lake.stored_lookup import SuspectLookup
from k2ctl.sequence.explained import put_aside
from k2ctl.sequence.opening import open_store
from k2ctl.sequence.rebuild import rebuild
from k2ctl.sequence.state_sync import Handover, fences_at
from k2ctl.sequence.symbol_codec import Gap
from k2ctl.sequence.tracker import SequenceTracker

GROUP: Final = "k2ctl"
"""Where offsets are told to lag monitors. Nobody joins it, so that anybody may."""


class Share:
    """Some partitions of the topic, or all of them.

    progress: the table as the share was opened from it. highs: the high watermarks of all partitions then.
    committed_offsets: per partition the table's next offset. remembered: rows that were read from the table for it.
    """

    def __init__(self, platform: Platform, partitions: Collection[int] | None) -> None:
        """partitions: those to hold; None for all of them, which nobody else may hold then.

        Raises:
            BrokerError: Kafka does not answer, or is not the one that the table was filled from. LakeError: the table
            does not answer.
        """
        plan, topic = platform.plan, platform.topic
        self.progress: Progress = platform.progress()
        marks = platform.watermarks()
        self.highs = {partition: mark.high for partition, mark in marks.items()}
        self.alone = partitions is None
        self.partitions = frozenset(marks if partitions is None else partitions)
        self._platform = platform
        self.offsets = starting_offsets(self.progress, topic, platform.epoch, marks, self.partitions)
        self.committed_offsets = dict(self.offsets)
        self.pending = Pending(topic, platform.epoch)
        if not plan.backfill:
            # The first commit names every partition, so that what is deleted before it is read counts as lost.
            self.pending.note_beginnings({p: o for p, o in self.offsets.items() if not self._knows(p)})
        with platform.lake.answering():
            self._remember()
        self.reader = LaneReader(
            platform.endpoints,
            topic,
            GROUP,
            plan.profile.topic.critical_partitions,
            {} if plan.backfill else self.offsets,
            self.highs,
        )

    def _knows(self, partition: int) -> bool:
        return Lane(self._platform.topic, self._platform.epoch, partition) in self.progress.heads

    def _remember(self) -> None:
        """What the state store and the table know of the trades of these partitions."""
        platform, clock = self._platform, self._platform.clock
        lake, topic, epoch, plan = platform.lake, platform.topic, platform.epoch, platform.plan
        self.tracker = SequenceTracker(clock)
        store = open_store(plan.state or platform.endpoints.state_url, platform.table_id, topic)
        self.handover = Handover(store, self.tracker, clock)
        since_us = clock.now_us() - platform.chunks.window_us
        covered = self.handover.restore(fences_at(self.progress, topic, epoch, self.offsets), since_us)
        behind = [partition for partition, offset in self.offsets.items() if covered.get(partition) != offset]
        rebuild(lake, topic, behind, since_us, self.tracker, epoch, covered)
        restored = restore(lake, topic, self.offsets, platform.chunks, clock)
        self.remembered = restored.rows
        self.suspects = SuspectLookup(lake, clock)
        self.deduplicator = HybridDeduplicator(restored.memory, self.suspects, clock)
        who = () if self.alone else (plan.consumer_id, self.partitions)
        self.dedup_saver = DedupSaver(restored.folder, topic, platform.chunks, restored.progress, clock, *who)
        self.recovery = self._recovery()
        self.tracker.explain_by(self._is_owed)
        self.handover.begin()
        release_freed()

    def _recovery(self) -> Recovery:
        platform = self._platform
        return Recovery(
            platform.endpoints,
            platform.lake,
            platform.admission,
            self.deduplicator,
            platform.epoch,
            platform.plan.profile.topic.format,
        )

    @property
    def consumers(self) -> int:
        """How many read the topic, as this share tells: it is about as large as the others'."""
        return round(len(self.highs) / len(self.partitions)) if self.partitions else 1

    def owed(self, progress: Progress) -> Ledger:
        """What this share has put aside, or took over with its partitions; those of a longer topic go by remainder."""
        ledger = progress.ledger.of(self._platform.topic)
        if self.alone or not ledger.entries:
            return ledger
        return Ledger(tuple(e for e in ledger.entries if e.partition % len(self.highs) in self.partitions))

    def _is_owed(self, channel: int, gap: Gap) -> bool:
        """Whether the ledger, as it is now, explains a gap of one of the tracker's channels."""
        channels = self.tracker.channels
        lane = (self._platform.topic, int(channels.partition[channel]))
        symbol = channels.names[channel].rpartition(b"/")[2]
        return put_aside(self.owed(self.progress).entries, lane, symbol, gap, self._platform.admission)

    def reached(self, goal: Mapping[int, int]) -> bool:
        """Whether all partitions are read up to a goal."""
        return all(position >= goal[partition] for partition, position in self.reader.positions.items())

    def release(self) -> None:
        """Publish what is left of sequence state, if that is quick: whoever follows goes on from it."""
        self.handover.close()

    def forget(self) -> None:
        """Give back the memory of what was seen, before another share takes as much; this one must not read on."""
        self.deduplicator = HybridDeduplicator(Memory.empty(self._platform.chunks), self.suspects, self._platform.clock)
        self.recovery = self._recovery()

    def close(self) -> None:
        """Read no more."""
        self.reader.close()
        self.suspects.close()
