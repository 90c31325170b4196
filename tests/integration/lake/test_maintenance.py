"""Compaction, expiry and collection beside appenders: the table's rows and offsets never change by them."""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation

from k2ctl.clock import ManualClock, SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.domain.rows import SORTED_BY
from k2ctl.domain.status_parts import MaintenanceTotals
from k2ctl.errors import DamagedFile, LakeError
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.live_files import live_files
from k2ctl.lake.maintenance.compaction import Compactor
from k2ctl.lake.maintenance.maintainer import (
    REMOVE_ORPHANS_EVERY_S,
    BackgroundMaintenance,
    Maintainer,
    compact_now,
    expire,
    whole_hours,
)
from k2ctl.lake.maintenance.orphans import orphans, reachable_names, remove_orphans
from k2ctl.lake.maintenance.status import status_of
from k2ctl.lake.snapshots import pin
from k2ctl.lake.writer import TableWriter
from k2ctl.profiles.model import Expire
from k2ctl.profiles.model import LakeSettings as LakeProfile
from k2ctl.query.history import Asked, History
from tests.made_trades import make_rows, make_trades
from tests.support.leases import of_this_machine
from tests.support.polling import until

CLOCK = SystemClock()
KEEP_TEN = SnapshotRetention(10, 0, 0)
PROFILE = LakeProfile(
    expire=Expire(keep_last=10, one_a_minute_for_s=0.001, one_an_hour_for_s=0.001),
    compact_after_files=8,
    orphans_after_s=0.001,
)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with open_lake(tmp_path) as opened:
        yield opened


def open_lake(folder: Path) -> Lake:
    return Lake(f"sqlite:///{folder}/catalog.db", f"file://{folder}/ware house")


class Appender:
    """Commits made trades, 50 at a time, to a partition of its own."""

    def __init__(self, lake: Lake, topic: str = "t") -> None:
        self._writer = TableWriter(lake, CLOCK, KEEP_TEN)
        self.topic = topic
        self.committed = 0

    def append(self, times: int = 1) -> None:
        for _ in range(times):
            start, end = self.committed, self.committed + 50
            rows = make_rows(make_trades(50, start, session=hash(self.topic) % 1000), start, self.topic)
            advance = OffsetDelta(start, end, Counts(seen=50, stored=50))
            assert not self._writer.commit([rows], {TopicPartition(self.topic, "e", 0): advance}).fenced
            self.committed = end


def rows_of(table: Table) -> pa.Table:
    """All rows, in an order of their own."""
    whole = table.scan().to_arrow()
    keys = [(name, "ascending") for name in ("kafka_topic", "kafka_partition", "kafka_offset", "kafka_index")]
    return whole.sort_by(keys)


def compact_all(lake: Lake) -> None:
    compact_now(lake, CLOCK, whole_hours, of_this_machine)


def test_a_compaction_keeps_every_row_and_the_offsets_and_sorts(lake: Lake) -> None:
    appender = Appender(lake)
    appender.append(12)
    before, checkpoints = rows_of(lake.table()), checkpoints_of(lake.table())
    done = compact_now(lake, CLOCK, whole_hours, of_this_machine)
    assert [(entry.files_before, entry.files_after, entry.rows) for entry in done] == [(12, 1, 600)]
    table = lake.table()
    assert rows_of(table).equals(before)
    assert checkpoints_of(table) == checkpoints
    summary = table.metadata.snapshots[-1].summary
    assert summary is not None
    assert summary.operation is Operation.REPLACE
    stored = table.scan().to_arrow()
    order = pc.sort_indices(stored, sort_keys=[(name, "ascending") for name in SORTED_BY])
    assert stored.take(order).equals(stored)
    appender.append()
    assert len(rows_of(lake.table())) == 650


def test_a_compacted_file_is_described_like_any_other(lake: Lake) -> None:
    Appender(lake).append(3)
    one, *_ = live_files(lake.table())
    compact_all(lake)
    (merged,) = live_files(lake.table())
    assert set(merged.file.lower_bounds or {}) == set(one.file.lower_bounds or {})
    assert merged.file.sort_order_id == one.file.sort_order_id
    assert merged.hour == one.hour
    assert sum((merged.file.value_counts or {}).values()) == 3 * sum((one.file.value_counts or {}).values())


def test_offsets_are_trusted_after_compaction_and_expiry_together(lake: Lake) -> None:
    appender = Appender(lake)
    for _ in range(15):
        appender.append()
        if appender.committed % 150 == 0:
            compact_all(lake)
        expire(lake, SnapshotRetention(1, 0, 0), CLOCK)
        assert checkpoints_of(lake.table()).total().stored == appender.committed
    compact_all(lake)
    expire(lake, SnapshotRetention(1, 0, 0), CLOCK)
    assert len(lake.table().metadata.snapshots) == 1
    assert checkpoints_of(lake.table()).total().stored == 750
    appender.append()


def test_a_rollback_past_a_commit_is_recognised_and_one_past_a_compaction_is_none(lake: Lake) -> None:
    appender = Appender(lake)
    appender.append(4)
    older, newest = (snapshot.snapshot_id for snapshot in lake.table().metadata.snapshots[-2:])
    compact_all(lake)
    lake.table().manage_snapshots().rollback_to_snapshot(newest).commit()
    assert checkpoints_of(lake.table()).total().stored == 200
    lake.table().manage_snapshots().rollback_to_snapshot(older).commit()
    with pytest.raises(LakeError, match="rolled back"):
        checkpoints_of(lake.table())
    with pytest.raises(LakeError, match="rolled back"):
        compact_all(lake)


def test_of_two_compactors_of_the_same_files_one_wins_and_the_other_leaves_nothing(tmp_path: Path, lake: Lake) -> None:
    Appender(lake).append(5)
    before = rows_of(lake.table())
    files = live_files(lake.table())
    lease = of_this_machine("t")
    results = [Compactor(lake, CLOCK, lease).compact(files) for _ in range(2)]
    assert [result is not None for result in results] == [True, False]
    assert rows_of(lake.table()).equals(before)
    data = {path.name for path in tmp_path.rglob("*.parquet")}
    assert data == {file.path.rpartition("/")[2] for file in [*files, *live_files(lake.table())]}


def test_a_merge_that_loses_rows_is_thrown_away(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    Appender(lake).append(5)
    from k2ctl.lake.maintenance import merge as merging

    original = merging._sorted_chunks
    monkeypatch.setattr(merging, "_sorted_chunks", lambda *a: (chunk.slice(1) for chunk in original(*a)))
    snapshot = lake.table().metadata.current_snapshot_id
    with pytest.raises(LakeError, match="249 rows for 250"):
        compact_all(lake)
    assert lake.table().metadata.current_snapshot_id == snapshot
    assert orphans(lake, CLOCK) == []


def test_a_swap_whose_answer_is_lost_is_recognised(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    Appender(lake).append(5)
    original, calls = lake.catalog.commit_table, []

    def lose_the_answer(*arguments: object) -> object:
        calls.append(1)
        result = original(*arguments)
        if len(calls) == 1:
            raise ConnectionError("the answer is lost")
        return result

    monkeypatch.setattr(lake.catalog, "commit_table", lose_the_answer)
    (done,) = compact_now(lake, CLOCK, whole_hours, of_this_machine)
    assert done.tries == 2
    assert len(calls) == 1
    assert len(live_files(lake.table())) == 1
    assert len(rows_of(lake.table())) == 250


def test_a_disk_that_is_full_in_the_middle_of_a_merge_is_named(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    Appender(lake).append(5)
    from k2ctl.lake.maintenance import merge as merging

    def full(*_: object) -> object:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(merging, "write_chunks", full)
    with pytest.raises(LakeError, match=r"The warehouse .* cannot be used: .*No space left"):
        compact_all(lake)


def test_an_expiry_that_another_was_quicker_with_drops_what_is_left(
    tmp_path: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    Appender(lake).append(5)
    original, quicker = lake.catalog.commit_table, []

    def come_second(*arguments: object) -> object:
        if not quicker:
            with open_lake(tmp_path) as other:
                quicker.append(expire(other, SnapshotRetention(3, 0, 0), CLOCK))
        return original(*arguments)

    monkeypatch.setattr(lake.catalog, "commit_table", come_second)
    assert expire(lake, SnapshotRetention(2, 0, 0), CLOCK) == 1
    assert quicker == [2]
    assert len(lake.table().metadata.snapshots) == 2


def test_a_stopped_merge_leaves_nothing_behind(lake: Lake) -> None:
    Appender(lake).append(5)
    stop = threading.Event()
    stop.set()
    assert Compactor(lake, CLOCK, of_this_machine("t"), stop).compact(live_files(lake.table())) is None
    assert orphans(lake, CLOCK) == []


def test_a_large_hour_becomes_several_full_files(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    from k2ctl.lake.maintenance import merge as merging

    Appender(lake).append(4)
    monkeypatch.setattr(merging, "ROW_GROUP_ROWS", 40)
    monkeypatch.setattr(merging, "FULL_FILE_ROWS", 80)
    before = rows_of(lake.table())
    (done,) = compact_now(lake, CLOCK, whole_hours, of_this_machine)
    assert done.rows == 200
    assert done.files_after >= 2
    assert rows_of(lake.table()).equals(before)


def test_orphan_removal_deletes_what_nothing_reaches_and_nothing_else(tmp_path: Path, lake: Lake) -> None:
    Appender(lake).append(6)
    compact_all(lake)
    expire(lake, SnapshotRetention(1, 0, 0), CLOCK)
    location = tmp_path / "ware house/market_data/trades"
    outside = tmp_path / "ware house/other.parquet"
    outside.write_bytes(b"not the table's")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_bytes(b"x")
    (location / "data/link").symlink_to(elsewhere)
    before, reachable = rows_of(lake.table()), reachable_names(lake.table())

    assert remove_orphans(lake, 3600, CLOCK).files == 0
    planned = remove_orphans(lake, 0, CLOCK, dry_run=True)
    assert planned.files >= 12
    assert remove_orphans(lake, 0, CLOCK).files == planned.files
    on_disk = {str(path.relative_to(location)) for path in location.rglob("*") if path.is_file()}
    assert on_disk - {"data/link"} == reachable
    assert outside.exists()
    assert (elsewhere / "precious").exists()
    assert rows_of(lake.table()).equals(before)
    assert status_of(lake, CLOCK, of_this_machine).orphan_files == 0


def test_files_of_writers_on_their_way_stay(tmp_path: Path, lake: Lake) -> None:
    Appender(lake).append(2)
    in_flight = tmp_path / "ware house/market_data/trades/data/in-flight.parquet"
    in_flight.write_bytes(b"soon to be committed")
    os.utime(in_flight, (time.time() - 1800, time.time() - 1800))
    assert remove_orphans(lake, 3600, CLOCK).young == 1
    assert in_flight.exists()


def test_a_maintainer_does_one_thing_a_step(lake: Lake) -> None:
    clock = ManualClock(CLOCK.now_us())
    maintainer = Maintainer(lake, PROFILE, clock, of_this_machine)
    assert maintainer.step() is None, "no table yet"
    appender = Appender(lake)
    appender.append(9)
    report = maintainer.step()
    assert report == MaintenanceTotals(compactions=1, files_merged=9)
    assert maintainer.step() is None
    appender.append(3)
    assert maintainer.step() is None, "an hour that is still written to waits for more files"
    clock.advance(1000)
    kinds = []
    while (report := maintainer.step()) is not None:
        kinds.append("compaction" if report.compactions else "orphans" if report.orphans_removed else "expiry")
    assert kinds == ["expiry", "orphans", "compaction"]
    assert len(rows_of(lake.table())) == 600


def test_orphans_are_removed_though_there_is_always_something_to_merge(lake: Lake) -> None:
    clock = ManualClock(CLOCK.now_us())
    appender, maintainer, reports = Appender(lake), Maintainer(lake, PROFILE, clock, of_this_machine), []
    for _ in range(3):
        appender.append(PROFILE.compact_after_files)
        clock.advance(REMOVE_ORPHANS_EVERY_S / 2)
        expire(lake, KEEP_TEN, clock)
        reports.append(maintainer.step())
    assert any(report and report.orphans_removed for report in reports)


def test_an_hour_that_cannot_be_merged_keeps_no_other_from_it(lake: Lake) -> None:
    appender = Appender(lake)
    appender.append(10)
    broken = live_files(lake.table())[0]
    Path(broken.path.removeprefix("file://")).write_bytes(b"not Parquet")
    writer = TableWriter(lake, CLOCK)
    for number in range(8):
        trades = make_trades(50, number * 50, session=5)
        trades["event_ns"] += 3_600_000_000_000
        advance = OffsetDelta(number * 50, number * 50 + 50, Counts(seen=50, stored=50))
        writer.commit([make_rows(trades, number * 50, "later")], {TopicPartition("later", "e", 0): advance})
    maintainer = Maintainer(lake, PROFILE, CLOCK, of_this_machine)
    assert maintainer.step() == MaintenanceTotals(compactions=1, files_merged=8)
    with pytest.raises(DamagedFile, match="its manifest says"):
        maintainer.step()


def test_a_maintainer_yields_to_another(lake: Lake) -> None:
    Appender(lake).append(9)
    other = of_this_machine(str(lake.table().metadata.table_uuid))
    assert other.acquire()
    assert Maintainer(lake, PROFILE, CLOCK, of_this_machine).step() is None
    other.release()
    assert len(live_files(lake.table())) == 9


def test_background_maintenance_survives_an_unreachable_table_and_stops(tmp_path: Path) -> None:
    with open_lake(tmp_path) as lake:
        Appender(lake).append(9)
    background = BackgroundMaintenance(lambda: open_lake(tmp_path), PROFILE, CLOCK, of_this_machine, every_s=0.05)
    for path in (tmp_path / "ware house").rglob("*.parquet"):
        path.rename(path.with_suffix(".away"))
    background.start()
    until(lambda: "cannot be merged" in background.last_error)
    for path in (tmp_path / "ware house").rglob("*.away"):
        path.rename(path.with_suffix(".parquet"))
    until(lambda: background.snapshot().compactions == 1)
    background.stop()
    assert not any(thread.name == "k2-maintenance" for thread in threading.enumerate())


def test_appends_compaction_expiry_orphan_removal_and_readers_together(tmp_path: Path) -> None:
    """Two appenders at four commits a second each, and everything that tidies up after them, for some seconds."""
    stop = threading.Event()
    lakes = [open_lake(tmp_path) for _ in range(4)]
    appenders = [Appender(lakes[0], "t"), Appender(lakes[1], "u")]
    failures: list[BaseException] = []

    def until_stopped(work: Callable[[], None], pause_s: float) -> threading.Thread:
        def run() -> None:
            try:
                while not stop.wait(pause_s):
                    work()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    history = History(lakes[3])

    def read_exactly() -> None:
        pinned = pin(lakes[3])
        if pinned is None:
            return
        ids = history.newest(pinned.plan(), Asked(), None)
        assert len(ids) == pinned.checkpoints.total().stored == pinned.rows

    maintainer = Maintainer(lakes[2], PROFILE, CLOCK, of_this_machine)
    compacted = []

    def maintain() -> None:
        report = maintainer.step()
        if report is not None and report.compactions:
            compacted.append(report)
        expire(lakes[2], KEEP_TEN, CLOCK)
        remove_orphans(lakes[2], 3.0, CLOCK)

    threads = [until_stopped(appender.append, 0.25) for appender in appenders]
    threads += [until_stopped(maintain, 0.3), until_stopped(read_exactly, 0.05)]
    try:
        until(lambda: len(compacted) >= 3 or bool(failures), 120)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    table = lakes[0].table()
    stored = rows_of(table)
    assert len(stored) == sum(appender.committed for appender in appenders)
    for appender in appenders:
        offsets = stored.filter(pc.equal(stored["kafka_topic"], appender.topic))["kafka_offset"].to_numpy()
        assert np.array_equal(offsets, np.arange(appender.committed))
        checkpoint = checkpoints_of(table).by_partition[TopicPartition(appender.topic, "e", 0)]
        assert (checkpoint.next_offset, checkpoint.counts.stored) == (appender.committed, appender.committed)
    assert status_of(lakes[0], CLOCK, of_this_machine).balanced
    for opened in lakes:
        opened.close()


def test_background_maintenance_begins_when_the_catalog_is_back(tmp_path: Path) -> None:
    asked = []

    def open_late() -> Lake:
        asked.append(len(asked))
        if len(asked) < 3:
            raise LakeError("The catalog does not answer", "k2ctl stack status")
        return open_lake(tmp_path)

    background = BackgroundMaintenance(open_late, PROFILE, CLOCK, of_this_machine, every_s=0.02)
    background.start()
    until(lambda: len(asked) == 3 and not background.last_error)
    background.stop()
