"""The sizes of files that maintenance keeps in memory are those of the table, and each manifest is read once."""

from pathlib import Path

import pytest

from k2ctl.clock import SystemClock
from k2ctl.lake.catalog import Lake
from k2ctl.lake.live_files import SizedFile, live_files
from k2ctl.lake.maintenance import known_files
from k2ctl.lake.maintenance.known_files import KnownFiles
from k2ctl.lake.maintenance.maintainer import compact_now, whole_hours
from k2ctl.lake.writer import TableWriter
from tests.support.lake_commits import commit
from tests.support.leases import of_this_machine

CLOCK = SystemClock()


def sizes(files: list[SizedFile]) -> list[tuple[int, int, int | None, int, int]]:
    return sorted((f.hour, f.more_hours, f.added_ms, f.rows, f.bytes) for f in files)


def test_they_are_the_live_files_after_appends_and_compactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = list[str]()
    inner = known_files._read
    monkeypatch.setattr(
        known_files, "_read", lambda scan, manifest: read.append(manifest.manifest_path) or inner(scan, manifest)
    )
    with Lake(f"sqlite:///{tmp_path}/catalog.db", f"file://{tmp_path}/warehouse") as lake:
        writer, known = TableWriter(lake, CLOCK), KnownFiles()
        assert known.of(lake.table()) == []
        for start in range(0, 300, 50):
            commit(writer, start)
            if start == 200:
                assert compact_now(lake, CLOCK, whole_hours, of_this_machine)
            assert sizes([*known.of(lake.table())]) == sizes([*live_files(lake.table())])
    assert len(read) == len(set(read)) == 7
