"""AWS Glue, on a fake of it (moto): that k2ctl's promises hold there says that pyiceberg's client asks for the right
things, and nothing of Glue itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from moto.server import ThreadedMotoServer
from pyiceberg.exceptions import CommitFailedException

from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.domain.topics import TABLE
from k2ctl.errors import LakeError, UnknownTable
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.maintenance.maintainer import compact_now, expire, whole_hours
from k2ctl.lake.maintenance.orphans import remove_orphans
from k2ctl.lake.pyiceberg_overrides.transaction import QuickTransaction
from k2ctl.lake.registering import plan, register
from k2ctl.lake.snapshots import TableFollower
from k2ctl.lake.writer import TableWriter
from k2ctl.lake.written_offer import Committed
from tests.made_trades import make_rows, make_trades
from tests.support.leases import of_this_machine

CLOCK = SystemClock()
PARTITION = TopicPartition("t", "e", 0)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def fake() -> Iterator[str]:
    """The address of a Glue that is none."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def lake(fake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    requests.post(f"{fake}/moto-api/reset", timeout=10).raise_for_status()
    monkeypatch.setenv("AWS_ENDPOINT_URL_GLUE", fake)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "fake")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake")
    with Lake("glue://us-east-1", f"file://{tmp_path}/warehouse") as lake:
        yield lake


def commit(writer: TableWriter, start: int, end: int, begin: int | None = None) -> Committed:
    rows = make_rows(make_trades(end - start, start), start)
    delta = OffsetDelta(start if begin is None else begin, end, Counts(seen=end - start, stored=end - start))
    return writer.commit([rows], {PARTITION: delta})


def offsets_of(lake: Lake) -> list[int]:
    return sorted(lake.table().scan(selected_fields=("kafka_offset",)).to_arrow()["kafka_offset"].to_pylist())


def test_rows_and_offsets_are_one_commit_and_a_zombie_stores_nothing_twice(lake: Lake) -> None:
    zombie = TableWriter(lake, CLOCK)
    commit(zombie, 0, 50)
    commit(TableWriter(lake, CLOCK), 50, 100)
    assert commit(zombie, 60, 110, begin=50).fenced == (PARTITION,)
    assert offsets_of(lake) == list(range(100))
    assert checkpoints_of(lake.table()).by_partition[PARTITION].next_offset == 100


def test_a_swap_of_a_table_that_has_moved_on_is_refused(lake: Lake) -> None:
    writer = TableWriter(lake, CLOCK)
    commit(writer, 0, 50)
    stale = lake.table()
    commit(writer, 50, 100)
    with pytest.raises(CommitFailedException), QuickTransaction(stale) as transaction:
        transaction.update_snapshot().merge_append().commit()
    assert len(offsets_of(lake)) == 100


def test_a_commit_whose_answer_is_lost_is_stored_once(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import ReadTimeoutError

    writer, real, lost = TableWriter(lake, CLOCK), lake.catalog.commit_table, []

    def lose_the_answer(*arguments: Any) -> Any:
        answer = real(*arguments)
        if not lost:
            lost.append(True)
            raise ReadTimeoutError(endpoint_url="glue")
        return answer

    monkeypatch.setattr(lake.catalog, "commit_table", lose_the_answer)
    assert commit(writer, 0, 50).attempts == 2
    assert offsets_of(lake) == list(range(50))


def test_maintenance_and_a_follower_see_the_table_and_no_row_is_lost(lake: Lake) -> None:
    writer, follower = TableWriter(lake, CLOCK), TableFollower(lake)
    for start in range(0, 300, 50):
        commit(writer, start, start + 50)
    first = follower.pin()
    assert first is not None
    assert follower.pin() is first
    assert compact_now(lake, CLOCK, whole_hours, of_this_machine)
    expire(lake, SnapshotRetention(1, 0, 0), CLOCK)
    remove_orphans(lake, 0.0, CLOCK)
    assert offsets_of(lake) == list(range(300))


def test_a_table_that_was_forgotten_is_registered_again(lake: Lake) -> None:
    commit(TableWriter(lake, CLOCK), 0, 50)
    newest = lake.table().metadata_location
    lake.catalog.drop_table(TABLE)
    with (
        Lake(lake.catalog_uri, lake.warehouse) as again,
        pytest.raises(UnknownTable, match="does not know the table"),
    ):
        again.ensure_table()
    (one,) = plan(lake)
    assert one.chosen.location == newest
    register(lake, one)
    assert offsets_of(lake) == list(range(50))


def test_a_glue_that_does_not_answer_is_named(lake: Lake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_GLUE", "http://127.0.0.1:1")
    with (
        Lake("glue://us-east-1", f"file://{tmp_path}/warehouse") as nowhere,
        pytest.raises(LakeError, match="glue://us"),
    ):
        nowhere.table()
    assert lake.find_table() is None
