"""Stripped loop: what Parquet itself takes. Benchmarks are held against it."""

import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from k2ctl.domain.rows import Rows, symbol_order
from k2ctl.lake.files import PARQUET_OPTIONS, ROW_GROUP_ROWS


def sorted_write_s(rows: Rows, rows_per_file: int, folder: Path) -> float:
    """Seconds to sort rows and write them as Parquet files, with the table's own settings, and nothing else.

    One file after the other, as commits do it: each is made of rows that came one after the other.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target, seconds = folder / "baseline.parquet", 0.0
    for start in range(0, len(rows), rows_per_file):
        part = rows.take(np.arange(start, min(len(rows), start + rows_per_file)))
        started_s = time.perf_counter()
        columns = part.take(symbol_order(part)).to_arrow()
        pq.write_table(columns, target, row_group_size=ROW_GROUP_ROWS, **PARQUET_OPTIONS)
        seconds += time.perf_counter() - started_s
        target.unlink()
    return seconds
