"""The table as one stream of trades in the order of the venue's time: exact, whole, and in little memory."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.domain.copies import without_marks
from k2ctl.domain.rows import HOUR_US
from k2ctl.lake import in_time_order
from k2ctl.lake.catalog import Lake
from k2ctl.lake.commit import SnapshotRetention
from k2ctl.lake.in_time_order import StoredTrades
from k2ctl.lake.maintenance.maintainer import compact_now, whole_hours
from k2ctl.lake.snapshots import pin
from k2ctl.lake.writer import TableWriter
from tests.made_trades import make_rows, make_trades, make_varied
from tests.support.leases import of_this_machine

CLOCK = SystemClock()


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Lake(f"sqlite:///{tmp_path}/catalog.db", f"file://{tmp_path}/ware house") as opened:
        yield opened


def store(lake: Lake, *parts: np.ndarray) -> None:
    """Each part in a commit of its own, at the offsets behind the last."""
    writer, at = TableWriter(lake, CLOCK, SnapshotRetention(10, 0, 0)), 0
    for part in parts:
        counts = Counts(seen=len(part), stored=len(part))
        moved = {TopicPartition("t", "e", 0): OffsetDelta(at, at + len(part), counts)}
        assert not writer.commit([make_rows(part, at)], moved).fenced
        at += len(part)


def shuffled_hours(count: int) -> np.ndarray:
    """Varied trades over five hours, some of the same time, in no order."""
    trades = make_varied(count)
    rng = np.random.default_rng(5)
    trades["event_ns"] += rng.integers(0, 5, count) * HOUR_US * 1000 + rng.integers(0, 40, count) * 90_000_000_000
    return trades[rng.permutation(count)]


def read(stored: StoredTrades) -> np.ndarray:
    return np.concatenate([make_trades(0), *stored.in_order()])


def test_all_trades_come_as_they_were_sent_in_order_of_time_and_then_of_arrival(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_time_order, "BATCH_ROWS", 70)
    trades = shuffled_hours(3000)
    store(lake, trades[:1000], trades[1000:1800], trades[1800:])
    expected = trades[np.argsort(trades["event_ns"], kind="stable")]
    for _ in range(2):
        found = read(StoredTrades(lake))
        assert found.tobytes() == without_marks(expected).tobytes()
        compact_now(lake, CLOCK, whole_hours, of_this_machine)
    first, last = int(expected["event_ns"][0]), int(expected["event_ns"][-1])
    assert StoredTrades(lake).ends_ns() == (first, last)


def test_bounds_are_exact_to_the_nanosecond_and_symbols_are_those_asked_for(lake: Lake) -> None:
    trades = shuffled_hours(2000)
    store(lake, trades)
    times = np.sort(trades["event_ns"])
    since, until = int(times[700]), int(times[1500])
    expected = trades[np.argsort(trades["event_ns"], kind="stable")]
    expected = expected[(expected["event_ns"] >= since) & (expected["event_ns"] < until)]
    assert read(StoredTrades(lake, since, until)).tobytes() == without_marks(expected).tobytes()
    some = expected[np.isin(expected["symbol"], [b"S03", b"S11"])]
    assert read(StoredTrades(lake, since, until, ["S03", "S11", "none"])).tobytes() == without_marks(some).tobytes()
    assert len(read(StoredTrades(lake, int(times[-1]) + 1))) == 0
    assert StoredTrades(lake, int(times[-1]) + 1).ends_ns() is None


def test_marks_that_the_consumer_sets_are_not_sent(lake: Lake) -> None:
    trades = make_trades(3)
    marked = trades.copy()
    marked["refers_to"][1] = marked["message_id"][1]
    store(lake, marked)
    assert read(StoredTrades(lake)).tobytes() == trades.tobytes()


def test_hours_whose_files_a_merge_replaces_meanwhile_are_read_from_the_merged_ones(lake: Lake) -> None:
    trades = shuffled_hours(1000)
    store(lake, trades[:500], trades[500:])
    stream = StoredTrades(lake).in_order()
    first = next(stream)
    compact_now(lake, CLOCK, whole_hours, of_this_machine)
    pinned = pin(lake)
    assert pinned is not None
    remove_all_but(lake, {file.path.removeprefix("file://") for file in pinned.scan().listed()})
    found = np.concatenate([first, *stream])
    assert found["event_ns"].tolist() == np.sort(trades["event_ns"]).tolist()


def remove_all_but(lake: Lake, kept: set[str]) -> None:
    for path in Path(lake.warehouse.removeprefix("file://")).rglob("*.parquet"):
        if str(path) not in kept:
            path.unlink()


def test_an_empty_table_and_none_give_nothing(lake: Lake) -> None:
    assert StoredTrades(lake).ends_ns() is None
    assert len(read(StoredTrades(lake))) == 0


READING = """
import resource, sys
from k2ctl.lake import in_time_order
from k2ctl.lake.catalog import Lake
in_time_order.MEMORY_MB = 100
with Lake(*sys.argv[1:]) as lake:
    before_kb, last, count = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0, 0
    for part in in_time_order.StoredTrades(lake).in_order():
        assert part["event_ns"][0] >= last
        last, count = int(part["event_ns"][-1]), count + len(part)
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb)
"""


def test_a_large_hour_is_sorted_on_the_disk(lake: Lake, tmp_path: Path) -> None:
    """Its rows are 600 MB."""
    trades = make_trades(3_000_000)
    trades["event_ns"] = trades["event_ns"][0] + np.random.default_rng(1).permutation(len(trades)) * 1_000
    store(lake, trades)
    place = (f"sqlite:///{tmp_path}/catalog.db", lake.warehouse)
    ended = subprocess.run([sys.executable, "-c", READING, *place], capture_output=True, text=True, check=True)
    count, more_kb = map(int, ended.stdout.split())
    assert count == len(trades)
    assert more_kb < 350_000
