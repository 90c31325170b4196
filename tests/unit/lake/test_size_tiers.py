"""Which files are merged."""

import random

import pytest
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.typedef import Record

from k2ctl.lake.live_files import (
    LARGE_FILE_ROWS,
    QUIET_MS,
    LiveFile,
    due,
    hour_name,
    of_like_size,
    parse_hour,
    tier_due,
)

NOW_MS = 1_800_000_000_000


def file_of(size: int, hour: int = 1, added_ms: int | None = NOW_MS, rows: int = 10) -> LiveFile:
    described = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=f"{random.random()}",
        file_format=FileFormat.PARQUET,
        partition=Record(hour),
        record_count=rows,
        file_size_in_bytes=size,
    )
    return LiveFile(described, hour, added_ms)


def test_files_of_like_size_are_merged_and_a_large_one_is_left_alone() -> None:
    chosen = of_like_size([file_of(size) for size in (1000, 10, 12, 11, 9)])
    assert [file.bytes for file in chosen] == [9, 10, 11, 12]


def test_files_that_each_outweigh_the_smaller_ones_are_not_worth_it() -> None:
    assert of_like_size([file_of(size) for size in (1, 2, 4, 8, 16)]) == []
    assert of_like_size([file_of(5)]) == []


def test_large_files_are_not_merged_again() -> None:
    assert of_like_size([file_of(5, rows=LARGE_FILE_ROWS), file_of(5, rows=LARGE_FILE_ROWS)]) == []


def test_an_hour_is_due_with_a_tier_of_files_or_when_it_is_quiet() -> None:
    busy = [file_of(10, hour=1) for _ in range(11)]
    quiet = [file_of(10, hour=2, added_ms=NOW_MS - QUIET_MS) for _ in range(3)]
    forgotten = [file_of(10, hour=3, added_ms=None) for _ in range(2)]
    assert [[f.hour for f in chosen] for chosen in due(busy + quiet + forgotten, 12, NOW_MS)] == [[2] * 3, [3] * 2]
    assert len(due([*busy, file_of(10, hour=1)], 12, NOW_MS)[0]) == 12
    assert due([*busy, file_of(41, hour=1)], 12, NOW_MS) == []


def test_of_two_tiers_that_are_complete_the_larger_files_go_first() -> None:
    small, large = [file_of(10) for _ in range(20)], [file_of(100) for _ in range(12)]
    assert {file.bytes for file in tier_due(small + large, 12)} == {100}


def test_files_of_odd_sizes_are_merged_before_they_are_forty() -> None:
    odd = [file_of(5**n, rows=1) for n in range(4) for _ in range(9)]
    assert due(odd[:-1], 12, NOW_MS) == []
    assert len(due(odd, 12, NOW_MS)[0]) == 36


@pytest.mark.parametrize("every_s", [1, 5])
def test_at_ten_thousand_trades_a_second_an_hour_stays_under_forty_files_and_a_row_is_rewritten_three_times_at_most(
    every_s: int,
) -> None:
    files: list[LiveFile] = []
    rewritten, most = 0, 0
    for at_s in range(every_s, 3601 + QUIET_MS // 1000, every_s):
        if at_s <= 3600:
            files.append(file_of(10_000 * every_s, added_ms=at_s * 1000, rows=10_000 * every_s))
        most = max(most, len(files))
        for chosen in due(files, 12, at_s * 1000)[:1]:
            rows = sum(file.rows for file in chosen)
            rewritten += rows
            files = [file for file in files if file not in chosen] + [file_of(rows, added_ms=at_s * 1000, rows=rows)]
    assert most < 40
    assert len(files) < 12
    assert rewritten / 36_000_000 <= 3


def test_hours_have_names_in_utc() -> None:
    assert hour_name(parse_hour("2014-03-10T05")) == "2014-03-10T05"
    assert parse_hour("2014-03-10T05:59:59.9+11:00") == parse_hour("2014-03-09T18")
