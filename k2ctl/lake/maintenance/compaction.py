"""Compaction: an hour's many small files become one sorted file, while appenders go on committing.

The files are written first, without haste. Then a short swap on fresh metadata replaces exactly the files that were
read: pyiceberg's own `Table.overwrite` plans and writes between load and commit, and lost 9 of 9 against an appender.
"""

import logging
import random
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pyiceberg.exceptions import ValidationException
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata

from k2ctl.clock import Clock
from k2ctl.domain.checkpoint import SUMMARY_COMPACTION_ID
from k2ctl.domain.topics import TABLE
from k2ctl.errors import LakeError, first_line
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import ancestors, checkpoints_of
from k2ctl.lake.commit import Try, commit_optimistically
from k2ctl.lake.data_files import Listed, checked
from k2ctl.lake.files import Layout, delete_files, layout_of
from k2ctl.lake.kept_offsets import kept
from k2ctl.lake.live_files import LiveFile, hour_name
from k2ctl.lake.maintenance.lease import Lease
from k2ctl.lake.maintenance.merge import Interrupted, merge
from k2ctl.lake.opened import check_writable
from k2ctl.lake.pyiceberg_overrides import QuickTransaction

LOG: Final = logging.getLogger("k2ctl.lake")
LONGEST_PAUSE_S: Final = 0.2
"""Appenders commit several times a second without end: a longer pause does not find them idle."""


@dataclass(frozen=True)
class Compaction:
    """What a compaction did to an hour."""

    hour: str
    files_before: int
    files_after: int
    rows: int
    bytes_before: int
    bytes_after: int
    # How often the swap was attempted beside appenders.
    tries: int
    seconds: float
    # Of these, from the end of the merge to the end of the swap.
    swap_seconds: float


class _Outdated(Exception):
    """The merged files are written for a schema or a partition spec that is not the table's any more."""


def mergeable(lake: Lake) -> Table:
    """The table, if its files may be merged.

    Raises:
        LakeError: it was rolled back, or other programs have left it so that k2ctl cannot write to it.
    """
    table = lake.table()
    checkpoints_of(table)
    check_writable(TABLE, table)
    return table


class Compactor:
    """Merges files of one hour. The caller holds the lease."""

    def __init__(
        self,
        lake: Lake,
        clock: Clock,
        lease: Lease,
        stop: threading.Event | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._lake = lake
        self._clock = clock
        self._lease = lease
        self._stop = stop or threading.Event()
        self._rng = rng or random.Random()

    def compact(self, files: Sequence[LiveFile]) -> Compaction | None:
        """Merge `files`, all of one hour, into one.

        1. Check the files, so that no damage is merged. Write the merged file and check it
           against what was read; no reader sees it yet.
        2. Load the table fresh; every replaced file must still be live, and schema and partition spec as they were.
        3. Swap: one snapshot that deletes exactly those and adds the merged one. Offsets stay as they are.
        4. On a conflict, or when the answer is lost: pause, and again from 2. A swap that succeeded although its answer
           was lost is recognised by its id.

        Returns None when it was stopped, or another compaction was first; then nothing has changed.

        Raises:
            LakeError: the files cannot be read or the catalog does not answer, or appenders were first every time.
        """
        started_s = self._clock.monotonic_s()
        try:
            with self._lake.answering():
                table = mergeable(self._lake)
                checked(table.io, (Listed.of(file.file) for file in files), again=True)
                merged = merge(self._lake, table, files, self._between_chunks)
        except Interrupted:
            return None
        merged_s = self._clock.monotonic_s()
        tries = self._swap([file.file for file in files], merged, layout_of(table))
        if not tries:
            return None
        ended_s = self._clock.monotonic_s()
        done = Compaction(
            hour=hour_name(files[0].hour),
            files_before=len(files),
            files_after=len(merged),
            rows=sum(file.record_count for file in merged),
            bytes_before=sum(file.bytes for file in files),
            bytes_after=sum(file.file_size_in_bytes for file in merged),
            tries=tries,
            seconds=ended_s - started_s,
            swap_seconds=ended_s - merged_s,
        )
        LOG.info(
            "compacted",
            extra={
                "hour": done.hour,
                "files_before": done.files_before,
                "files_after": done.files_after,
                "rows": done.rows,
                "tries": done.tries,
                "ms": round(done.seconds * 1000),
            },
        )
        return done

    def _between_chunks(self) -> None:
        if self._stop.is_set():
            raise Interrupted
        self._lease.keep()

    def _swap(self, old: list[DataFile], new: list[DataFile], layout: Layout) -> int:
        """Steps 2 to 4; returns the number of tries, 0 when the files are not to be replaced any more."""
        compaction_id, last = str(uuid.uuid4()), Try(1, uncertain=False)

        def once(one: Try) -> int:
            nonlocal last
            last = one
            if self._stop.is_set():
                raise Interrupted
            table = self._lake.table()
            if one.uncertain and _is_committed(table.metadata, compaction_id):
                return one.number
            checkpoints = checkpoints_of(table)  # a table that was rolled back is not to be built upon
            if layout_of(table) != layout:
                raise _Outdated
            with (
                QuickTransaction(table) as transaction,
                transaction.update_snapshot(
                    snapshot_properties={SUMMARY_COMPACTION_ID: compaction_id, **kept(checkpoints)}
                ).overwrite() as overwrite,
            ):
                for file in old:
                    overwrite.delete_data_file(file)
                for file in new:
                    overwrite.append_data_file(file)
            return one.number

        try:
            return commit_optimistically(
                once,
                what="The swap of a compaction",
                hint="The table is as it was; a running consumer tries again.",
                clock=self._clock,
                rng=self._rng,
                longest_pause_s=LONGEST_PAUSE_S,
            )
        except (Interrupted, ValidationException, _Outdated) as error:
            if not last.uncertain:  # else the table may have the merged files, and the orphan removal decides
                try:
                    delete_files(self._lake.table(), new)
                except LakeError as unloaded:
                    LOG.warning("merged files stay for orphan removal", extra={"error": first_line(unloaded)})
            if isinstance(error, _Outdated):
                raise LakeError(
                    "Another program changed the schema or the partition spec during a merge; the merge was discarded.",
                    "The table is as it was. Try again: k2ctl lake compact",
                ) from error
            return 0  # stopped, or a file is not live any more: another compactor was first


def _is_committed(metadata: TableMetadata, compaction_id: str) -> bool:
    return any(
        snapshot.summary is not None
        and snapshot.summary.additional_properties.get(SUMMARY_COMPACTION_ID) == compaction_id
        for snapshot in ancestors(metadata)
    )
