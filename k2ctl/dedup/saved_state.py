"""What deduplication remembers, saved and restored.

Closed chunks are saved once, open ones and interval sets every minute. At the start a consumer reads what was saved and
the rows stored since, or the window of the table.
"""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from k2ctl.clock import Clock
from k2ctl.dedup.bloom import IdFilter, words_of
from k2ctl.dedup.chunk_plan import ChunkPlan
from k2ctl.dedup.chunks import Chunk, ChunkSeries
from k2ctl.dedup.deduplicator import SEQUENCED_BELOW, HybridDeduplicator, Memory
from k2ctl.domain.checkpoint import Checkpoints, TopicPartition
from k2ctl.domain.intervals import IntervalSets
from k2ctl.domain.rows import ids_of
from k2ctl.errors import first_line
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.readers import recent_rows, rows_stored_after
from k2ctl.lake.rollback import was_given_up
from k2ctl.lake.side_folder import DedupFolder, DedupIndex, SavedChunk
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
            index = self._written(deduplicator)
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

    def _written(self, deduplicator: HybridDeduplicator) -> DedupIndex:
        memory, series = deduplicator.memory, deduplicator.memory.series
        chunks = [self._saved(chunk, CLOSED) for chunk in series.closed]
        for kind, chunk in ((STRAY, series.stray), (LIVE, series.live)):
            if chunk is not None:
                chunks.append(self._saved(chunk, kind))
        return DedupIndex(
            topic=self._topic,
            table=self._folder.table_id,
            sequence_number=self._covered.sequence_number,
            offsets=self._by_place({of: at.next_offset for of, at in self._covered.by_partition.items()}),
            pending_ends=self._by_place(deduplicator.pending_ends()),
            saved_us=self._clock.now_us(),
            window_us=self._plan.window_us,
            floor_us=series.floor_us,
            sequenced=self._folder.write(memory.sequenced.dumps()),
            chunks=tuple(chunks),
            member=self._member,
            partitions=self._partitions,
        )

    def _by_place(self, offsets: Mapping[TopicPartition, int]) -> dict[str, int]:
        return {f"{of.epoch}/{of.partition}": offset for of, offset in offsets.items() if of.topic == self._topic}

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


SLICE: Final = 50_000
"""Ids are added in slices in the order of their times, as they would have come from Kafka: chunks stay narrow."""

LOADERS: Final = 8
"""Files read at a time: a day of 1e9 ids is two thousand, and an object store answers in tens of milliseconds."""


@dataclass(frozen=True)
class Restored:
    """The memory at the start."""

    memory: Memory
    folder: DedupFolder
    # The table's checkpoints, which the memory covers.
    checkpoints: Checkpoints
    # True: the saved state covered all partitions.
    saved: bool
    # Rows that were read from the table.
    rows: int


def restore(lake: Lake, topic: str, partitions: Collection[int], plan: ChunkPlan, clock: Clock) -> Restored:
    """Remember what the table holds of the window, of some partitions.

    Each partition's newest saved state, of any consumer, and the rows stored since; the table's window where no usable
    state was saved. Saved state is used only as a whole: if one file is missing or damaged, another index is tried.
    Saved state may cover more than these partitions: those rows, too, are in the table.

    Raises:
        LakeError: the table cannot be read.
    """
    table = lake.table()
    checkpoints, now_us = checkpoints_of(table), clock.now_us()
    folder = DedupFolder(table)
    memory, unsaved, rows = Memory.empty(plan), set(partitions), 0
    for index in _usable(folder, topic, checkpoints, now_us - plan.window_us):
        if was_given_up(table, index.sequence_number):
            continue
        covered = unsaved if index.partitions is None else unsaved & set(index.partitions)
        loaded = load(folder, index, plan) if covered else None
        if loaded is None:
            continue
        loaded.series.expire(now_us)
        loaded.sequenced.forget(now_us - plan.window_us)
        memory.absorb(loaded)
        rows += _take_in(memory, rows_stored_after(table, index.sequence_number, topic, covered), now_us)
        unsaved -= covered
    if unsaved:
        since_us = now_us - plan.window_us
        if table.metadata.current_snapshot() is not None:
            memory.series.floor_us = max(memory.series.floor_us, since_us)
        rows += _take_in(memory, recent_rows(table, since_us, topic, unsaved), now_us)
    LOG.info(
        "restored deduplication state",
        extra={"topic": topic, "partitions": len(set(partitions)), "from_table": len(unsaved), "rows": rows},
    )
    return Restored(memory, folder, checkpoints, not unsaved, rows)


def _usable(folder: DedupFolder, topic: str, checkpoints: Checkpoints, since_us: int) -> list[DedupIndex]:
    """The indexes of this very table's past that are in the window, the newest first; none if they cannot be listed."""
    try:
        found = [index for index in folder.indexes(topic) if index.saved_us >= since_us]
    except OSError as error:
        LOG.warning("saved deduplication state cannot be listed; the table is read", extra={"error": first_line(error)})
        return []
    return [i for i in found if i.table == folder.table_id and i.sequence_number <= checkpoints.sequence_number]


def load(folder: DedupFolder, index: DedupIndex, plan: ChunkPlan) -> Memory | None:
    """The memory that an index names; None when a file of it is missing or damaged."""
    opened: dict[str, Chunk] = {}
    closed = []
    try:
        sequenced = IntervalSets.loads(folder.read(index.sequenced))
        with ThreadPoolExecutor(LOADERS) as pool:
            for kind, chunk in pool.map(lambda saved: _loaded(folder, saved), index.chunks):
                if kind in (LIVE, STRAY) and chunk.room:
                    opened[kind] = chunk
                else:
                    closed.append(chunk)
    except (OSError, ValueError) as error:
        LOG.warning(
            "saved deduplication state cannot be used",
            extra={"topic": index.topic, "member": index.member, "error": first_line(error)},
        )
        return None
    # A longer window does not bring back what was forgotten: the floor marks it.
    series = ChunkSeries(plan, index.floor_us, closed, opened.get(LIVE), opened.get(STRAY))
    return Memory(series, sequenced, dict(_ends(index)))


def _ends(index: DedupIndex) -> Iterator[tuple[TopicPartition, int]]:
    """The offsets before which rows may be remembered that the table did not have yet."""
    for place, end in index.pending_ends.items():
        epoch, _, partition = place.rpartition("/")
        if end > index.offsets.get(place, 0):
            yield TopicPartition(index.topic, epoch, int(partition)), end


def _loaded(folder: DedupFolder, saved: SavedChunk) -> tuple[str, Chunk]:
    loaded = IdFilter.loads(folder.read(saved.file))
    return saved.kind, Chunk(loaded, saved.first_us, saved.last_us, saved.stamp_us, saved.file)


def _take_in(memory: Memory, tables: Iterable[pa.Table], now_us: int) -> int:
    count = 0
    for columns in tables:
        if len(columns):
            times = columns["timestamp"].cast(pa.int64()).to_numpy()
            processed_us = int(columns["ingestion_timestamp"].cast(pa.int64()).to_numpy().max())
            take_in(memory, words_of(ids_of(columns["message_id"])), times, min(now_us, processed_us), now_us)
            count += len(columns)
    return count


def take_in(memory: Memory, words: np.ndarray, times: np.ndarray, stamp_us: int, now_us: int) -> None:
    """Remember stored ids, uint64[n, 2], of trades at int64[n] µs, that were processed about `stamp_us`."""
    sequenced = words[:, 1] < SEQUENCED_BELOW
    memory.sequenced.add(words[sequenced, 0], words[sequenced, 1], now_us)
    words, times = words[~sequenced], times[~sequenced]
    order = np.argsort(times, kind="stable")
    for at in range(0, len(order), SLICE):
        part = order[at : at + SLICE]
        memory.series.add(words[part], times[part], stamp_us)
