"""What a commit merges does not grow with the table."""

from pathlib import Path

import numpy as np

from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.lake.catalog import Lake
from k2ctl.lake.writer import TableWriter
from tests.made_trades import make_rows, make_trades

HOURS = 300


def manifests_of(lake: Lake) -> set[str]:
    table = lake.table()
    snapshot = table.metadata.current_snapshot()
    assert snapshot is not None
    return {manifest.manifest_path for manifest in snapshot.manifests(table.io)}


def test_a_manifest_of_many_files_is_not_written_again_when_those_of_new_commits_are_merged(tmp_path: Path) -> None:
    with Lake(f"sqlite:///{tmp_path}/catalog.db", f"file://{tmp_path}/warehouse") as lake:
        writer, start = TableWriter(lake, SystemClock()), 0
        seen = []
        for count in (HOURS, *[1] * 35):
            trades = make_trades(count, start)
            trades["event_ns"] -= np.arange(count) * np.int64(3_600_000_000_000)
            rows, end = make_rows(trades, start), start + count
            step = OffsetDelta(start, end, Counts(seen=count, stored=count))
            assert not writer.commit([rows], {TopicPartition("t", "e", 0): step}).fenced
            start = end
            seen.append(manifests_of(lake))
        assert len(seen[-1]) < 35, "the small ones were merged"
        assert seen[0] <= seen[-1]
