"""Stripped loop: what Parquet itself takes. Benchmarks are held against it."""

import time
from pathlib import Path

import pyarrow.parquet as pq

from k2ctl.lake.files import PARQUET_OPTIONS, ROW_GROUP_ROWS
from k2ctl.schema.rows import Rows, symbol_order


def sorted_write_s(rows: Rows, warehouse: str) -> float:
    """Seconds to sort rows and write them as one Parquet file, with the table's own settings, and nothing else."""
    folder = Path(warehouse.removeprefix("file://"))
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "ceiling.parquet"
    started_s = time.perf_counter()
    columns = rows.take(symbol_order(rows)).to_arrow()
    pq.write_table(columns, target, row_group_size=ROW_GROUP_ROWS, **PARQUET_OPTIONS)
    seconds = time.perf_counter() - started_s
    target.unlink()
    return seconds
