"""What a writer has in memory of the metadata is what the file says, after whatever commit, on each catalog."""

from pathlib import Path

import pytest
from pyiceberg.types import LongType

from k2ctl.clock import SystemClock
from k2ctl.errors import DamagedFile
from k2ctl.lake.addresses import local_path
from k2ctl.lake.catalog import Lake
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.maintenance.maintainer import compact_now, expire, whole_hours
from k2ctl.lake.pyiceberg_overrides.transaction import QuickTransaction, stage_tag
from k2ctl.lake.writer import TableWriter
from tests.support.lake_commits import Opener, commit
from tests.support.leases import of_this_machine

CLOCK = SystemClock()


def test_the_metadata_in_memory_is_that_of_the_file_after_every_kind_of_commit(
    open_lake: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k2ctl.lake.swap.EXPIRE_EVERY", 2)
    lake = open_lake()
    writer = TableWriter(lake, CLOCK, SnapshotRetention(2, 1, 1))

    def require_alike() -> None:
        known, read = lake.table().metadata, open_lake().table().metadata
        assert known == read
        assert known.model_dump_json() == read.model_dump_json()

    for start in range(0, 200, 50):
        commit(writer, start)
        require_alike()
    with QuickTransaction(lake.table()) as transaction:
        stage_tag(transaction, "kept", lake.table().metadata.snapshots[-1].snapshot_id)
        transaction.set_properties({"of-another": "program"})
    require_alike()
    assert compact_now(lake, CLOCK, whole_hours, of_this_machine)
    require_alike()
    with lake.table().update_schema() as update:
        update.add_column("of_another", LongType())
    require_alike()
    assert expire(lake, SnapshotRetention(1, 0, 0), CLOCK)
    require_alike()


def test_a_commit_of_another_is_seen_at_once_by_who_has_the_metadata_in_memory(open_lake: Opener) -> None:
    one, other = open_lake(), open_lake()
    commit(TableWriter(one, CLOCK), 0)
    before = one.table().metadata
    commit(TableWriter(other, CLOCK), 50)
    assert one.table().metadata == other.table().metadata != before


def test_a_file_on_the_disk_that_was_altered_since_is_read_again(tmp_path: Path) -> None:
    with Lake(f"sqlite:///{tmp_path}/catalog.db", f"file://{tmp_path}/warehouse") as lake:
        commit(TableWriter(lake, CLOCK), 0)
        path = local_path(lake.table().metadata_location)
        assert path is not None
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(DamagedFile):
            lake.table()
