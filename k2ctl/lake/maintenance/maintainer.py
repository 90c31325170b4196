"""Maintenance of the table: expiry, orphan removal and compaction, one step at a time, under a lease."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table

from k2ctl.clock import Clock
from k2ctl.domain.status_parts import MaintenanceTotals
from k2ctl.errors import LakeError, first_line
from k2ctl.lake.catalog import Lake, require_kept
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.commit import SnapshotRetention, Try, commit_optimistically
from k2ctl.lake.live_files import QUIET_MS, File, LiveFile, by_hour, due, hour_name, live_files
from k2ctl.lake.maintenance.compaction import Compaction, Compactor, mergeable
from k2ctl.lake.maintenance.known_files import KnownFiles
from k2ctl.lake.maintenance.lease import Lease, LeaseOf
from k2ctl.lake.maintenance.orphans import remove_orphans
from k2ctl.lake.pyiceberg_overrides.transaction import QuickTransaction, stage_removal
from k2ctl.profiles.model import LakeSettings as LakeProfile
from k2ctl.timing import Every

LOG: Final = logging.getLogger("k2ctl.lake")

STEP_EVERY_S: Final = 5.0

BUSY_STEP_EVERY_S: Final = 1.0
"""After a step that found work: with four commits a second an hour has a tier of twelve files every three seconds."""

LEAST_STEP_S: Final = 0.25
"""However fast ages pass: commits come no sooner for that."""

EXPIRE_EVERY_S: Final = 60.0
REMOVE_ORPHANS_EVERY_S: Final = 600.0
LOOK_EVERY_S: Final = 30.0
"""How often a table is looked at that has not changed: an hour of it may have ended."""


class Maintainer:
    """Does what is most due, one thing per `step`. Not thread-safe; has a lake of its own."""

    def __init__(
        self,
        lake: Lake,
        profile: LakeProfile,
        clock: Clock,
        lease_of: LeaseOf,
        stop: threading.Event | None = None,
        pace: float = 1.0,
    ) -> None:
        """pace: how many times as fast as usual all its ages and intervals pass."""
        self._lake = lake
        self._profile = profile
        self._clock = clock
        self._lease_of = lease_of
        self._stop = stop
        self._retention = SnapshotRetention.from_profile(profile.expire, pace)
        self._orphans_after_s, self._quiet_ms = profile.orphans_after_s / pace, round(QUIET_MS / pace)
        self._expiry_due = Every(EXPIRE_EVERY_S / pace, clock, first_s=EXPIRE_EVERY_S / pace)
        self._orphans_due = Every(REMOVE_ORPHANS_EVERY_S / pace, clock, first_s=REMOVE_ORPHANS_EVERY_S / pace)
        self._look_again = Every(LOOK_EVERY_S / pace, clock)
        self._files = KnownFiles()
        # The metadata file in which nothing was due.
        self._idle_at: str | None = None

    def step(self) -> MaintenanceTotals | None:
        """What one piece of work did, or None when nothing is due or another process holds the lease.

        Raises:
            LakeError: the catalog or the table's files could not be used; the table is as it was.
        """
        if self._is_unchanged():
            return None
        table = self._lake.find_table()
        if table is None or not self._is_anything_due(table):
            self._idle_at = table.metadata_location if table else None
            self._look_again.restart()
            return None
        self._idle_at = None
        lease = self._lease_of(str(table.metadata.table_uuid))
        if not lease.acquire():
            return None
        try:
            # Compaction last: a busy table always has something to merge, and what has a time of its own would wait.
            return self._expiry() or self._orphan_removal() or self._compaction(lease)
        finally:
            lease.release()

    def _is_anything_due(self, table: Table) -> bool:
        """Whether the lease is worth asking for; what is done then is decided under it."""
        return self._is_expiry_due(table) or self._orphans_due.is_due or bool(self._due_hours(self._files.of(table)))

    def _is_expiry_due(self, table: Table) -> bool:
        if not self._expiry_due.is_due:
            return False
        if not self._retention.expired(table.metadata, self._clock.now_us() // 1000):
            self._expiry_due.restart()
        return self._expiry_due.is_due

    def _is_unchanged(self) -> bool:
        """Whether the table is still the one in which nothing was due: its metadata is not loaded for that."""
        if self._idle_at is None or self._look_again.is_due or self._expiry_due.is_due or self._orphans_due.is_due:
            return False
        try:
            with self._lake.answering():
                return self._lake.catalog.location_of(self._lake.name) == self._idle_at
        except NoSuchTableError:
            return False

    def _due_hours(self, files: Sequence[File]) -> list[list[File]]:
        now_ms = self._clock.now_us() // 1000
        return due(files, self._profile.compact_after_files, now_ms, self._quiet_ms)

    def _expiry(self) -> MaintenanceTotals | None:
        if not self._expiry_due.due():
            return None
        expired = expire(self._lake, self._retention, self._clock)
        return MaintenanceTotals(snapshots_expired=expired) if expired else None

    def _compaction(self, lease: Lease) -> MaintenanceTotals | None:
        """One hour's compaction. An hour that fails keeps no other from it; it is raised when no other is due."""
        compactor, failed = Compactor(self._lake, self._clock, lease, self._stop), None
        for chosen in self._due_hours(live_files(self._lake.table())):
            try:
                done = compactor.compact(chosen)
            except LakeError as error:
                LOG.warning("compaction failed", extra={"hour": hour_name(chosen[0].hour), "error": first_line(error)})
                failed = failed or error
                continue
            return MaintenanceTotals(compactions=1, files_merged=done.files_before) if done else None
        if failed is not None:
            raise failed
        return None

    def _orphan_removal(self) -> MaintenanceTotals | None:
        if not self._orphans_due.due():
            return None
        removed = remove_orphans(self._lake, self._orphans_after_s, self._clock)
        return MaintenanceTotals(orphans_removed=removed.files) if removed.files else None


def _snapshots(table: Table) -> set[int]:
    return {snapshot.snapshot_id for snapshot in table.metadata.snapshots}


def expire(lake: Lake, retention: SnapshotRetention, clock: Clock) -> int:
    """Drop the snapshots that `retention` does not keep; returns how many. Orphan removal deletes their files.

    Raises:
        LakeError: other commits were first every time, or the catalog does not answer.
    """

    def once(_: Try) -> int:
        table = lake.table()
        checkpoints_of(table)  # the snapshots that lead back to its offsets stay
        gone = set(retention.expired(table.metadata, clock.now_us() // 1000))
        if gone:
            with QuickTransaction(table) as transaction:
                stage_removal(transaction, gone)
            require_kept(lake, "an expiry", lambda now: gone.isdisjoint(_snapshots(now)))
        return len(gone)

    started_s = clock.monotonic_s()
    expired = commit_optimistically(once, what="Expiry", hint="Try again: k2ctl lake expire", clock=clock)
    if expired:
        LOG.info("expired", extra={"snapshots": expired, "ms": round((clock.monotonic_s() - started_s) * 1000)})
    return expired


def compact_now(
    lake: Lake, clock: Clock, choose: Callable[[Sequence[LiveFile]], list[list[LiveFile]]], lease_of: LeaseOf
) -> list[Compaction]:
    """Compact what `choose` picks of the live files, hour by hour, for `k2ctl lake compact`.

    Raises:
        LakeError: another process is maintaining the table, or its files may not be merged.
    """
    lease = lease_of(str(lake.table().metadata.table_uuid))
    if not lease.acquire():
        raise LakeError(
            f"Maintenance is under way already: {lease.holder() or 'by another process'}.", "Wait for it, or try again."
        )
    try:
        compactor = Compactor(lake, clock, lease)
        done = (compactor.compact(files) for files in choose(live_files(mergeable(lake))))
        return [compaction for compaction in done if compaction is not None]
    finally:
        lease.release()


def whole_hours(files: Sequence[LiveFile], hour: int | None = None) -> list[list[LiveFile]]:
    """Every hour with more than one file, or the one that is named: all its files."""
    hours = by_hour(files)
    return [members for at, members in hours.items() if len(members) > 1 and hour in (None, at)]


class BackgroundMaintenance:
    """A `Maintainer` on a thread of its own, with a lake of its own. A failing step is logged and tried again."""

    def __init__(
        self,
        open_lake: Callable[[], Lake],
        profile: LakeProfile,
        clock: Clock,
        lease_of: LeaseOf,
        every_s: float = STEP_EVERY_S,
        pace: float = 1.0,
    ) -> None:
        self._open_lake = open_lake
        self._lease_of = lease_of
        self._profile = profile
        self._clock = clock
        self._every_s, self._pace = max(every_s / pace, min(every_s, LEAST_STEP_S)), pace
        self._stop = threading.Event()
        self._totals = MaintenanceTotals()
        # Why the last step failed; empty while maintenance works.
        self.last_error = ""
        self._thread = threading.Thread(target=self._run, name="k2-maintenance", daemon=True)

    def start(self) -> None:
        """Begin; the first step comes after one interval."""
        self._thread.start()

    def stop(self) -> None:
        """End: a merge under way ends between two chunks of rows."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def snapshot(self) -> MaintenanceTotals:
        return self._totals

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                with self._open_lake() as lake:
                    self._maintain(self._maintainer(lake))
            except Exception as error:  # the catalog was away when it was opened; the consumer goes on
                self._note(error)

    def _maintainer(self, lake: Lake) -> Maintainer:
        return Maintainer(lake, self._profile, self._clock, self._lease_of, self._stop, self._pace)

    def _maintain(self, maintainer: Maintainer) -> None:
        while not self._stop.is_set():
            try:
                done = maintainer.step()
                self._totals += done or MaintenanceTotals()
                self.last_error = ""
            except Exception as error:  # the consumer goes on, whatever happens here
                done = None
                self._note(error)
            self._stop.wait(min(self._every_s, BUSY_STEP_EVERY_S) if done else self._every_s)

    def _note(self, error: Exception) -> None:
        self.last_error = f"{type(error).__name__}: {first_line(error)}"
        LOG.warning("a step of maintenance failed and is tried again", extra={"error": self.last_error})
