"""What a power cut may take: on a local disk every file that a commit names was synced before the commit shows it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from pyiceberg.table import Table
from sqlalchemy import event

from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.lake.catalog import Lake
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.maintenance.maintainer import compact_now, expire, whole_hours
from k2ctl.lake.maintenance.orphans import reachable_names
from k2ctl.lake.writer import TableWriter
from tests.made_trades import make_rows, make_trades
from tests.support.leases import of_this_machine

CLOCK = SystemClock()
SWAPS = ("UPDATE iceberg_tables", "INSERT INTO iceberg_tables")


@dataclass
class Disk:
    """What was synced, by inode: how large it was then. At every swap of a table's checkpoint that is written down."""

    synced: dict[int, int] = field(default_factory=dict)
    at_swap: list[dict[int, int]] = field(default_factory=list)

    def unsafe(self, table: Table, warehouse: Path) -> list[str]:
        """Files and folders that the table leads to and that were not on the disk, whole, at its last swap."""
        location = Path(unquote(urlparse(table.location()).path))
        files = [location / name for name in reachable_names(table)]
        above = {parent for file in files for parent in file.parents if parent.is_relative_to(warehouse)}
        safe = self.at_swap[-1]
        return [
            *(str(file) for file in files if safe.get(file.stat().st_ino) != file.stat().st_size),
            *(str(folder) for folder in {*above, warehouse.parent} if folder.stat().st_ino not in safe),
        ]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made, fsync = Disk(), os.fsync

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        status = os.fstat(descriptor)
        made.synced[status.st_ino] = status.st_size

    monkeypatch.setattr(os, "fsync", synced)
    return made


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    return tmp_path / "new" / "ware house"


@pytest.fixture
def lake(tmp_path: Path, warehouse: Path, disk: Disk) -> Iterator[Lake]:
    (tmp_path / "new").mkdir()

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(SWAPS):
            disk.at_swap.append(dict(disk.synced))

    with Lake(f"sqlite:///{tmp_path}/catalog.db", f"file://{warehouse}") as opened:
        event.listen(opened.catalog.engine, "before_cursor_execute", note)
        yield opened


def append(lake: Lake, times: int) -> None:
    writer = TableWriter(lake, CLOCK)
    for start in range(0, times * 50, 50):
        advance = OffsetDelta(start, start + 50, Counts(seen=50, stored=50))
        writer.commit([make_rows(make_trades(50, start), start)], {TopicPartition("t", "e", 0): advance})


def test_a_new_table_is_on_the_disk_before_the_catalog_names_it(lake: Lake, disk: Disk, warehouse: Path) -> None:
    assert disk.unsafe(lake.ensure_table(), warehouse) == []


def test_all_that_a_commit_names_is_on_the_disk_before_the_swap(lake: Lake, disk: Disk, warehouse: Path) -> None:
    append(lake, 3)
    assert len(disk.at_swap) == 4
    assert disk.unsafe(lake.table(), warehouse) == []


def test_what_a_compaction_and_an_expiry_write_is_on_the_disk_before_the_swap(
    lake: Lake, disk: Disk, warehouse: Path
) -> None:
    append(lake, 5)
    (done,) = compact_now(lake, CLOCK, whole_hours, of_this_machine)
    assert done.files_after == 1
    assert disk.unsafe(lake.table(), warehouse) == []
    assert expire(lake, SnapshotRetention(2, 0, 0), CLOCK) == 4
    assert disk.unsafe(lake.table(), warehouse) == []


def test_a_folder_of_a_file_is_synced_after_the_file_came_into_it(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    table, synced = lake.ensure_table(), []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    with table.io.new_output(f"{table.location()}/data/one").create() as stream:
        stream.write(b"whole")
    path = Path(unquote(urlparse(table.location()).path)) / "data" / "one"
    assert synced[-2:] == [path.stat().st_ino, path.parent.stat().st_ino]


def test_the_catalog_syncs_each_of_its_commits(lake: Lake) -> None:
    with lake.catalog.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
