"""What consumers leave to the lease's owner while Spark works: expiry, and merges of the hours that get trades."""

import logging
from collections.abc import Collection
from typing import Final

from k2ctl.clock import Clock
from k2ctl.errors import LakeError, first_line
from k2ctl.lake.catalog import Lake
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.live_files import closed_hours, due, live_files
from k2ctl.lake.maintenance.compaction import Compactor
from k2ctl.lake.maintenance.lease import Lease
from k2ctl.lake.maintenance.maintainer import EXPIRE_EVERY_S, STEP_EVERY_S, expire
from k2ctl.timing import Every

LOG: Final = logging.getLogger("k2ctl.lake")


class Meanwhile:
    """One step at a time, between two looks at Spark. What Spark rewrites is left alone.

    Without it an hour of work on Spark would be an hour of commits without a merge or an expiry.
    """

    def __init__(self, lake: Lake, lease: Lease, retention: SnapshotRetention, after_files: int, clock: Clock) -> None:
        self._lake, self._lease, self._retention = lake, lease, retention
        self._after_files, self._clock = after_files, clock
        self._expiry_due = Every(EXPIRE_EVERY_S, clock, first_s=EXPIRE_EVERY_S)
        self._merge_due = Every(STEP_EVERY_S, clock, first_s=STEP_EVERY_S)
        # Hours that Spark rewrites now.
        self.hours: Collection[int] = ()
        self.snapshots_expired = 0

    def step(self) -> None:
        """Keep the lease, and do what is due.

        Raises:
            LakeError: the lease was lost.
        """
        self._lease.keep()
        try:
            if self._expiry_due.due():
                self.snapshots_expired += expire(self._lake, self._retention, self._clock)
            if self._merge_due.due():
                self._merge()
        except LakeError as error:
            LOG.warning("a step beside Spark failed and is tried again", extra={"error": first_line(error)})
            self._lease.keep()

    def _merge(self) -> None:
        files, now_ms = live_files(self._lake.table()), self._clock.now_us() // 1000
        spared = {*self.hours, *closed_hours(files, now_ms)}
        for chosen in due(files, self._after_files, now_ms):
            if chosen[0].hour not in spared:
                Compactor(self._lake, self._clock, self._lease).compact(chosen)
                return
