"""Which files are merged."""

import random

from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.typedef import Record

from k2ctl.lake.live_files import FULL_FILE_ROWS, QUIET_MS, LiveFile, due, hour_name, of_like_size, parse_hour

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


def test_full_files_are_not_merged_again() -> None:
    assert of_like_size([file_of(5, rows=FULL_FILE_ROWS), file_of(5, rows=FULL_FILE_ROWS)]) == []


def test_an_hour_is_due_with_many_files_or_when_it_is_quiet() -> None:
    busy = [file_of(10, hour=1) for _ in range(19)]
    quiet = [file_of(10, hour=2, added_ms=NOW_MS - QUIET_MS) for _ in range(3)]
    forgotten = [file_of(10, hour=3, added_ms=None) for _ in range(2)]
    assert [[f.hour for f in chosen] for chosen in due(busy + quiet + forgotten, 20, NOW_MS)] == [[2] * 3, [3] * 2]
    assert len(due([*busy, file_of(10, hour=1)], 20, NOW_MS)[0]) == 20


def test_an_hour_that_files_keep_coming_to_stays_under_forty_and_rows_are_rewritten_a_few_times() -> None:
    files: list[LiveFile] = []
    rewritten, arrived, most = 0, 0, 0
    for _ in range(3600):
        files.append(file_of(100))
        arrived += 100
        most = max(most, len(files))
        for chosen in due(files, 20, NOW_MS):
            merged = sum(file.bytes for file in chosen)
            rewritten += merged
            files = [file for file in files if file not in chosen] + [file_of(merged)]
    assert most < 40
    assert rewritten / arrived < 9


def test_hours_have_names_in_utc() -> None:
    assert hour_name(parse_hour("2014-03-10T05")) == "2014-03-10T05"
    assert parse_hour("2014-03-10T05:59:59.9+11:00") == parse_hour("2014-03-09T18")
