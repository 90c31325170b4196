"""What deduplication saves beside a real table: found again, kept by the orphan removal as long as it is of use."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from k2ctl.clock import ManualClock, SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.lake.catalog import Lake
from k2ctl.lake.maintenance.orphans import remove_orphans
from k2ctl.lake.readers import rows_stored_after
from k2ctl.lake.side_folder import DedupFolder, DedupIndex, SavedChunk
from k2ctl.lake.stored_lookup import SuspectLookup
from k2ctl.lake.writer import TableWriter
from tests.made_trades import make_rows, make_trades

HOUR_US = 3_600_000_000


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Lake(f"sqlite:///{tmp_path}/catalog.db", f"file://{tmp_path}/ware house") as opened:
        yield opened


def commit(lake: Lake, start: int, count: int) -> int:
    """Store made trades; returns the commit's sequence number."""
    rows = make_rows(make_trades(count, start), offset=start)
    step = OffsetDelta(start, start + count, Counts(seen=count, stored=count))
    done = TableWriter(lake, SystemClock()).commit([rows], {TopicPartition("t", "e", 0): step})
    return done.checkpoints.sequence_number


def test_the_lake_distinguishes_copies_replays_and_the_new(lake: Lake) -> None:
    commit(lake, 0, 100)
    commit(lake, 100, 100)
    asked = make_trades(60, 70)
    asked["message_id"][50:] = np.frombuffer(np.random.default_rng(1).bytes(160), "V16")
    rows = make_rows(asked, offset=70)
    rows.offset[:25] += 1000
    found = SuspectLookup(lake, SystemClock()).find(rows)
    assert found.elsewhere.tolist() == [True] * 25 + [False] * 35
    assert found.itself.tolist() == [False] * 25 + [True] * 25 + [False] * 10
    elsewhere = SuspectLookup(lake, SystemClock()).find(replace(rows, epoch="another"))
    assert elsewhere.elsewhere.tolist() == [True] * 50 + [False] * 10


def test_suspects_of_many_hours_and_symbols_are_one_question(lake: Lake) -> None:
    trades = make_trades(500)
    trades["symbol"] = [f"X{number}".encode() for number in range(500)]
    trades["event_ns"] += (np.arange(500) * 2 * HOUR_US) * 1000
    step = OffsetDelta(0, 500, Counts(seen=500, stored=500))
    TableWriter(lake, SystemClock()).commit([make_rows(trades)], {TopicPartition("t", "e", 0): step})
    for some in (slice(None), slice(0, 30), slice(100, 101)):
        assert SuspectLookup(lake, SystemClock()).find(make_rows(trades[some], offset=9000)).elsewhere.all()


def test_rows_of_later_commits_are_read(lake: Lake) -> None:
    first, second = commit(lake, 0, 30), commit(lake, 30, 20)
    table = lake.table()
    counts = [sum(map(len, rows_stored_after(table, after, "t", {0}))) for after in (0, first, second)]
    assert counts == [50, 20, 0]
    assert sum(map(len, rows_stored_after(table, 0, "t", {1}))) == 0


def test_orphan_removal_keeps_what_an_index_needs_within_the_window(lake: Lake) -> None:
    commit(lake, 0, 10)
    clock = ManualClock(SystemClock().now_us())
    now_us, folder = clock.now_us(), DedupFolder(lake.table())
    young, old, sequenced, forgotten = (folder.write(b"x") for _ in range(4))
    chunks = (SavedChunk(old, "closed", 0, 1, now_us - 30 * HOUR_US), SavedChunk(young, "live", 0, 1, now_us))
    index = DedupIndex("market.a-b_c", folder.table_id, 1, {}, now_us, 24 * HOUR_US, 0, sequenced, chunks)
    folder.put_index(index)
    assert folder.indexes("market.a-b_c") == [index]
    clock.advance(2 * 3600)
    assert remove_orphans(lake, 3600, clock).files == 2
    assert folder.read(young) == folder.read(sequenced) == b"x"
    for location in (old, forgotten):
        with pytest.raises(FileNotFoundError):
            folder.read(location)
    clock.advance(30 * 3600)
    assert remove_orphans(lake, 3600, clock).files == 3
    assert folder.indexes("market.a-b_c") == []


def test_a_damaged_index_is_left_out(lake: Lake) -> None:
    commit(lake, 0, 10)
    folder = DedupFolder(lake.table())
    index = DedupIndex("t", folder.table_id, 1, {}, 0, 1, 0, "", ())
    folder.put_index(index)
    path = next(Path(lake.table().location().removeprefix("file://") + "-k2").rglob("*.json"))
    content = path.read_bytes()
    flipped = [content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in range(len(content))]
    for damaged in (b"", content[:-5], b"[]", b'{"version":2}', *flipped):
        path.write_bytes(damaged)
        assert folder.indexes("t") == []
