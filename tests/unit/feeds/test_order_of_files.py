"""Files in any order, of any size, as one stream in the order of their times; and which files a path means."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.errors import UsageError
from k2ctl.feeds.files import lines, merging, order
from k2ctl.feeds.files.alike import numbered
from k2ctl.feeds.files.merging import TradeStream, in_order, merged
from k2ctl.feeds.files.reading import WantedTrades
from tests.made_trades import make_trades
from tests.support.feed_files import everything, opened

FEED = """
description: made up
source: {format: csv, columns: [time, price, size], file_name: '(?P<symbol>[A-Z0-9]+)\\.'}
trade: {symbol: symbol, exchange: "'X'", asset_class: "'crypto'", timestamp: time, price: price, quantity: size}
identity: %s
"""
START_US = 1_735_689_600_000_000


@pytest.fixture
def feed(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("feed") / "my.yaml"
    path.write_text(FEED % '["concat(time, price, size)"]')
    return str(path)


def write(path: Path, seconds: list[int], price: int = 1) -> None:
    path.write_text("".join(f"{START_US + at * 1_000_000},{price},{at + 1}\n" for at in seconds))


def seconds_of(trades: np.ndarray) -> list[int]:
    return [int(at) for at in (trades["event_ns"] // 1000 - START_US) // 1_000_000]


def at_times(times: list[int], first: int = 0) -> np.ndarray:
    trades = make_trades(len(times), first)
    trades["event_ns"] = times
    return trades


CHUNKS = st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=6), max_size=6)


@given(several=st.lists(CHUNKS, max_size=5))
def test_streams_are_merged_whatever_their_chunks(several: list[list[list[int]]]) -> None:
    streams, every = [], []
    for chunks in several:
        times = sorted(time for chunk in chunks for time in chunk)
        every += times
        cut, parts = 0, []
        for chunk in chunks:
            parts.append(at_times(times[cut : cut + len(chunk)]))
            cut += len(chunk)
        streams.append(TradeStream(times[0] if times else 0, iter(parts)))
    found = [int(time) for part in merged(streams) for time in part["event_ns"]]
    assert found == sorted(every)


def test_a_stream_is_not_opened_before_its_first_trade_is_due() -> None:
    begun: list[int] = []

    def chunks(number: int) -> "list[np.ndarray]":
        begun.append(number)
        yield at_times([number * 10, number * 10 + 5])  # type: ignore[misc]

    parts = merged([TradeStream(number * 10, chunks(number)) for number in (2, 0, 1)])
    seen = [(int(part["event_ns"][0]), list(begun)) for part in parts]
    assert seen == [(0, [0]), (10, [0, 1]), (20, [0, 1, 2])]


@given(times=st.lists(st.integers(0, 30), max_size=40), size=st.integers(1, 10))
def test_small_disorder_is_put_right(times: list[int], size: int) -> None:
    """What is no further from its place than a part is long."""
    nearly = sorted(range(len(times)), key=lambda at: sorted(times)[at] * 100 + at)
    ordered = sorted(times)
    for at in range(0, len(nearly) - 1, 2):
        ordered[at], ordered[at + 1] = ordered[at + 1], ordered[at]
    parts = (at_times(ordered[at : at + size]) for at in range(0, len(ordered), size))
    found = [int(time) for part in in_order(parts) for time in part["event_ns"]]
    assert found == sorted(times)


ALIKE = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=30)


@given(rows=ALIKE, cuts=st.lists(st.integers(0, 30), max_size=5))
def test_look_alikes_get_the_same_ids_wherever_the_stream_is_cut(rows: list[tuple[int, int]], cuts: list[int]) -> None:
    rows = sorted(rows)
    trades = make_trades(len(rows))
    kinds = make_trades(15)["message_id"]
    trades["event_ns"] = [time for time, _ in rows]
    trades["message_id"] = [kinds[time * 3 + kind] for time, kind in rows]
    (whole,) = numbered(iter([trades]))
    parts = list(numbered(iter(np.split(trades, sorted(cut for cut in cuts if cut < len(rows))))))
    assert np.concatenate(parts)["message_id"].tolist() == whole["message_id"].tolist()
    assert len(set(whole["message_id"].tolist())) == len(rows)
    assert set(trades["message_id"].tolist()) <= set(whole["message_id"].tolist()), "the first of its like keeps its id"


@given(st.data())
def test_files_in_any_order_are_one_stream(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("files")
    (folder / "my.yaml").write_text(FEED % '["concat(time, price, size)"]')
    every = []
    for number in range(data.draw(st.integers(1, 4))):
        seconds = data.draw(st.lists(st.integers(0, 50), min_size=1, max_size=30))
        every += seconds
        write(folder / f"A{number}.csv", seconds)
    found = everything(folder, str(folder / "my.yaml"))
    assert seconds_of(found.trades) == sorted(every)
    assert found.late == 0


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("run", [7, 500_000])
def test_files_that_are_not_in_order_are_sorted_in_runs(
    tmp_path: Path, feed: str, monkeypatch: pytest.MonkeyPatch, descending: bool, run: int
) -> None:
    """Sections of one symbol behind another, or the newest first; runs on the disk and in memory."""
    monkeypatch.setattr(merging, "RUN_TRADES", run)
    monkeypatch.setattr(lines, "SAMPLE_BYTES", 200)
    monkeypatch.setattr(lines, "SAMPLE_EVERY", 400)
    seconds = list(range(999, -1, -1)) if descending else [*range(0, 1000, 2), *range(1, 1000, 2)]
    write(tmp_path / "A.csv", seconds)
    write(tmp_path / "B.csv", list(range(500, 1500)))
    found = everything(tmp_path, feed)
    assert seconds_of(found.trades) == sorted([*range(1000), *range(500, 1500)])
    assert found.late == 0


def test_more_files_than_are_opened_at_once_are_one_stream(
    tmp_path: Path, feed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "MOST_OPEN", 3)
    for number in range(10):
        write(tmp_path / f"A{number}.csv", list(range(number, 100, 10)))
    assert seconds_of(everything(tmp_path, feed).trades) == list(range(100))


def test_what_samples_have_not_shown_is_sent_late_and_counted(
    tmp_path: Path, feed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "SAMPLE_BYTES", 100)
    monkeypatch.setattr(lines, "SAMPLE_EVERY", 20_000)
    monkeypatch.setattr(order, "OPEN_BYTES", 1)
    monkeypatch.setattr(order, "LEAST_BLOCK_BYTES", 500)
    seconds = [*range(500), 3, *range(500, 1000)]
    write(tmp_path / "A.csv", seconds)
    found = everything(tmp_path, feed)
    assert sorted(seconds_of(found.trades)) == sorted(seconds)
    assert found.late == 1


def test_only_what_is_wanted(tmp_path: Path, feed: str) -> None:
    for number in range(3):
        write(tmp_path / f"A{number}.csv", list(range(number * 100, number * 100 + 100)))
    start_ns = START_US * 1000
    wanted = WantedTrades(start_ns + 150 * 10**9, start_ns + 250 * 10**9)
    assert seconds_of(everything(tmp_path, feed, wanted=wanted).trades) == list(range(150, 250))
    assert seconds_of(everything(tmp_path, feed, wanted=WantedTrades(symbols=("A1",))).trades) == list(range(100, 200))


def test_look_alikes_of_a_file_stay_and_copies_of_two_files_are_copies(tmp_path: Path) -> None:
    feed = tmp_path / "my.yaml"
    feed.write_text(FEED % "look-alikes")
    (tmp_path / "old").mkdir()
    for folder in (tmp_path, tmp_path / "old"):
        (folder / "A.csv").write_text(f"{START_US},1,1\n" * 3 + f"{START_US},2,1\n")
    ids = everything(tmp_path, str(feed)).trades["message_id"].tolist()
    assert (len(ids), len(set(ids))) == (8, 4)


def test_a_folder_is_all_that_is_below_it_but_hidden_and_other_files(tmp_path: Path, feed: str) -> None:
    for name in ("A.csv", "b/c/B.csv", "b/.hidden/X.csv", ".X.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / name, [1])
    (tmp_path / "notes.md").write_text("no trades")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("in/C.csv", f"{START_US},1,1\n")
        archive.writestr("in/readme.md", "no trades")
    names = [file.name for file in opened(tmp_path, feed).files]
    assert names == ["A.csv", "b/c/B.csv", "c.zip/in/C.csv"]
    assert [file.name for file in opened(f"{tmp_path}/**/[AB].csv", feed).files] == ["A.csv", "b/c/B.csv"]
    with pytest.raises(UsageError, match="There are no csv files"):
        opened(f"{tmp_path}/*.txt", feed)
