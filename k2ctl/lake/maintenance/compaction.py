"""Compaction: an hour's many small files become one sorted file, while appenders go on committing.

The files are written first, without haste. Then a short swap on fresh metadata replaces exactly the files that were
read: pyiceberg's own `Table.overwrite` plans and writes between load and commit, and lost 9 of 9 against an appender.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pyiceberg.table import Table

from k2ctl.clock import Clock
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.data_files import Listed, checked
from k2ctl.lake.files import layout_of
from k2ctl.lake.live_files import LiveFile, hour_name
from k2ctl.lake.maintenance.lease import Lease
from k2ctl.lake.maintenance.swap import Interrupted, swap
from k2ctl.lake.opened import check_writable

LOG: Final = logging.getLogger("k2ctl.lake")


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


def mergeable(lake: Lake) -> Table:
    """The table, if its files may be merged.

    Raises:
        LakeError: it was rolled back, or other programs have left it so that k2ctl cannot write to it.
    """
    table = lake.table()
    checkpoints_of(table)
    check_writable(lake.name, table)
    return table


class Compactor:
    """Merges files of one hour. The caller holds the lease."""

    def __init__(self, lake: Lake, clock: Clock, lease: Lease, stop: threading.Event | None = None) -> None:
        self._lake = lake
        self._clock = clock
        self._lease = lease
        self._stop = stop or threading.Event()

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
        # With DuckDB: a consumer that merges nothing does without its memory.
        from k2ctl.lake.maintenance.merge import merge

        started_s = self._clock.monotonic_s()
        try:
            with self._lake.answering():
                table = mergeable(self._lake)
                checked(table.io, (Listed.of(file.file) for file in files), again=True)
                merged = merge(self._lake, table, files, self._between_chunks)
        except Interrupted:
            return None
        merged_s = self._clock.monotonic_s()
        tries = swap(
            self._lake,
            [file.file for file in files],
            merged,
            layout_of(table),
            clock=self._clock,
            stopped=self._stop.is_set,
            again="k2ctl lake compact",
        )
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
