"""Twenty-four hours of commits with their maintenance, compressed: the machine's clock is moved on between them."""

import gc
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import pytest
import time_machine

from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.lake.catalog import Lake
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.live_files import live_files
from k2ctl.lake.maintenance.maintainer import Maintainer
from k2ctl.lake.writer import TableWriter
from k2ctl.profiles import load_profile
from tests.made_trades import make_rows, make_trades
from tests.support.leases import of_this_machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

COMMIT_EVERY_S = 180
ROWS = 200
PARTITION = TopicPartition("t", "e", 0)


class MovedClock(SystemClock):
    """Runs with the clock that the test moves, its monotonic time too."""

    def monotonic_s(self) -> float:
        return time.time()


@dataclass(frozen=True)
class Hour:
    """What there is at the end of an hour."""

    commit_ms: float
    snapshots: int
    metadata_bytes: int
    newest_hours_files: int
    files_on_disk: int
    memory_bytes: int
    handles: int


class Day:
    """A table that gets a commit a minute, and its maintainer, which has all the time that it wants."""

    def __init__(self, folder: Path, lake: Lake, clock: time_machine.Traveller) -> None:
        profile = load_profile("laptop").lake
        self._folder, self._lake, self._clock = folder, lake, clock
        self._writer = TableWriter(lake, MovedClock(), SnapshotRetention.from_profile(profile.expire))
        self._maintainer = Maintainer(lake, profile, MovedClock(), of_this_machine)
        self._committed = 0
        self.stored_bytes = self.rewritten_bytes = 0

    def hour(self) -> Hour:
        taken = [self._minute() for _ in range(3600 // COMMIT_EVERY_S)]
        gc.collect()
        table, process = self._lake.table(), psutil.Process()
        files = live_files(table)
        return Hour(
            commit_ms=median(taken) * 1000,
            snapshots=len(table.metadata.snapshots),
            metadata_bytes=Path(table.metadata_location.removeprefix("file://")).stat().st_size,
            newest_hours_files=sum(file.hour == max(one.hour for one in files) for file in files),
            files_on_disk=sum(path.is_file() for path in self._folder.rglob("*")),
            memory_bytes=process.memory_info().rss,
            handles=process.num_fds(),
        )

    def _minute(self) -> float:
        """A commit and what maintenance finds due after it; the seconds of the commit."""
        self._clock.shift(COMMIT_EVERY_S)
        start, end = self._committed, self._committed + ROWS
        trades = make_trades(ROWS, start)
        trades["event_ns"] = np.int64(time.time_ns())
        began_s = time.perf_counter()
        step = OffsetDelta(start, end, Counts(seen=ROWS, stored=ROWS))
        assert not self._writer.commit([make_rows(trades, start)], {PARTITION: step}).fenced
        taken_s = time.perf_counter() - began_s
        self._committed = end
        self.stored_bytes += self._added_bytes()
        while done := self._maintainer.step():
            self.rewritten_bytes += self._added_bytes() if done.compactions else 0
        return taken_s

    def _added_bytes(self) -> int:
        """Of the newest snapshot."""
        summary = self._lake.table().metadata.snapshots[-1].summary
        return int(summary["added-files-size"] or 0) if summary else 0


def test_after_a_day_nothing_has_grown_but_the_hours(tmp_path: Path) -> None:
    lake = Lake(f"sqlite:///{tmp_path}/catalog.db", f"file://{tmp_path}/warehouse")
    with time_machine.travel(time.time(), tick=True) as clock, lake:
        day = Day(tmp_path, lake, clock)
        hours = [day.hour() for _ in range(24)]
    early, late = hours[7], hours[23]  # before the eighth, not all snapshots that the profile keeps are there
    # Of each hour stay its merged file, and one snapshot, which leads to files and manifests from before the merge.
    assert late.snapshots <= early.snapshots + 18
    assert late.files_on_disk <= early.files_on_disk + 18 * 25
    assert late.metadata_bytes <= 1.25 * early.metadata_bytes
    assert max(hour.newest_hours_files for hour in hours) < 40
    assert late.commit_ms <= 3 * early.commit_ms  # the machine may be busy
    assert late.memory_bytes <= 1.1 * early.memory_bytes
    assert late.handles <= early.handles
    assert day.rewritten_bytes <= 3 * day.stored_bytes
