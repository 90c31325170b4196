"""Saving what deduplication remembers: closed chunks once, open ones and interval sets every minute."""

import logging
from collections.abc import Collection
from typing import Final

from k2ctl.clock import Clock
from k2ctl.dedup.chunks import Chunk, ChunkPlan
from k2ctl.dedup.deduplicator import HybridDeduplicator, Memory
from k2ctl.domain.checkpoint import Checkpoints, TopicPartition
from k2ctl.errors import first_line
from k2ctl.lake.dedup_files import DedupFolder, DedupIndex, SavedChunk
from k2ctl.timing import Every

LOG: Final = logging.getLogger("k2ctl.dedup")

SAVE_EVERY_S: Final = 60.0

LIVE: Final = "live"
STRAY: Final = "stray"
CLOSED: Final = "closed"


class DedupSaver:
    """Saves the memory of one topic's consumer. A failed save is logged, and tried again after a minute.

    checkpoints: what the memory covers at the start. member, partitions: the member of a group, and the partitions
    whose rows it remembers; a consumer that reads alone remembers all.
    """

    def __init__(
        self,
        folder: DedupFolder,
        topic: str,
        plan: ChunkPlan,
        checkpoints: Checkpoints,
        clock: Clock,
        member: str = "",
        partitions: Collection[int] | None = None,
    ) -> None:
        self._folder = folder
        self._topic = topic
        self._plan = plan
        self._covered = checkpoints
        self._member = member
        self._partitions = None if partitions is None else tuple(sorted(partitions))
        self._alone = True
        self._clock = clock
        self._every = Every(SAVE_EVERY_S, clock, first_s=SAVE_EVERY_S)
        self._named: set[str] = set()
        self._retired: set[str] = set()
        # Why the last save failed; empty if it did not.
        self.last_error = ""

    def note_commit(self, checkpoints: Checkpoints, commit_id: str) -> None:
        """Rows up to this commit are in the memory, unless other consumers have stored rows of the topic.

        What is saved then covers no more than before, so that the next consumer reads those rows from the table.
        """
        known = {partition: checkpoint.commit_id for partition, checkpoint in self._covered.by_partition.items()}
        for partition, checkpoint in self._changed(checkpoints):
            if checkpoint not in (commit_id, known.get(partition)):
                self._alone = False
        if self._alone:
            self._covered = checkpoints

    def save_if_due(self, deduplicator: HybridDeduplicator) -> bool:
        """Save when a minute has passed since the last time; returns True if it did, or tried."""
        if not self._every.due():
            return False
        self.save(deduplicator)
        return True

    def save(self, deduplicator: HybridDeduplicator) -> None:
        """Save now.

        1. The files that the new index will name, each durable.
        2. The index, in one step.
        3. Files that neither it nor the one before names are deleted: a reader may still read the one before. In a
           group other indexes may name them too, so there they are left to orphan removal.
        """
        self._every.restart()
        started_s = self._clock.monotonic_s()
        try:
            index = self._written(deduplicator.memory)
            self._folder.put_index(index)
        except OSError as error:
            self.last_error = first_line(error)
            LOG.warning(
                "deduplication state is not saved and is tried again",
                extra={"topic": self._topic, "error": self.last_error},
            )
            return
        self.last_error = ""
        LOG.info(
            "saved deduplication state",
            extra={
                "topic": self._topic,
                "chunks": len(index.chunks),
                "ms": round((self._clock.monotonic_s() - started_s) * 1000),
            },
        )
        if not self._member:
            self._folder.delete(self._retired - index.files)
        self._retired, self._named = self._named, index.files

    def _written(self, memory: Memory) -> DedupIndex:
        series = memory.series
        chunks = [self._saved(chunk, CLOSED) for chunk in series.closed]
        for kind, chunk in ((STRAY, series.stray), (LIVE, series.live)):
            if chunk is not None:
                chunks.append(self._saved(chunk, kind))
        return DedupIndex(
            topic=self._topic,
            table=self._folder.table_id,
            sequence_number=self._covered.sequence_number,
            offsets={
                f"{partition.epoch}/{partition.partition}": checkpoint.next_offset
                for partition, checkpoint in self._covered.by_partition.items()
                if partition.topic == self._topic
            },
            saved_us=self._clock.now_us(),
            window_us=self._plan.window_us,
            floor_us=series.floor_us,
            sequenced=self._folder.write(memory.sequenced.dumps()),
            chunks=tuple(chunks),
            member=self._member,
            partitions=self._partitions,
        )

    def _saved(self, chunk: Chunk, kind: str) -> SavedChunk:
        if not chunk.name:
            chunk.name = self._folder.write(chunk.filter.dumps())
        return SavedChunk(chunk.name, kind, chunk.first_us, chunk.last_us, chunk.stamp_us)

    def _changed(self, checkpoints: Checkpoints) -> list[tuple[TopicPartition, str]]:
        return [
            (partition, checkpoint.commit_id)
            for partition, checkpoint in checkpoints.by_partition.items()
            if partition.topic == self._topic and (self._partitions is None or partition.partition in self._partitions)
        ]
