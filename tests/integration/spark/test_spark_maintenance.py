"""Maintenance of a table on a real Spark cluster, beside appenders: the rows, the tags, the lease, the hot hour."""

import math
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from k2ctl.clock import SystemClock
from k2ctl.domain.rows import SORTED_BY
from k2ctl.endpoints import Endpoints
from k2ctl.errors import LakeError
from k2ctl.kafka.lease import FileLease
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.live_files import LiveFile, live_files
from k2ctl.lake.maintenance.maintainer import Maintainer
from k2ctl.lake.maintenance.status import read_balance
from k2ctl.lake.snapshots import pin
from k2ctl.lake.writer import TableWriter
from k2ctl.profiles import load_profile
from k2ctl.query.history import Asked, History
from k2ctl.spark.maintain import Maintained, SparkPlan, maintain
from k2ctl.spark.process import PROGRAM, SparkError
from k2ctl.spark.settings import SparkPlace
from tests.support.leases import of_this_machine
from tests.support.polling import until
from tests.support.spark import SMALL, SparkCluster
from tests.support.spark_tables import Later, append_now, fill

pytestmark = pytest.mark.slow

IN_THE_MIDDLE_S = 2.0
"""After the start of the first rewrite of a session, which takes several times as long on the fastest machine."""

KEEP_ALL = SnapshotRetention(1000, 0, 0)


def run(at: Endpoints, lake: Lake, place: SparkPlace, say: Callable[[str], None] = lambda _: None) -> Maintained:
    return maintain(at, lake, place, SparkPlan(KEEP_ALL, compact_after_files=10_000), of_this_machine, Later(), say)


def rows_of(lake: Lake, snapshot_id: int | None = None) -> list[dict[str, Any]]:
    """Every row, read by pyiceberg."""
    found: list[dict[str, Any]] = (
        lake.table().scan(snapshot_id=snapshot_id).to_arrow().sort_by("kafka_offset").to_pylist()
    )
    return found


def rows_of_duckdb(lake: Lake) -> list[dict[str, Any]]:
    """Every row as queries read it: each file checked, then DuckDB."""
    history, pinned = History(lake), pin(lake)
    assert pinned is not None
    found: list[dict[str, Any]] = history.newest(pinned.intact(), Asked(), None).sort_by("kafka_offset").to_pylist()
    history.close()
    return found


def order_of(lake: Lake, file: LiveFile) -> list[tuple[Any, ...]]:
    with lake.table().io.new_input(file.path).open() as stream:
        return [tuple(row.values()) for row in pq.read_table(stream, columns=list(SORTED_BY)).to_pylist()]


class Appender:
    """Commits trades of this moment until it is stopped; looks whether maintenance is left alone."""

    def __init__(self, at: Endpoints, first: int) -> None:
        self._at, self._number = at, first
        self._stop, self._spark_works = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.commits = 0
        self.maintained = 0

    def _run(self) -> None:
        with Lake.at(self._at) as lake:
            writer = TableWriter(lake, SystemClock())
            eager = load_profile("laptop").lake.model_copy(update={"compact_after_files": 2})
            maintainer = Maintainer(lake, eager, SystemClock(), of_this_machine)
            while not self._stop.wait(0.3):
                append_now(writer, self._number + self.commits)
                self.commits += 1
                if self._spark_works.is_set():
                    self.maintained += maintainer.step() is not None

    def note(self, what: str) -> None:
        """What Spark's maintenance says: it has the lease from its first word to beyond its last but one."""
        if what.startswith("deleting"):
            self._spark_works.clear()
        elif what.startswith("starting"):
            self._spark_works.set()

    def __enter__(self) -> "Appender":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.parametrize("kind", ["postgres", "rest"])
def test_closed_hours_are_rewritten_beside_an_appender(
    kind: str, request: pytest.FixtureRequest, spark_cluster: SparkCluster
) -> None:
    at: Endpoints = request.getfixturevalue(f"on_{kind}")
    with Lake.at(at) as lake:
        count = fill(lake, 8)
        before, queried, tagged = rows_of(lake), rows_of_duckdb(lake), lake.table().current_snapshot()
        assert tagged is not None
        lake.table().manage_snapshots().create_tag(tagged.snapshot_id, "eod").commit()
        old = {file.path for file in live_files(lake.table())}
        with Appender(at, 8) as appender:
            done = run(at, lake, SparkPlace(spark_cluster.url, SMALL), appender.note)
        assert appender.commits > 5
        assert appender.maintained == 0  # the lease was held
        assert (done.files_before, done.files_after, done.rows) == (8, 2, count)
        files = live_files(lake.table())
        closed = [file for file in files if "timestamp_hour=" in file.path]  # as Spark names its folders
        assert [file.rows for file in closed] == [count // 2] * 2
        assert sum(file.rows for file in files if file not in closed) == appender.commits * 400  # in the hot hour
        assert not old & {file.path for file in files}
        for file in closed:
            found = order_of(lake, file)
            assert found == sorted(found)
        assert rows_of(lake)[:count] == before
        assert rows_of_duckdb(lake)[:count] == queried
        assert rows_of(lake, lake.table().metadata.refs["eod"].snapshot_id) == before
        assert checkpoints_of(lake.table()).total().stored == count + appender.commits * 400
        balance = read_balance(lake)
        assert balance is not None
        assert balance.balanced
        assert of_this_machine(str(lake.table().metadata.table_uuid)).holder() is None
        assert run(at, lake, SparkPlace("local[2]")).hours == ()  # nothing is left to do


def test_a_driver_that_is_killed_leaves_the_table_whole_and_the_lease_free(on_disk: Endpoints) -> None:
    with Lake.at(on_disk) as lake:
        fill(lake, 4)
        before, files = rows_of(lake), {file.path for file in live_files(lake.table())}

        def kill(what: str) -> None:
            if what.startswith("rewriting") and not what.endswith("tasks"):
                threading.Timer(IN_THE_MIDDLE_S, driver().kill).start()

        with pytest.raises(SparkError, match="has ended"):
            run(on_disk, lake, SparkPlace("local[2]"), kill)
        assert rows_of(lake) == before
        assert {file.path for file in live_files(lake.table())} == files
        assert of_this_machine(str(lake.table().metadata.table_uuid)).holder() is None
        until(lambda: not java(), 20, java)

        # A lease that is lost on the way ends the work, too.
        lease = LostOnTheWay(on_disk.home, str(lake.table().metadata.table_uuid))
        with pytest.raises(LakeError, match="taken over"):
            maintain(
                on_disk, lake, SparkPlace("local[2]"), SparkPlan(KEEP_ALL), lambda _: lease, Later(), lease.lose_at
            )
        until(lambda: not java(), 20, java)
        assert {file.path for file in live_files(lake.table())} == files

        done = run(on_disk, lake, SparkPlace("local[2]"))
        assert (done.files_before, done.files_after) == (4, 2)
        assert rows_of(lake) == before


class LostOnTheWay(FileLease):
    """A lease that another process takes over in the middle of the rewrite."""

    lost_s = math.inf

    def lose_at(self, what: str) -> None:
        if what.startswith("rewriting") and not what.endswith("tasks"):
            self.lost_s = time.monotonic() + IN_THE_MIDDLE_S

    def keep(self) -> None:
        if time.monotonic() > self.lost_s:
            raise LakeError("Another process has taken over maintenance.", "Nothing to do: it goes on there.")


def driver() -> psutil.Process:
    """The driver that this process has started."""
    (found,) = [one for one in psutil.Process().children() if "driver.py" in " ".join(one.cmdline())]
    return found


def java() -> list[str]:
    """What is left of a session: its driver, or its JVM, which is not our child any more."""
    lines = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.ppid() in (1, os.getpid()):
                lines.append(" ".join(process.cmdline()))
    return [line for line in lines if PROGRAM.name in line or "org.apache.spark.deploy.SparkSubmit" in line]
