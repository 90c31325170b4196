"""What stands around Spark, without it: the swap of files that another program wrote, orphans it lists, the lease."""

import os
import stat
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.io.pyarrow import schema_to_pyarrow

from k2ctl.clock import SystemClock
from k2ctl.endpoints import Endpoints
from k2ctl.errors import DamagedFile, LakeError, UsageError
from k2ctl.home import Home
from k2ctl.lake.catalog import Lake
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.live_files import LiveFile, closed_hours, in_more_files, live_files
from k2ctl.lake.maintenance.orphans import remove_listed
from k2ctl.lake.maintenance.rewritten import intact, swap_in
from k2ctl.spark.maintain import SparkPlan, maintain
from k2ctl.spark.meanwhile import Meanwhile
from k2ctl.spark.process import SparkError, SparkProcess
from k2ctl.spark.settings import ICEBERG, OF_SQLITE, SparkPlace
from tests.support.leases import of_this_machine
from tests.support.spark_tables import Later, append_now, fill, writer_of

RETENTION = SnapshotRetention(1000, 0, 0)


@pytest.fixture
def at(home: Path) -> Endpoints:
    folder = Home.of_user().folder("lake")
    return Endpoints("embedded", "", f"sqlite:///{folder}/catalog.db", f"file://{folder}/files", home=Home.of_user())


@pytest.fixture
def lake(at: Endpoints) -> Lake:
    found = Lake.at(at)
    fill(found, 4)
    return found


def written_by_others(lake: Lake, files: Sequence[LiveFile], rows: int | None = None) -> str:
    """The rows of some files as one that has no seal, not yet a part of the table."""
    schema = schema_to_pyarrow(lake.table().schema())
    whole = pa.concat_tables([pq.read_table(file.path.removeprefix("file://")) for file in files])
    path = f"{lake.table().location()}/data/{uuid.uuid4()}.parquet"
    pq.write_table(whole.slice(0, rows).cast(schema), path.removeprefix("file://"))
    return path


def first_hour(lake: Lake) -> list[LiveFile]:
    files = live_files(lake.table())
    return [file for file in files if file.hour == min(one.hour for one in files)]


def test_files_of_another_program_take_the_place_of_those_whose_rows_they_hold(lake: Lake) -> None:
    old = first_hour(lake)
    layout = intact(lake, old, lambda: None)
    new = written_by_others(lake, old)
    done = swap_in(lake, [file.path for file in old], [new], layout, clock=SystemClock(), again="again")
    assert done is not None
    assert (done.files_before, done.files_after, done.rows) == (2, 1, 800)
    assert new in {file.path for file in live_files(lake.table())}


def test_files_with_fewer_rows_are_refused_and_deleted(lake: Lake) -> None:
    old = first_hour(lake)
    new = written_by_others(lake, old, 799)
    with pytest.raises(LakeError, match="799 rows for 800"):
        swap_in(lake, [f.path for f in old], [new], intact(lake, old, lambda: None), clock=SystemClock(), again="again")
    assert not Path(new.removeprefix("file://")).exists()
    assert first_hour(lake) == old


def test_what_replaces_a_file_that_is_not_live_any_more_is_deleted(lake: Lake) -> None:
    old = first_hour(lake)
    new, layout = written_by_others(lake, old), intact(lake, old, lambda: None)
    gone = [old[0].path, f"{lake.table().location()}/data/gone.parquet"]
    assert swap_in(lake, gone, [new], layout, clock=SystemClock(), again="again") is None
    assert not Path(new.removeprefix("file://")).exists()


def test_a_damaged_file_is_not_given_to_others(lake: Lake) -> None:
    old = first_hour(lake)
    path = Path(old[0].path.removeprefix("file://"))
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFile):
        intact(lake, old, lambda: None)


def test_only_old_files_of_the_tables_own_location_are_deleted(lake: Lake, at: Endpoints) -> None:
    root = Path(lake.table().location().removeprefix("file://"))
    four_days_ago = time.time() - 4 * 86_400

    def made(name: str, age_s: float = 4 * 86_400) -> str:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (time.time() - age_s,) * 2)
        return f"file:{path}"

    old, young = made("data/old.parquet"), made("data/young.parquet", 2 * 86_400)
    side, beside = made("_k2/ledger/one.json"), made("../elsewhere/two.parquet")
    live = live_files(lake.table())[0].path.removeprefix("file://")
    removed = remove_listed(lake, [old, young, side, beside, f"file:{root}/data/gone"], 3 * 86_400, SystemClock())
    assert (removed.files, removed.young) == (1, 1)
    paths = [Path(one.removeprefix("file:")) for one in (old, young, side, beside)]
    assert [path.exists() for path in paths] == [False, True, True, True]
    assert Path(live).stat().st_mtime > four_days_ago


def test_files_younger_than_three_days_cannot_be_asked_for() -> None:
    with pytest.raises(UsageError, match="younger than 3 days"):
        SparkPlan(RETENTION, orphans_after_s=2 * 86_400)


def test_an_hour_is_closed_two_hours_after_its_end_and_when_it_is_quiet(lake: Lake) -> None:
    files, now_ms = live_files(lake.table()), time.time_ns() // 1_000_000
    assert not closed_hours(files, now_ms)  # written just now
    assert len(closed_hours(files, Later().now_us() // 1000)) == 2
    end_ms = (max(file.hour for file in files) + 1) * 3_600_000
    quiet = [LiveFile(file.file, file.hour, None) for file in files]
    assert len(closed_hours(quiet, end_ms + 2 * 3_600_000)) == 2
    assert len(closed_hours(quiet, end_ms + 2 * 3_600_000 - 1)) == 1
    assert in_more_files(files, 1 << 30)
    assert not in_more_files(files[:1], 1)


def test_a_second_maintainer_is_refused_before_spark_is_started(lake: Lake, at: Endpoints) -> None:
    lease = of_this_machine(str(lake.table().metadata.table_uuid))
    assert lease.acquire()
    with pytest.raises(LakeError, match="under way already"):
        maintain(at, lake, SparkPlace(), SparkPlan(RETENTION), of_this_machine, SystemClock(), lambda _: None)
    lease.release()


def test_hours_that_get_trades_are_merged_while_spark_rewrites_others(lake: Lake) -> None:
    writer = writer_of(lake)
    for number in range(4, 7):
        append_now(writer, number)
    lease = of_this_machine(str(lake.table().metadata.table_uuid))
    assert lease.acquire()
    clock = Later()
    meanwhile = Meanwhile(lake, lease, RETENTION, 2, clock)
    meanwhile.hours = {file.hour for file in first_hour(lake)}
    clock.ahead_s = 10.0
    meanwhile.step()
    by_hour = [len([f for f in live_files(lake.table()) if f.hour == hour]) for hour in sorted(hours_of(lake))]
    assert by_hour[:2] == [2, 2]  # closed, or in work
    assert sum(by_hour[2:]) < 3
    lease.release()


def hours_of(lake: Lake) -> set[int]:
    return {file.hour for file in live_files(lake.table())}


@pytest.fixture
def jars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for jar in (ICEBERG, OF_SQLITE):
        _, name, version = jar.split(":")
        (tmp_path / f"{name}-{version}.jar").touch()
    monkeypatch.setenv("K2CTL_SPARK_JARS", str(tmp_path))


def test_a_missing_pyspark_is_one_line_and_a_command(
    at: Endpoints, jars: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.touch(stat.S_IRWXU)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without site-packages
    bare.chmod(0o700)
    monkeypatch.setenv("K2CTL_SPARK_PYTHON", str(bare))
    with pytest.raises(SparkError, match="PySpark is not installed") as missing:
        SparkProcess(at, SparkPlace(), "file:///x", lambda _: None).__enter__()
    assert missing.value.hint == "pip install 'k2ctl[spark]'"


def test_a_missing_java_is_one_line_and_a_command(
    at: Endpoints, jars: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="Java 17") as missing:
        SparkProcess(at, SparkPlace(), "file:///x", lambda _: None)
    assert "apt install" in missing.value.hint
