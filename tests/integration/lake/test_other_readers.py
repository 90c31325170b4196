"""Readers that know nothing of k2ctl find in the table what was sent: pyiceberg by the catalog, DuckDB by the files."""

import uuid
from collections import Counter
from collections.abc import Callable
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from k2ctl.clock import SystemClock
from k2ctl.domain.checkpoint import Counts, OffsetDelta, TopicPartition
from k2ctl.domain.conditions import unpack
from k2ctl.domain.decimals import as_decimal
from k2ctl.domain.rows import SORTED_BY
from k2ctl.domain.topics import TABLE
from k2ctl.domain.trade import ACTIONS, NO_ID
from k2ctl.lake.catalog import Lake
from k2ctl.lake.live_files import live_files
from k2ctl.lake.maintenance.maintainer import compact_now, whole_hours
from k2ctl.lake.writer import TableWriter
from tests.made_trades import make_rows, make_varied
from tests.support.leases import of_this_machine

COUNT, CLOCK = 600, SystemClock()
EXACT = Context(prec=60)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Six commits, the first four of them merged."""
    opened = Lake(f"sqlite:///{tmp_path}/catalog.db", f"file://{tmp_path}/warehouse")
    writer = TableWriter(opened, CLOCK)
    for start in range(0, COUNT, 100):
        step = OffsetDelta(start, start + 100, Counts(seen=100, stored=100))
        writer.commit([make_rows(make_varied(100, start), start)], {TopicPartition("t", "e", 0): step})
        if start == 300:
            compact_now(opened, CLOCK, whole_hours, of_this_machine)
    return opened


def by_pyiceberg(lake: Lake) -> pa.Table:
    return lake.catalog.load_table(TABLE).scan().to_arrow()


def by_duckdb(lake: Lake) -> pa.Table:
    paths = [file.path.removeprefix("file://") for file in live_files(lake.table())]
    return duckdb.sql("SELECT * FROM read_parquet($paths)", params={"paths": paths}).to_arrow_table()


def figures(rows: list[dict[str, Any]]) -> dict[str, object]:
    """Counts and sums over what the table holds of trades."""
    sums = {name: exact_sum(row[name] for row in rows) for name in ("price", "quantity")}
    nanos = {name: sum(row[name] for row in rows) for name in ("timestamp_nanos", "ingestion_timestamp_nanos")}
    codes = Counter(code for row in rows for code in row["trade_conditions"])
    refers = sorted(str(row["refers_to"]) for row in rows if row["refers_to"] is not None)
    return {**sums, **nanos, "codes": codes, "actions": Counter(row["action"] for row in rows), "refers_to": refers}


def exact_sum(values: Any) -> Decimal:
    total = Decimal(0)
    for value in values:
        total = EXACT.add(total, value)
    return total


def sent() -> list[dict[str, Any]]:
    return [
        {
            "price": as_decimal(trade["price"]),
            "quantity": as_decimal(trade["quantity"]),
            "timestamp_nanos": int(trade["event_ns"] % 1000),
            "ingestion_timestamp_nanos": int(trade["received_ns"] % 1000),
            "trade_conditions": unpack(trade["trade_conditions"]),
            "action": ACTIONS[trade["action"]],
            "refers_to": None if trade["refers_to"] == NO_ID else uuid.UUID(bytes=trade["refers_to"].tobytes()),
        }
        for trade in make_varied(COUNT)
    ]


@pytest.mark.parametrize("read", [by_pyiceberg, by_duckdb])
def test_counts_and_sums_over_every_column_are_those_of_what_was_sent(
    lake: Lake, read: Callable[[Lake], pa.Table]
) -> None:
    rows = read(lake).to_pylist()
    assert len(rows) == COUNT
    assert figures(rows) == figures(sent())
    assert all(row["committed_at"] is not None for row in rows)


@pytest.mark.parametrize("read", [by_pyiceberg, by_duckdb])
def test_decimals_add_up_without_a_cast(lake: Lake, read: Callable[[Lake], pa.Table]) -> None:
    (found,) = duckdb.from_arrow(read(lake)).aggregate("sum(price), sum(quantity)").fetchall()
    assert found == tuple(exact_sum(row[name] for row in sent()) for name in ("price", "quantity"))


def test_the_table_says_how_its_files_are_sorted(lake: Lake) -> None:
    table = lake.catalog.load_table(TABLE)
    order = table.sort_order()
    assert [table.schema().find_column_name(field.source_id) for field in order.fields] == list(SORTED_BY)
    assert {task.file.sort_order_id for task in table.scan().plan_files()} == {order.order_id}


def test_the_order_within_a_microsecond_is_kept_by_commits_and_by_compaction(lake: Lake) -> None:
    trades = make_varied(400, start=COUNT)
    trades["symbol"], trades["event_ns"] = b"S00", trades["event_ns"][0] // 1000 * 1000 + np.arange(400)[::-1] // 2
    writer = TableWriter(lake, CLOCK)
    for start in (0, 200):
        step = OffsetDelta(COUNT + start, COUNT + start + 200, Counts(seen=200, stored=200))
        writer.commit([make_rows(trades[start : start + 200], COUNT + start)], {TopicPartition("t", "e", 0): step})
    for merged in (False, True):
        if merged:
            compact_now(lake, CLOCK, whole_hours, of_this_machine)
        files = [file.path.removeprefix("file://") for file in live_files(lake.table())]
        for path in files:
            query = "SELECT timestamp, timestamp_nanos, kafka_offset FROM read_parquet($path) WHERE kafka_offset >= 600"
            rows = duckdb.sql(query, params={"path": path}).fetchall()
            assert rows == sorted(rows)
    assert len(files) == 1
    assert len(rows) == 400
