"""Deduplication state at the start: what was saved and the rows stored since, or the window of the table."""

import logging
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from k2ctl.clock import Clock
from k2ctl.dedup.bloom import IdFilter, words_of
from k2ctl.dedup.chunks import Chunk, ChunkPlan, ChunkSeries
from k2ctl.dedup.deduplicator import SEQUENCED_BELOW, Memory
from k2ctl.dedup.saver import LIVE, STRAY
from k2ctl.domain.checkpoint import Checkpoints
from k2ctl.domain.intervals import IntervalSets
from k2ctl.domain.stored_rows import ids_of
from k2ctl.errors import first_line
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.dedup_files import DedupFolder, DedupIndex, SavedChunk
from k2ctl.lake.readers import recent_rows, rows_stored_after
from k2ctl.lake.rollback import was_given_up

LOG: Final = logging.getLogger("k2ctl.dedup")

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
    return Memory(series, sequenced)


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
