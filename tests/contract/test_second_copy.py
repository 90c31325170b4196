"""The second copy of the offsets, on SQLite, PostgreSQL and a REST service: what it outlasts, and what it finds."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table

from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import (
    PROPERTY,
    SUMMARY_OFFSETS_FILE,
    Checkpoint,
    Checkpoints,
    Counts,
    OffsetDelta,
    TopicPartition,
)
from k2ctl.domain.ledger import LEDGER_PROPERTY
from k2ctl.errors import LakeError, OffsetsDiffer, RolledBack
from k2ctl.lake import restoring
from k2ctl.lake.catalog import Lake
from k2ctl.lake.checkpoints import checkpoints_of
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.maintenance.maintainer import compact_now, expire, whole_hours
from k2ctl.lake.maintenance.orphans import remove_orphans
from k2ctl.lake.restoring import look, restore
from k2ctl.lake.second_copy import MOST_BYTES, SUMMARY_OFFSETS, TAG, read_copy, write_offsets
from k2ctl.lake.writer import TableWriter
from tests.support.lake_commits import commit
from tests.support.leases import of_this_machine

CLOCK = SystemClock()


@pytest.fixture
def written(lake: Lake) -> Lake:
    """A table of three commits."""
    writer = TableWriter(lake, CLOCK)
    for start in (0, 50, 100):
        commit(writer, start)
    return lake


def tagged(table: Table) -> Any:
    return table.snapshot_by_id(table.metadata.refs[TAG].snapshot_id)


def assert_agree(found: Lake) -> None:
    """Properties and copy say the same, and the table stands at 150."""
    table = found.table()
    checkpoints = checkpoints_of(table)
    assert read_copy(table, tagged(table)).checkpoints == checkpoints
    assert checkpoints.by_partition[TopicPartition("t", "e", 0)].next_offset == 150


def set_property(table: Table, name: str, text: str) -> None:
    with table.transaction() as transaction:
        transaction.set_properties({name: text})


def offsets_of_then(table: Table) -> str:
    """The property as the first commit wrote it."""
    first = min(table.metadata.snapshots, key=lambda snapshot: snapshot.sequence_number or 0)
    return read_copy(table, first).properties[PROPERTY]


def removed(table: Table) -> None:
    with table.transaction() as transaction:
        transaction.remove_properties(PROPERTY)


def moved(table: Table) -> None:
    first = min(table.metadata.snapshots, key=lambda snapshot: snapshot.sequence_number or 0)
    table.manage_snapshots().create_tag(first.snapshot_id, TAG).commit()


def moved_and_set_back(table: Table) -> None:
    moved(table)
    set_property(table, PROPERTY, offsets_of_then(table))


def dropped(table: Table) -> None:
    table.manage_snapshots().remove_tag(TAG).commit()


CHANGES: dict[str, tuple[Callable[[Table], None], str]] = {
    "set back": (lambda table: set_property(table, PROPERTY, offsets_of_then(table)), "are not what commit 3 wrote"),
    "edited": (lambda t: set_property(t, PROPERTY, t.properties[PROPERTY].replace(",150,", ",100,")), "are not what"),
    "not even JSON": (lambda table: set_property(table, PROPERTY, "oops"), "are not what commit 3 wrote"),
    "another ledger": (lambda table: set_property(table, LEDGER_PROPERTY, "[ ]"), "are not what commit 3 wrote"),
    "removed": (removed, "k2.offsets was removed"),
    "tag dropped": (dropped, "k2-offsets, which keeps the second copy of the offsets, was dropped"),
    "tag moved": (moved, "k2-offsets was moved"),
    "both set back": (moved_and_set_back, "k2-offsets was moved"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_another_program_does_to_the_offsets_stops_everything_and_is_put_right(written: Lake, change: str) -> None:
    change_it, message = CHANGES[change]
    change_it(written.table())
    for refused in (
        lambda: commit(TableWriter(written, CLOCK), 150),
        lambda: TableWriter(written, CLOCK).retire("t", "e", 0),
        lambda: expire(written, SnapshotRetention(1, 0, 0), CLOCK),
        lambda: compact_now(written, CLOCK, whole_hours, of_this_machine),
        lambda: remove_orphans(written, 0.0, CLOCK),
    ):
        with pytest.raises(OffsetsDiffer, match=message) as raised:
            refused()
        assert "k2ctl lake restore-offsets" in raised.value.hint
    restore(written, CLOCK, look(written))
    assert_agree(written)
    assert commit(TableWriter(written, CLOCK), 150).stored == 50
    with pytest.raises(LakeError, match="are the same"):
        look(written)


def test_expiry_and_compaction_leave_the_copy(written: Lake) -> None:
    assert compact_now(written, CLOCK, whole_hours, of_this_machine)
    expire(written, SnapshotRetention(1, 0, 0), CLOCK)
    remove_orphans(written, 0.0, CLOCK)
    assert len(written.table().metadata.snapshots) == 1
    assert_agree(written)
    removed(written.table())
    restore(written, CLOCK, look(written))
    assert_agree(written)


def test_a_copy_that_is_gone_is_made_again_from_the_properties(written: Lake) -> None:
    table = written.table()
    kept = tagged(table)
    table.append(table.scan().to_arrow().slice(0, 0))
    dropped(written.table())
    written.table().maintenance.expire_snapshots().by_id(kept.snapshot_id).commit()
    with pytest.raises(OffsetsDiffer):
        checkpoints_of(written.table())
    assert look(written).partitions == ()
    restore(written, CLOCK, look(written))
    assert_agree(written)
    assert commit(TableWriter(written, CLOCK), 150).stored == 50


def test_a_rollback_is_recognised_as_one_before_and_after_the_offsets_are_restored(written: Lake) -> None:
    first = min(written.table().metadata.snapshots, key=lambda snapshot: snapshot.sequence_number or 0)
    written.table().manage_snapshots().rollback_to_snapshot(first.snapshot_id).commit()
    with pytest.raises(RolledBack):
        checkpoints_of(written.table())
    removed(written.table())
    with pytest.raises(OffsetsDiffer):
        checkpoints_of(written.table())
    restore(written, CLOCK, look(written))
    with pytest.raises(RolledBack):
        checkpoints_of(written.table())


def test_offsets_that_moved_while_somebody_restores_them_are_left_alone(
    written: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two restore at once, and a consumer goes on after the first: its commit stands."""
    removed(written.table())
    seen, stale = look(written), written.table()
    copy = restoring._right_copy(stale)
    assert copy is not None
    restore(written, CLOCK, seen)
    commit(TableWriter(written, CLOCK), 150)
    with pytest.raises(CommitFailedException):
        restoring._put_back(stale, *copy)
    assert checkpoints_of(written.table()).by_partition[TopicPartition("t", "e", 0)].next_offset == 200


def of_partitions(partitions: int) -> Checkpoints:
    """Checkpoints of a large topic, which many consumers have moved."""
    rng = np.random.default_rng(5)
    by_partition = {
        TopicPartition("market.equities.trades.asx", "cluster/9f0c", p): Checkpoint(
            int(n), Counts(int(n), int(n) - 3, 3), f"{p % 32:036}"
        )
        for p, n in enumerate(rng.integers(1 << 30, 1 << 40, partitions))
    }
    return Checkpoints("c" * 36, 7, by_partition)


def test_960_partitions_are_copied_to_a_file_that_outlasts_its_property(written: Lake) -> None:
    writer = TableWriter(written, CLOCK)
    deltas = {TopicPartition("large", "e", p): OffsetDelta(0, p, Counts(seen=p, stored=0, lost=p)) for p in range(960)}
    writer.commit([], deltas)
    table = written.table()
    assert SUMMARY_OFFSETS_FILE in tagged(table).summary.additional_properties
    assert sum(len(one.summary.model_dump_json()) for one in table.metadata.snapshots if one.summary) < 4 * MOST_BYTES
    remove_orphans(written, 0.0, CLOCK)
    removed(written.table())
    restore(written, CLOCK, look(written))
    assert_agree(written)
    assert len(checkpoints_of(written.table()).by_partition) == 961


def test_a_copy_in_a_summary_stays_small(written: Lake) -> None:
    table = written.table()
    few = of_partitions(96)
    assert len(write_offsets(table, few).summary[SUMMARY_OFFSETS]) < MOST_BYTES
    assert SUMMARY_OFFSETS not in write_offsets(table, replace(of_partitions(960), ledger=few.ledger)).summary
