"""The table's condition: how many snapshots, files and rows, how far it has read, and whether the books balance."""

from collections import defaultdict
from dataclasses import dataclass

from k2ctl.clock import Clock
from k2ctl.domain.checkpoint import RETIRED_PARTITION, Counts
from k2ctl.domain.topics import TABLE
from k2ctl.errors import RolledBack
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import progress_of, recorded_progress
from k2ctl.lake.live_files import LiveFile, hours_name, live_files
from k2ctl.lake.maintenance.lease import Lease
from k2ctl.lake.maintenance.orphans import orphans
from k2ctl.lake.opened import unwritable_for


@dataclass(frozen=True)
class HourCondition:
    """An hour of the table, `2014-03-10T05` in UTC; or the several hours that files of others hold."""

    hour: str
    files: int
    rows: int
    bytes: int


@dataclass(frozen=True)
class LaneCondition:
    """A lane's head. partition: None for the sum of a whole epoch that is gone."""

    topic: str
    epoch: str
    partition: int | None
    next_offset: int
    counts: Counts
    balanced: bool


@dataclass(frozen=True)
class LakeCondition:
    """The state of the table at one snapshot.

    balanced: the accounting identity holds in every lane, and the rows stored by all lanes are the rows that the
    table holds. orphan_files, orphan_bytes: on disk, but no snapshot leads there. maintained_by: who holds the
    maintenance lease. rolled_back: what is wrong and what to do, of a table whose offsets are not from its snapshot.
    not_writable: why it takes no rows as another program has left it, and what to do.
    """

    location: str
    snapshot_id: int | None
    snapshot_age_s: float | None
    snapshots: int
    files: int
    rows: int
    bytes: int
    hours: tuple[HourCondition, ...]
    lanes: tuple[LaneCondition, ...]
    total: Counts
    balanced: bool
    orphan_files: int
    orphan_bytes: int
    maintained_by: str | None
    rolled_back: str = ""
    not_writable: tuple[str, ...] = ()


def condition_of(lake: Lake, clock: Clock) -> LakeCondition:
    """Look at the table.

    Raises:
        LakeError: there is no table, or its offsets cannot be read.
    """
    table, rolled_back = lake.table(), ""
    metadata, progress = table.metadata, recorded_progress(table)
    try:
        progress_of(table)
    except RolledBack as error:
        rolled_back = f"{error} {error.hint}"
    snapshot = metadata.current_snapshot()
    files = live_files(table)
    by_hours: dict[tuple[int, int], list[LiveFile]] = defaultdict(list)
    for file in files:
        by_hours[file.hour, file.last_hour].append(file)
    hours = tuple(
        HourCondition(hours_name(*at), len(members), sum(f.rows for f in members), sum(f.bytes for f in members))
        for at, members in sorted(by_hours.items())
    )
    lanes = tuple(
        LaneCondition(
            lane.topic,
            lane.epoch,
            None if lane.partition == RETIRED_PARTITION else lane.partition,
            head.next_offset,
            head.counts,
            head.counts.balanced,
        )
        for lane, head in sorted(progress.heads.items())
    )
    total, rows = progress.total(), sum(hour.rows for hour in hours)
    found = orphans(lake, clock)
    return LakeCondition(
        location=table.location(),
        snapshot_id=snapshot.snapshot_id if snapshot else None,
        snapshot_age_s=max(0.0, clock.now_us() / 1e6 - snapshot.timestamp_ms / 1e3) if snapshot else None,
        snapshots=len(metadata.snapshots),
        files=len(files),
        rows=rows,
        bytes=sum(file.bytes for file in files),
        hours=hours,
        lanes=lanes,
        total=total,
        balanced=all(lane.balanced for lane in lanes) and total.stored == rows and not rolled_back,
        orphan_files=len(found),
        orphan_bytes=sum(orphan.bytes for orphan in found),
        maintained_by=Lease(lake, clock).holder(),
        rolled_back=rolled_back,
        not_writable=tuple(f"{found.message} {found.hint}" for found in unwritable_for(TABLE, table)),
    )
