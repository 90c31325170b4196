"""Rows and offsets into the table, in one transaction, exactly once.

A commit names, for every partition, the offset that its rows start from. The table takes them only if its checkpoint
is at this offset: so a second consumer, a consumer that was suspended, or a commit whose answer was lost stores nothing
twice.
"""

import logging
import uuid
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

import numpy as np
from pyiceberg.exceptions import CommitStateUnknownException
from pyiceberg.manifest import DataFile

from k2ctl.clock import Clock
from k2ctl.domain.checkpoint import (
    NO_CHANGE,
    PROPERTY,
    RETIRED_PARTITION,
    SUMMARY_COMMIT_ID,
    Checkpoint,
    Checkpoints,
    OffsetDelta,
    TopicPartition,
)
from k2ctl.domain.corrected_symbols import CORRECTED_PROPERTY, symbols_of_events, with_symbols
from k2ctl.domain.ledger import LEDGER_PROPERTY, LedgerChange
from k2ctl.domain.recorded_feeds import FEEDS_PROPERTY, RecordedFeed, with_feeds
from k2ctl.domain.rows import Rows
from k2ctl.errors import LakeUnanswered, first_line
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of, is_in_history, kept
from k2ctl.lake.commit import Done, SnapshotRetention, Try, commit_optimistically
from k2ctl.lake.files import Layout, delete_files, layout_of, write_rows
from k2ctl.lake.opened import check_writable
from k2ctl.lake.pyiceberg_overrides import QuickTransaction
from k2ctl.lake.side_folder import SideFolder, ledger_file, ledger_text

LOG: Final = logging.getLogger("k2ctl.lake")
_STATUS: Final = "See: k2ctl stack status"
NO_FEEDS: Final[Mapping[str, RecordedFeed | None]] = MappingProxyType({})
LEDGER_FILE_STAYS_S: Final = 30.0
"""How long a ledger file stays after another replaced it: a reader may just have read its name."""

EXPIRE_EVERY: Final = 20
"""Every twentieth commit drops snapshots too, so that expiry needs no commit of its own."""


@dataclass(frozen=True)
class Committed:
    """The result of a commit."""

    commit_id: str
    # None when every partition was fenced and nothing was committed.
    snapshot_id: int | None
    # Rows that are in the table by this commit.
    stored: int
    # Partitions whose rows were dropped because the table's checkpoint is not where they start.
    fenced: tuple[TopicPartition, ...]
    attempts: int
    # Size of the Parquet files.
    written_bytes: int
    # The table's checkpoints after the commit.
    checkpoints: Checkpoints


class TableWriter:
    """Commits batches to the table. Not thread-safe: one writer per committing thread."""

    def __init__(
        self,
        lake: Lake,
        clock: Clock,
        retention: SnapshotRetention | None = None,
        feeds: Mapping[str, RecordedFeed | None] = NO_FEEDS,
    ) -> None:
        """feeds: topic → its feed, which the next commit records in the table; None for K2's own format."""
        self._lake = lake
        self._clock = clock
        self._retention = retention
        self._feeds = feeds
        self._table = lake.ensure_table()
        check_writable(lake.name, self._table)
        self._commits = 0
        # The last message of a failing catalog or store while a commit is tried again because of it; else empty.
        self.trouble = ""
        self._ledger_files: list[str] = []
        self._replaced: deque[tuple[float, str]] = deque()

    def commit(
        self,
        batches: Sequence[Rows],
        deltas: Mapping[TopicPartition, OffsetDelta],
        change: LedgerChange = NO_CHANGE,
        *,
        whole: bool = False,
    ) -> Committed:
        """Store rows, move the partitions of `deltas` and change the ledger, all or nothing for each partition.

        batches: rows, each batch of one topic and epoch; their partitions, and those of the ledger's entries, are among
        `deltas`. Spill files that `change` names have been written. whole: store nothing if one partition is fenced.
        Of two consumers that each have all partitions, one then goes on; if each stored a part, each would fence the
        other.

        1. Write the Parquet files; no reader sees them yet.
        2. Load the table fresh and compare every partition; drop the rows of fenced partitions. Files that
           were written for another schema or partition spec than the table has now are written again.
        3. Swap the metadata: files, offsets and counts become visible in one step. What a REST service confirms is
           read back.
        4. On a conflict, or while catalog or store do not answer: pause, and again. A commit that succeeded although
           its answer was lost is recognised by its id: in the partitions' checkpoints or, where other commits
           followed, in the history.

        Raises:
            LakeError: catalog or store did not answer, or conflicts did not end, for `commit.GIVE_UP_AFTER_S`; or
                another program has changed the table so that it cannot take the rows.
        """
        commit_id, started_s = str(uuid.uuid4()), self._clock.monotonic_s()
        offer = _Offer(list(batches), dict(deltas), change)
        done = self._repeated(lambda one: self._commit_once(offer, commit_id, one, whole=whole))
        LOG.info(
            "committed",
            extra={
                "commit_id": commit_id,
                "snapshot_id": done.snapshot_id,
                "rows": done.stored,
                "attempts": done.attempts,
                "fenced": len(done.fenced),
                "ms": round((self._clock.monotonic_s() - started_s) * 1000),
            },
        )
        return done

    def _repeated(self, attempt: Callable[[Try], Done]) -> Done:
        """The result of `attempt`, once it has succeeded."""
        done = commit_optimistically(
            attempt,
            what="The commit",
            hint="Nothing is lost: the offsets have not moved. See: k2ctl stack status",
            clock=self._clock,
            on_trouble=self._note_trouble,
        )
        self.trouble = ""
        return done

    def _note_trouble(self, said: str) -> None:
        self.trouble = said

    def _commit_once(self, offer: "_Offer", commit_id: str, one: Try, *, whole: bool) -> Committed:
        """Steps 1 to 3, once."""
        self._written(offer)
        self._load()
        checkpoints = checkpoints_of(self._table)
        if is_committed(checkpoints, offer.deltas, commit_id) or (
            one.uncertain and is_in_history(self._table, commit_id)
        ):
            return self._done(commit_id, offer, one.number, checkpoints)
        fenced = fenced_partitions(checkpoints, offer.deltas)
        if fenced and not one.uncertain:  # else a snapshot may name them, and orphan removal decides
            delete_files(self._table, offer.files or [])
        if fenced and whole:
            return Committed(commit_id, None, 0, tuple(sorted(fenced)), one.number, 0, checkpoints)
        if fenced:
            offer.drop(fenced, checkpoints)
        if not offer.deltas:
            return Committed(commit_id, None, 0, tuple(sorted(offer.fenced)), one.number, 0, checkpoints)
        if offer.files is not None and offer.layout != layout_of(self._table):
            if not one.uncertain:
                delete_files(self._table, offer.files)
            offer.files = None
        files = self._written(offer)
        after = checkpoints.after(offer.deltas, commit_id, self._next_number(), offer.change)
        after = self._swap(files, after, commit_id, symbols_of_events(offer.batches))
        return self._done(commit_id, offer, one.number, after)

    def _written(self, offer: "_Offer") -> list[DataFile]:
        """Its files, which are written on the first call. Orphan removal deletes what a failed write leaves."""
        if offer.files is None:
            offer.layout = layout_of(self._table)
            try:
                now_us = self._clock.now_us()
                offer.files = [file for rows in offer.batches for file in write_rows(self._table, rows, now_us)]
            except OSError as error:
                raise LakeUnanswered(f"The warehouse takes no files: {first_line(error)}", _STATUS) from error
        return offer.files

    def _load(self) -> None:
        self._table = self._lake.table()
        check_writable(self._lake.name, self._table)

    def _next_number(self) -> int:
        return int(self._table.metadata.next_sequence_number())

    def _swap(
        self, files: list[DataFile], after: Checkpoints, commit_id: str, corrected: Collection[bytes] = ()
    ) -> Checkpoints:
        """One snapshot with the files, and properties with offsets and ledger, in one atomic change.

        corrected: the symbols of which the files have events.
        """
        table = self._table
        ledger = self._ledger_text(after)
        with QuickTransaction(table) as transaction:
            with transaction.update_snapshot(
                snapshot_properties={SUMMARY_COMMIT_ID: commit_id, **kept(after)}
            ).merge_append() as append:
                for file in files:
                    append.append_data_file(file)
            properties = {PROPERTY: after.dumps(), LEDGER_PROPERTY: ledger}
            feeds = with_feeds(table.metadata.properties.get(FEEDS_PROPERTY), self._feeds)
            properties |= {} if feeds is None else {FEEDS_PROPERTY: feeds}
            if corrected:
                marked = with_symbols(table.metadata.properties.get(CORRECTED_PROPERTY), corrected)
                properties |= {} if marked is None else {CORRECTED_PROPERTY: marked}
            transaction.set_properties(properties)
            self._commits += 1
            if self._retention is not None and self._commits % EXPIRE_EVERY == 0:
                self._retention.stage(transaction, self._clock.now_us() // 1000)
        self._read_back(commit_id)
        self._replace_ledger_files(ledger_file(ledger))
        return after

    def _read_back(self, commit_id: str) -> None:
        """Look for a commit that a REST service has confirmed.

        Raises:
            CommitStateUnknownException: it is not there: dropped, or not to be seen yet.
        """
        if self._lake.catalog.reads_back and not is_in_history(self._lake.table(), commit_id):
            raise CommitStateUnknownException(f"The catalog has confirmed commit {commit_id}, and does not have it")

    def _ledger_text(self, after: Checkpoints) -> str:
        """The ledger's property. Readers may use a file that it names as soon as the swap is tried."""
        text = ledger_text(self._table, after.ledger)
        location = ledger_file(text)
        if location is not None:
            self._ledger_files.append(location)
        return text

    def _replace_ledger_files(self, current: str | None) -> None:
        """The table names `current` now: our other files are replaced, and deleted after a while."""
        now_s = self._clock.monotonic_s()
        self._replaced += [(now_s, file) for file in self._ledger_files if file != current]
        self._ledger_files = [] if current is None else [current]
        while self._replaced and self._replaced[0][0] < now_s - LEDGER_FILE_STAYS_S:
            SideFolder(self._table).delete(self._replaced.popleft()[1])

    def retire(self, topic: str, epoch: str, lost: int) -> Checkpoints:
        """Record that an epoch of a topic is gone, with `lost` trades of it unread; an empty append carries it."""
        commit_id = str(uuid.uuid4())

        def once(_: Try) -> Checkpoints:
            self._load()
            checkpoints = checkpoints_of(self._table)
            if TopicPartition(
                topic, epoch, RETIRED_PARTITION
            ) in checkpoints.by_partition and epoch not in checkpoints.epochs(topic):
                return checkpoints  # by another process, or by an earlier try whose answer was lost
            after = checkpoints.retired(topic, epoch, lost)
            moved = replace(after, commit_id=commit_id, sequence_number=self._next_number())
            return self._swap([], moved, commit_id)

        retired = self._repeated(once)
        LOG.info("retired an epoch", extra={"topic": topic, "epoch": epoch, "lost": lost})
        return retired

    def _done(self, commit_id: str, offer: "_Offer", attempts: int, after: Checkpoints) -> Committed:
        snapshot, files = self._table.metadata.current_snapshot(), offer.files or []
        return Committed(
            commit_id=commit_id,
            snapshot_id=snapshot.snapshot_id if snapshot else None,
            stored=sum(map(len, offer.batches)),
            fenced=tuple(sorted(offer.fenced)),
            attempts=attempts,
            written_bytes=sum(file.file_size_in_bytes for file in files),
            checkpoints=after,
        )


@dataclass
class _Offer:
    """What a commit offers to the table. Partitions that turn out to be fenced are dropped from it."""

    batches: list[Rows]
    deltas: dict[TopicPartition, OffsetDelta]
    change: LedgerChange
    # None until written.
    files: list[DataFile] | None = None
    # The schema and the partition spec that the files were written for.
    layout: Layout | None = None
    fenced: set[TopicPartition] = field(default_factory=set)

    def drop(self, partitions: set[TopicPartition], checkpoints: Checkpoints) -> None:
        """Go on without some partitions; the files are written again without their rows."""
        self.fenced |= partitions
        self.deltas = {partition: delta for partition, delta in self.deltas.items() if partition not in partitions}
        self.batches = [_without(rows, partitions, checkpoints) for rows in self.batches]
        self.change = _unfenced(self.change, partitions, checkpoints)
        self.files = None


def is_committed(checkpoints: Checkpoints, deltas: Mapping[TopicPartition, OffsetDelta], commit_id: str) -> bool:
    """True if this commit succeeded although its response was lost."""
    return any(
        checkpoint is not None and checkpoint.commit_id == commit_id
        for checkpoint in (checkpoints.by_partition.get(partition) for partition in deltas)
    )


def fenced_partitions(checkpoints: Checkpoints, deltas: Mapping[TopicPartition, OffsetDelta]) -> set[TopicPartition]:
    """The partitions whose checkpoints are not as the author of `deltas` read them; a new partition is not fenced."""
    return {
        partition
        for partition, delta in deltas.items()
        if not _is_as_read(checkpoints.by_partition.get(partition), delta)
    }


def _is_as_read(checkpoint: Checkpoint | None, delta: OffsetDelta) -> bool:
    if checkpoint is None:
        return delta.base is None  # else its epoch was retired, and its unread trades are counted as lost
    return checkpoint.next_offset == delta.start and delta.base in (None, checkpoint.commit_id)


def _unfenced(change: LedgerChange, partitions: set[TopicPartition], checkpoints: Checkpoints) -> LedgerChange:
    """The part of a change that concerns other partitions."""
    return change.where(
        lambda entry: not _counts_in(partitions, checkpoints, entry.topic, entry.epoch, entry.partition)
    )


def _without(rows: Rows, fenced: set[TopicPartition], checkpoints: Checkpoints) -> Rows:
    """The rows whose partitions are not fenced."""
    partitions = np.unique(rows.partition).tolist()
    dropped = [p for p in partitions if _counts_in(fenced, checkpoints, rows.topic, rows.epoch, p)]
    return rows.take(~np.isin(rows.partition, dropped))


def _counts_in(
    partitions: set[TopicPartition], checkpoints: Checkpoints, topic: str, epoch: str, partition: int
) -> bool:
    """True if a partition is counted in one of `partitions`: its own, or that of its epoch when that is gone."""
    return not partitions.isdisjoint(
        {TopicPartition(topic, epoch, partition), checkpoints.partition_of(topic, epoch, partition)}
    )
