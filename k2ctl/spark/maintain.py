"""`k2ctl lake maintain`: what Spark does for a large table, one step after the other, under the lease of maintenance.

1. Rewrite closed hours, some at a time, as sorted files of the target size. Spark writes them; k2ctl checks what they
   replace, compares counts, and swaps them in with its own commit: Iceberg's own would lose against fast appenders, as
   the table allows it no second try.
2. Expire snapshots by the profile's rule: the same code as everywhere. Tagged ones stay.
3. Delete unreachable files of the table's own location, found by Spark, that are older than three days.
4. Rewrite the manifests.

The lease is kept all the time and looked at before each step. A running consumer leaves maintenance alone meanwhile;
what it would have done to the hours that get trades is done here (`meanwhile`).
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from k2ctl.clock import Clock
from k2ctl.domain.offers import Layout
from k2ctl.domain.rows import HOUR_US
from k2ctl.endpoints import Endpoints
from k2ctl.errors import DamagedFile, LakeError, UsageError, first_line
from k2ctl.lake.catalog import Lake
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.live_files import LiveFile, closed_hours, hour_name, in_more_files, live_files
from k2ctl.lake.maintenance.compaction import mergeable
from k2ctl.lake.maintenance.lease import Lease, LeaseOf
from k2ctl.lake.maintenance.maintainer import expire
from k2ctl.lake.maintenance.merge import ORDER
from k2ctl.lake.maintenance.orphans import OrphansRemoved, remove_listed
from k2ctl.lake.maintenance.rewritten import Rewritten, intact, swap_in
from k2ctl.spark.meanwhile import Meanwhile
from k2ctl.spark.process import Say, SparkError, SparkProcess
from k2ctl.spark.settings import SparkPlace
from k2ctl.timing import Every

TARGET_BYTES: Final = 256 * 1024 * 1024
HOURS_AT_ONCE: Final = 4
LEAST_ORPHAN_AGE_S: Final = 3 * 86_400.0
"""Longer than any program takes between writing a file and committing it."""

MANIFESTS: Final = 20
"""So few manifests cost a plan nothing, and are left as they are."""

AGAIN: Final = "k2ctl lake maintain --engine spark"

_WRITING: Final = {
    "write.parquet.row-group-size-bytes": str(2 * 1024 * 1024),
    "write.parquet.page-row-limit": "20000",
    "write.target-file-size-bytes": str(TARGET_BYTES),
}
"""Small row groups: a query of one symbol reads those that have it."""


@dataclass(frozen=True)
class SparkPlan:
    """What one run is to do."""

    retention: SnapshotRetention
    # Live files of an hour that still gets trades, before they are merged.
    compact_after_files: int = 12
    target_bytes: int = TARGET_BYTES
    # How many hours are rewritten together, and committed together.
    hours_at_once: int = HOURS_AT_ONCE
    orphans_after_s: float = LEAST_ORPHAN_AGE_S

    def __post_init__(self) -> None:
        if self.orphans_after_s < LEAST_ORPHAN_AGE_S:
            raise UsageError(
                "Files younger than 3 days may be about to be committed by other programs.",
                "Younger files of k2ctl's own: k2ctl lake expire",
            )


@dataclass(frozen=True)
class Maintained:
    """What one run did."""

    # The hours that were rewritten.
    hours: tuple[str, ...]
    files_before: int
    files_after: int
    rows: int
    bytes_before: int
    bytes_after: int
    # Hours that another program changed meanwhile, or that have a damaged file; the next run sees to them.
    left: tuple[str, ...]
    snapshots_expired: int
    orphans: OrphansRemoved
    manifests_before: int
    manifests_after: int
    seconds: float
    # What could not be done, beside the rest.
    notes: tuple[str, ...] = ()


def maintain(
    endpoints: Endpoints, lake: Lake, place: SparkPlace, wanted: SparkPlan, lease_of: LeaseOf, clock: Clock, say: Say
) -> Maintained:
    """Do all steps. The table is whole at each moment: what is not committed when it ends is not a part of it.

    Raises:
        LakeError: another process maintains the table, took the lease over, or the table may not be changed.
        SparkError: Spark failed.
    """
    lease = lease_of(str(mergeable(lake).metadata.table_uuid))
    if not lease.acquire():
        raise LakeError(
            f"Maintenance is under way already: {lease.holder() or 'by another process'}.", "Wait for it, or try again."
        )
    started_s = clock.monotonic_s()
    try:
        meanwhile = Meanwhile(lake, lease, wanted.retention, wanted.compact_after_files, clock)
        with SparkProcess(endpoints, place, lake.table().location(), say, meanwhile.step) as spark:
            return _Run(spark, meanwhile, lake, wanted, lease, clock, say).all_steps(started_s)
    finally:
        lease.release()


class _Run:
    def __init__(
        self,
        spark: SparkProcess,
        meanwhile: Meanwhile,
        lake: Lake,
        wanted: SparkPlan,
        lease: Lease,
        clock: Clock,
        say: Say,
    ) -> None:
        self._meanwhile = meanwhile
        self._spark, self._lake, self._wanted, self._lease = spark, lake, wanted, lease
        self._clock, self._say = clock, say
        self._rewritten: list[Rewritten] = []
        self._hours: list[str] = []
        self._left: list[str] = []
        self._notes: list[str] = []

    def all_steps(self, started_s: float) -> Maintained:
        for hours in self._batches():
            self._meanwhile.hours = hours.keys()
            try:
                self._rewrite(hours)
            except DamagedFile as error:  # the hours beside them are no worse for it
                self._left += map(hour_name, hours)
                self._notes.append(first_line(error))
        self._meanwhile.hours = ()
        self._lease.keep()
        self._say("expiring snapshots")
        expired = self._meanwhile.snapshots_expired + expire(self._lake, self._wanted.retention, self._clock)
        orphans = self._remove_orphans()
        before, after = self._rewrite_manifests()
        return Maintained(
            tuple(self._hours),
            sum(one.files_before for one in self._rewritten),
            sum(one.files_after for one in self._rewritten),
            sum(one.rows for one in self._rewritten),
            sum(one.bytes_before for one in self._rewritten),
            sum(one.bytes_after for one in self._rewritten),
            tuple(self._left),
            expired,
            orphans,
            before,
            after,
            self._clock.monotonic_s() - started_s,
            tuple(self._notes),
        )

    def _batches(self) -> Iterator[Mapping[int, Sequence[LiveFile]]]:
        """The closed hours in too many files, some at a time, the oldest first."""
        closed = closed_hours(live_files(mergeable(self._lake)), self._clock.now_us() // 1000)
        due = [hour for hour, files in closed.items() if in_more_files(files, self._wanted.target_bytes)]
        for start in range(0, len(due), self._wanted.hours_at_once):
            yield {hour: closed[hour] for hour in due[start : start + self._wanted.hours_at_once]}

    def _rewrite(self, hours: Mapping[int, Sequence[LiveFile]]) -> None:
        names = [hour_name(hour) for hour in hours]
        which = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]} ({len(names)} hours)"
        layout = self._checked([file for files in hours.values() for file in files], f"checking {which}")
        written = self._spark.ask(
            "rewrite",
            f"rewriting {which}",
            hours_us=[[hour * HOUR_US, (hour + 1) * HOUR_US] for hour in hours],
            order=list(ORDER),
            properties=_WRITING,
            options={
                "rewrite-all": "true",
                "target-file-size-bytes": str(self._wanted.target_bytes),
                "max-concurrent-file-group-rewrites": str(self._wanted.hours_at_once),
                "use-starting-sequence-number": "false",
            },
        )
        self._lease.keep()
        self._say(f"committing {which}")
        done = swap_in(self._lake, written["removed"], written["added"], layout, clock=self._clock, again=AGAIN)
        if done is None:
            self._left += names
        else:
            self._rewritten.append(done)
            self._hours += names

    def _checked(self, files: Sequence[LiveFile], what: str) -> Layout:
        looked, shown = itertools.count(), Every(1.0, self._clock)

        def between() -> None:
            self._meanwhile.step()
            number = next(looked)
            if shown.due():
                self._say(f"{what}: {number:,} of {len(files):,} files")

        return intact(self._lake, files, between)

    def _remove_orphans(self) -> OrphansRemoved:
        self._lease.keep()
        before_ms = self._clock.now_us() // 1000 - round(self._wanted.orphans_after_s * 1000)
        found = self._spark.ask("orphans", "looking for unreachable files", before_ms=before_ms)
        self._lease.keep()
        self._say(f"deleting {len(found['paths']):,} unreachable files")
        return remove_listed(self._lake, found["paths"], self._wanted.orphans_after_s, self._clock)

    def _rewrite_manifests(self) -> tuple[int, int]:
        """Appenders may be faster every time: the manifests stay as they are then, which harms nothing."""
        self._lease.keep()
        table = mergeable(self._lake)
        snapshot = table.current_snapshot()
        if snapshot is None or len(snapshot.manifests(table.io)) <= MANIFESTS:
            return 0, 0
        try:
            done = self._spark.ask("manifests", "rewriting manifests")
        except SparkError as error:
            if "CommitFailed" not in str(error) and "Validation" not in str(error):
                raise
            self._notes.append("the manifests stay as they were: appenders were first every time")
            return 0, 0
        return done["before"], done["after"]
