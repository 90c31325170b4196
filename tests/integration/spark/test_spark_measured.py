"""The same rows compacted by k2ctl and rewritten by Spark: seconds, processor time, files, bytes, and a query's time.

    K2CTL_SPARK_PYTHON=… pytest -s -m "slow and by_hand" tests/integration/spark/test_spark_measured.py

`K2CTL_SPARK_ROWS` sets another number of rows than 20 million.
"""

import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta
from k2ctl.domain.trade import Window
from k2ctl.endpoints import Endpoints
from k2ctl.lake.addresses import local_path
from k2ctl.lake.catalog import Lake
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.live_files import live_files
from k2ctl.lake.maintenance.maintainer import compact_now, whole_hours
from k2ctl.lake.snapshots import pin
from k2ctl.lake.writer import TableWriter
from k2ctl.query.history import Asked, History
from k2ctl.spark.maintain import SparkPlan, maintain
from k2ctl.spark.process import SparkProcess
from k2ctl.spark.settings import SparkPlace
from tests.made_trades import BASE_US, make_rows, make_trades
from tests.support.leases import of_this_machine
from tests.support.spark import SMALL, SparkCluster
from tests.support.spark_tables import HOUR_NS, PARTITION, Later

pytestmark = [pytest.mark.slow, pytest.mark.by_hand, pytest.mark.timeout(3600)]

ROWS = int(os.environ.get("K2CTL_SPARK_ROWS", "20000000"))
HOURS = 4
COMMIT_ROWS = 100_000


def report(line: str) -> None:
    """For `pytest -s`."""
    sys.stdout.write(line + "\n")


def write(at: Endpoints) -> None:
    """`ROWS` trades in `HOURS` hours, in commits of 100,000, each of one hour."""
    with Lake.at(at) as lake:
        writer = TableWriter(lake, SystemClock())
        random = np.random.default_rng(7)
        for number in range(ROWS // COMMIT_ROWS):
            start = number * COMMIT_ROWS
            trades = make_trades(COMMIT_ROWS, start)
            within = np.sort(random.integers(0, HOUR_NS // 1000, COMMIT_ROWS)) * 1000
            trades["event_ns"] = BASE_US // 3_600_000_000 * HOUR_NS + number % HOURS * HOUR_NS + within
            delta = OffsetDelta(start, start + COMMIT_ROWS, Counts(seen=COMMIT_ROWS, stored=COMMIT_ROWS))
            writer.commit([make_rows(trades, start)], {PARTITION: delta})


def moved(at: Endpoints, folder: Path) -> Endpoints:
    """A second table with the same rows, written again: the names of files are in its metadata."""
    folder.mkdir()
    found = replace(at, catalog_uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/files")
    write(found)
    return found


def query_ms(at: Endpoints) -> float:
    """The second time of one symbol's whole hour."""
    with Lake.at(at) as lake:
        history = History(lake)
        first_us = BASE_US // 3_600_000_000 * 3_600_000_000
        pinned = pin(lake)
        assert pinned is not None
        window = Window(first_us, first_us + 900_000_000)
        for _ in range(2):
            started = time.monotonic()
            plan = pinned.intact(["S03"], window.since_us, window.until_us)
            assert len(history.newest(plan, Asked(["S03"], window), None))
        history.close()
        return (time.monotonic() - started) * 1000


def state(at: Endpoints) -> tuple[int, int]:
    with Lake.at(at) as lake:
        files = live_files(lake.table())
        groups = [pq.read_metadata(local_path(file.path)) for file in files]
        report(f"  row groups: {sum(one.num_row_groups for one in groups)}")
        return len(files), sum(file.bytes for file in files)


def test_spark_and_the_built_in_compaction_on_the_same_rows(
    on_disk: Endpoints, tmp_path: Path, spark_cluster: SparkCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent: list[float] = []
    close = SparkProcess.close

    def counted(process: SparkProcess) -> None:
        if process._process is not None:
            driver = psutil.Process(process.pid)
            spent.append(sum(sum(p.cpu_times()[:2]) for p in (driver, *driver.children(recursive=True))))
            spent.append(spark_cluster.cpu_s())
        close(process)

    monkeypatch.setattr(SparkProcess, "close", counted)
    write(on_disk)
    before = state(on_disk)
    report(f"\n{ROWS:,} rows in {before[0]} files, {before[1] / 1e6:.0f} MB; a query {query_ms(on_disk):.0f} ms")

    said: list[tuple[float, str]] = []
    started = time.monotonic()
    with Lake.at(on_disk) as lake:
        plan = SparkPlan(SnapshotRetention(10_000, 0, 0))
        done: Any = maintain(
            on_disk, lake, SparkPlace(spark_cluster.url, SMALL), plan, of_this_machine, Later(),
            lambda what: said.append((time.monotonic() - started, what)),
        )  # fmt: skip
    seconds = time.monotonic() - started
    at = [moment for moment, what in said if what.startswith(("checking", "rewriting", "committing", "expiring"))]
    files, size = state(on_disk)
    report(
        f"Spark: {seconds:.0f} s in all, {at[-1] - at[0]:.0f} s from the first check to the last commit, "
        f"CPU {spent[0]:.0f} s driver + {spent[1]:.0f} s executors, {files} files, {size / 1e6:.0f} MB; "
        f"a query {query_ms(on_disk):.0f} ms"
    )
    assert done.rows == ROWS
    shutil.rmtree(Path(on_disk.warehouse.removeprefix("file://")))

    ours = moved(on_disk, tmp_path / "ours")
    started, cpu = time.monotonic(), time.process_time()
    with Lake.at(ours) as lake:
        compacted = compact_now(lake, Later(), whole_hours, of_this_machine)
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    files, size = state(ours)
    report(
        f"built in: {seconds:.0f} s, CPU {cpu:.0f} s, {files} files, {size / 1e6:.0f} MB; "
        f"a query {query_ms(ours):.0f} ms"
    )
    assert sum(one.rows for one in compacted) == ROWS
