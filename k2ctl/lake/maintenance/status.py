"""The table's status: how many snapshots, files and rows, how far it has read, and whether the counts balance."""

from collections import defaultdict
from dataclasses import dataclass

from pyiceberg.table import Table

from k2ctl.clock import Clock
from k2ctl.domain.checkpoint import RETIRED_PARTITION, Checkpoints, Counts
from k2ctl.errors import LakeError, OffsetsDiffer, RolledBack
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of, recorded_checkpoints
from k2ctl.lake.live_files import LiveFile, hours_name, live_files
from k2ctl.lake.maintenance.lease import LeaseOf
from k2ctl.lake.maintenance.orphans import orphans
from k2ctl.lake.opened import unwritable_for
from k2ctl.lake.side_folder import SPILL, SideFolder, ledger_of, side_locations


@dataclass(frozen=True)
class HourStatus:
    """An hour of the table, `2014-03-10T05` in UTC; or the several hours of files that other programs wrote."""

    hour: str
    files: int
    rows: int
    bytes: int


@dataclass(frozen=True)
class PartitionCheckpoint:
    """A partition's checkpoint."""

    topic: str
    epoch: str
    # None for the sum of a whole epoch that is gone.
    partition: int | None
    next_offset: int
    counts: Counts
    balanced: bool


@dataclass(frozen=True)
class TableStatus:
    """The state of the table at one snapshot."""

    location: str
    snapshot_id: int | None
    snapshot_age_s: float | None
    snapshots: int
    files: int
    rows: int
    bytes: int
    hours: tuple[HourStatus, ...]
    partitions: tuple[PartitionCheckpoint, ...]
    total: Counts
    # The accounting identity holds in every partition, and the rows stored by all partitions are those of the table.
    balanced: bool
    # Files that no snapshot leads to, and their bytes.
    orphan_files: int
    orphan_bytes: int
    # The process that has the maintenance lease.
    maintained_by: str | None
    # What is wrong and what to do, of a table whose offsets are not from its snapshot.
    rolled_back: str = ""
    # The same, of a table whose offsets another program has changed.
    offsets_differ: str = ""
    # Why the table takes no rows as another program has left it, and what to do.
    not_writable: tuple[str, ...] = ()


def status_of(lake: Lake, clock: Clock, lease_of: LeaseOf) -> TableStatus:
    """Look at the table.

    Raises:
        LakeError: there is no table, or its offsets cannot be read.
    """
    table = lake.table()
    metadata, (checkpoints, rolled_back, differ) = table.metadata, _checkpoints(table)
    snapshot = metadata.current_snapshot()
    files = live_files(table)
    by_hours: dict[tuple[int, int], list[LiveFile]] = defaultdict(list)
    for file in files:
        by_hours[file.hour, file.last_hour].append(file)
    hours = tuple(
        HourStatus(hours_name(*at), len(members), sum(f.rows for f in members), sum(f.bytes for f in members))
        for at, members in sorted(by_hours.items())
    )
    partitions = tuple(
        PartitionCheckpoint(
            partition.topic,
            partition.epoch,
            None if partition.partition == RETIRED_PARTITION else partition.partition,
            checkpoint.next_offset,
            checkpoint.counts,
            checkpoint.counts.balanced,
        )
        for partition, checkpoint in sorted(checkpoints.by_partition.items())
    )
    total, rows = checkpoints.total(), sum(hour.rows for hour in hours)
    found = () if differ else orphans(lake, clock)  # what a changed ledger names is not known
    return TableStatus(
        location=table.location(),
        snapshot_id=snapshot.snapshot_id if snapshot else None,
        snapshot_age_s=max(0.0, clock.now_us() / 1e6 - snapshot.timestamp_ms / 1e3) if snapshot else None,
        snapshots=len(metadata.snapshots),
        files=len(files),
        rows=rows,
        bytes=sum(file.bytes for file in files),
        hours=hours,
        partitions=partitions,
        total=total,
        balanced=all(partition.balanced for partition in partitions)
        and total.stored == rows
        and not (rolled_back or differ),
        orphan_files=len(found),
        orphan_bytes=sum(orphan.bytes for orphan in found),
        maintained_by=lease_of(str(metadata.table_uuid)).holder(),
        rolled_back=rolled_back,
        offsets_differ=differ,
        not_writable=tuple(f"{found} {found.hint}" for found in unwritable_for(lake.name, table)),
    )


def _checkpoints(table: Table) -> tuple[Checkpoints, str, str]:
    """The checkpoints as they are recorded, and what is wrong with them: a rollback, or a difference to their copy."""
    try:
        return checkpoints_of(table), "", ""
    except RolledBack as error:
        return recorded_checkpoints(table), f"{error} {error.hint}", ""
    except OffsetsDiffer as error:
        try:
            return recorded_checkpoints(table), "", f"{error} {error.hint}"
        except LakeError:
            return Checkpoints(), "", f"{error} {error.hint}"


@dataclass(frozen=True)
class Balance:
    """The counters of the table, against its files."""

    # What the data files hold; equals total.stored.
    rows: int
    total: Counts
    # Partitions in which `seen` is not the sum of its parts.
    unbalanced: tuple[str, ...]
    # Trades that are deferred.
    outstanding: int
    # Files that the ledger names and that are not there.
    missing_spills: tuple[str, ...]
    # Files that the ledger does not name; a consumer that is about to commit has some too.
    forgotten_spills: tuple[str, ...]
    # Earlier epochs of topics, which were retired with what was unread of them.
    ended: tuple[str, ...] = ()

    @property
    def balanced(self) -> bool:
        """The accounting identity holds in every partition, and the rows stored are the rows that are there."""
        return not self.unbalanced and self.total.stored == self.rows


def read_balance(lake: Lake) -> Balance | None:
    """Read them, from one metadata file; None before the first consumer has made the table.

    Raises:
        LakeError: catalog or warehouse do not answer, or the offsets cannot be trusted.
    """
    table = lake.find_table()
    if table is None:
        return None
    with lake.answering():
        # Listed before the metadata is read: what is committed in between is then known.
        before = set(SideFolder(table).names(SPILL))
        table = lake.table()
        checkpoints, ledger, outstanding = checkpoints_of(table), ledger_of(table), _spill_names(lake)
        missing = outstanding - before - set(SideFolder(table).names(SPILL))
        return Balance(
            rows=sum(file.rows for file in live_files(table)),
            total=checkpoints.total(),
            unbalanced=tuple(
                f"{partition.topic} partition {partition.partition}"
                for partition, checkpoint in sorted(checkpoints.by_partition.items())
                if not checkpoint.counts.balanced
            ),
            outstanding=ledger.count,
            # One that was backfilled since is no longer named.
            missing_spills=tuple(sorted(missing & _spill_names(lake))) if missing else (),
            forgotten_spills=tuple(sorted(before - outstanding)),
            ended=tuple(
                sorted(
                    {
                        partition.epoch
                        for partition in checkpoints.by_partition
                        if partition.partition == RETIRED_PARTITION
                    }
                )
            ),
        )


def _spill_names(lake: Lake) -> set[str]:
    locations = side_locations(lake.table())
    return {location.rpartition("/")[2] for location in locations if f"/{SPILL}/" in location}
