"""Rows and offsets into the table, in one transaction, exactly once.

Whoever commits names, for every lane, the offset that its rows start from. The table takes them only if that is
where it stands: so a second consumer, a consumer that slept, or a commit whose answer was lost cannot store
anything twice.
"""

import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.manifest import DataFile

from k2ctl.clock import Clock
from k2ctl.errors import LakeError
from k2ctl.lake.catalog import Lake
from k2ctl.lake.expiry import SnapshotRetention
from k2ctl.lake.files import delete_files, write_rows
from k2ctl.lake.heads import PROPERTY, RETIRED_PARTITION, SUMMARY_COMMIT_ID, Advance, Lane, Progress
from k2ctl.lake.progress import progress_of
from k2ctl.lake.transaction import QuickTransaction
from k2ctl.schema.rows import Rows

GIVE_UP_AFTER_S: Final = 60.0
"""How long a commit is retried, conflicts and unreachable catalogs together."""

_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 2.0
EXPIRE_EVERY: Final = 20
"""Expiry rides along with every twentieth commit: it costs no commit of its own."""


@dataclass(frozen=True)
class Committed:
    """What became of a commit.

    stored: rows that are in the table by this commit. fenced: lanes whose rows were dropped because the table
    does not stand where they start. written_bytes: size of the Parquet files. snapshot_id: None when every lane
    was fenced and nothing was committed.
    """

    commit_id: str
    snapshot_id: int | None
    stored: int
    fenced: tuple[Lane, ...]
    attempts: int
    written_bytes: int
    progress: Progress


class TableWriter:
    """Commits batches to the table. Not thread-safe: one writer per committing thread."""

    def __init__(
        self, lake: Lake, clock: Clock, retention: SnapshotRetention | None = None, rng: random.Random | None = None
    ) -> None:
        self._lake = lake
        self._clock = clock
        self._retention = retention
        self._rng = rng or random.Random()
        self._table = lake.ensure_table()
        self._commits = 0

    def commit(self, rows: Rows, advances: Mapping[Lane, Advance]) -> Committed:
        """Store `rows` and move the lanes of `advances`, all or nothing for each lane.

        1. Write the Parquet files; no reader sees them yet.
        2. Load the table fresh and compare every lane; drop the rows of lanes that stand elsewhere.
        3. Swap the metadata: files, offsets and counts become visible in one step.
        4. On a conflict, or when the answer is lost: pause, and again from 2. A commit that did land is
           recognised by its id at the lane's head.

        Raises:
            LakeError: the catalog did not answer, or conflicts did not end, for GIVE_UP_AFTER_S seconds.
        """
        commit_id = str(uuid.uuid4())
        files = write_rows(self._table, rows)
        fenced: set[Lane] = set()
        started_s, attempts = self._clock.monotonic_s(), 0
        while True:
            attempts += 1
            try:
                self._table = self._lake.table()
                progress = progress_of(self._table)
                if landed(progress, advances, commit_id):
                    return self._done(commit_id, files, rows, fenced, attempts, progress)
                newly_fenced = fenced_lanes(progress, advances) - fenced
                if newly_fenced:
                    fenced |= newly_fenced
                    advances = {lane: advance for lane, advance in advances.items() if lane not in fenced}
                    rows = _without(rows, newly_fenced)
                    delete_files(self._table, files)
                    files = write_rows(self._table, rows)
                if not advances:
                    return Committed(commit_id, None, 0, tuple(sorted(fenced)), attempts, 0, progress)
                after = self._swap(files, progress, advances, commit_id)
                return self._done(commit_id, files, rows, fenced, attempts, after)
            except CommitFailedException as error:
                self._pause(attempts, started_s, error)
            except LakeError as error:
                if error.__cause__ is None:
                    raise
                self._pause(attempts, started_s, error)
            except Exception as error:
                # Whatever the catalog's transport raises: the swap may or may not have happened. Step 2 finds out.
                self._pause(attempts, started_s, error)

    def _swap(
        self, files: list[DataFile], progress: Progress, advances: Mapping[Lane, Advance], commit_id: str
    ) -> Progress:
        """One snapshot with the files, one property with the offsets, one atomic change of the table's head."""
        table = self._table
        after = progress.advanced(advances, commit_id, table.metadata.next_sequence_number())
        with QuickTransaction(table) as transaction:
            with transaction.update_snapshot(
                snapshot_properties={SUMMARY_COMMIT_ID: commit_id}
            ).merge_append() as append:
                for file in files:
                    append.append_data_file(file)
            transaction.set_properties({PROPERTY: after.dumps()})
            self._commits += 1
            if self._retention is not None and self._commits % EXPIRE_EVERY == 0:
                self._retention.stage(transaction, self._clock.now_us() // 1000)
        return after

    def retire(self, topic: str, epoch: str, lost: int) -> Progress:
        """Record that an epoch of a topic is gone, with `lost` trades of it unread; an empty append carries it."""
        started_s, attempts = self._clock.monotonic_s(), 0
        commit_id = str(uuid.uuid4())
        while True:
            attempts += 1
            try:
                self._table = self._lake.table()
                progress = progress_of(self._table)
                if Lane(topic, epoch, RETIRED_PARTITION) in progress.heads and epoch not in progress.epochs(topic):
                    return progress
                return self._swap([], progress.retired(topic, epoch, lost), {}, commit_id)
            except CommitFailedException as error:
                self._pause(attempts, started_s, error)

    def _done(
        self, commit_id: str, files: list[DataFile], rows: Rows, fenced: set[Lane], attempts: int, after: Progress
    ) -> Committed:
        snapshot = self._table.metadata.current_snapshot()
        return Committed(
            commit_id=commit_id,
            snapshot_id=snapshot.snapshot_id if snapshot else None,
            stored=len(rows),
            fenced=tuple(sorted(fenced)),
            attempts=attempts,
            written_bytes=sum(file.file_size_in_bytes for file in files),
            progress=after,
        )

    def _pause(self, attempts: int, started_s: float, error: Exception) -> None:
        if self._clock.monotonic_s() - started_s > GIVE_UP_AFTER_S:
            raise LakeError(
                f"The commit did not go through in {GIVE_UP_AFTER_S:.0f} s and {attempts} tries: {error}",
                "Nothing is lost: the offsets have not moved. See: k2ctl stack status",
            ) from error
        longest_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(attempts, 10))
        self._clock.sleep(self._rng.uniform(0, longest_s))


def landed(progress: Progress, advances: Mapping[Lane, Advance], commit_id: str) -> bool:
    """Whether a commit of this id has moved its lanes already, though nobody said so."""
    return any(
        head is not None and head.commit_id == commit_id for head in (progress.heads.get(lane) for lane in advances)
    )


def fenced_lanes(progress: Progress, advances: Mapping[Lane, Advance]) -> set[Lane]:
    """The lanes that the table has elsewhere than where the rows start. A lane it does not know is free."""
    return {
        lane
        for lane, advance in advances.items()
        if (head := progress.heads.get(lane)) is not None and head.next_offset != advance.start
    }


def _without(rows: Rows, lanes: set[Lane]) -> Rows:
    dropped = [lane.partition for lane in lanes]
    return rows.take(~np.isin(rows.partition, dropped))
