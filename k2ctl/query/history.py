"""The lake's side of the seam: DuckDB over the data files that Iceberg planned."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from k2ctl.domain.copies import COPY_COLUMNS
from k2ctl.domain.rows import arrow_schema
from k2ctl.domain.trade import Window
from k2ctl.errors import LakeError, TooLong
from k2ctl.lake.catalog import Lake
from k2ctl.lake.duckdb_files import ASK_AGAIN, another, open_duckdb, refuse_damage, unreadable
from k2ctl.lake.snapshots import ScanPlan
from k2ctl.query.page import Page

NEWEST_FIRST = "timestamp DESC, timestamp_nanos DESC, kafka_partition, kafka_offset DESC, kafka_index DESC"
"""The order of answers. Rows of one symbol share a partition, so ties in time fall back on the order of arrival."""


_BARS: Final = """
    SELECT symbol, make_timestamptz((epoch_us(timestamp) // {bar}) * {bar}) AS bar_start,
        arg_min(price, place) AS open, max(price) AS high, min(price) AS low, arg_max(price, place) AS close,
        sum(quantity) AS volume,
        greatest(low, least(high, CAST(
            round(sum(price::DOUBLE * quantity::DOUBLE) / nullif(sum(quantity)::DOUBLE, 0), 12) AS DECIMAL(38, 12)
        ))) AS vwap,
        count(*) AS trades
    FROM (SELECT *, (timestamp, timestamp_nanos, kafka_partition, kafka_offset, kafka_index) AS place FROM ({source}))
    GROUP BY ALL ORDER BY bar_start, symbol
"""
"""Trades of the same nanosecond count in the order of their arrival."""


class FilesGone(LakeError):
    """A planned data file is no longer there: the snapshot was pinned too long ago."""


class History:
    """A DuckDB connection for reading a lake's data files. Not thread-safe.

    beside: one of the same lake, to share its threads and its cache of files.
    """

    def __init__(self, lake: Lake, beside: "History | None" = None) -> None:
        self._connection: duckdb.DuckDBPyConnection = (
            open_duckdb(lake) if beside is None else another(beside._connection)
        )
        self._connection.execute("SET arrow_lossless_conversion = true")  # uuid stays 16 bytes
        self._connection.execute("SET parquet_metadata_cache = true")  # data files never change

    def close(self) -> None:
        self._connection.close()

    def interrupt(self) -> None:
        """End the scan under way, from another thread."""
        self._connection.interrupt()

    def newest(
        self,
        plan: ScanPlan,
        symbols: Sequence[str] | None,
        window: Window,
        limit: int | None,
        page: Page | None = None,
    ) -> pa.Table:
        """The newest `limit` rows (None: all) of `symbols` in `window`, newest first, as `arrow_schema()` says."""
        if not plan.paths:
            return arrow_schema().empty_table()
        condition, parameters = _condition(symbols, window)
        if page is not None:
            of_page, more = page.condition()
            condition, parameters = f"{condition} AND {of_page}", {**parameters, **more}
        names = ", ".join(arrow_schema().names)
        query = f"SELECT {names} FROM {_rows(plan)} WHERE {condition} ORDER BY {NEWEST_FIRST}"  # noqa: S608
        if limit is not None:
            query += f" LIMIT {int(limit)}"
        return self._read(query, {"files": plan.paths, **parameters}).cast(arrow_schema())

    def fresh(self, plan: ScanPlan, tail: pa.Table) -> pa.Table:
        """The rows of `tail` that are not in the lake, of copies one: the lowest in Kafka's order.

        A copy has the time of its trade, so only that time of the lake is searched.
        """
        whole = tail.cast(arrow_schema())
        if not len(whole):
            return whole
        columns, copies = ", ".join(arrow_schema().names), ", ".join(COPY_COLUMNS)
        query = f"SELECT {columns} FROM tail"  # noqa: S608
        parameters: dict[str, Any] = {}
        if plan.paths:
            query += (
                f" ANTI JOIN (SELECT {copies} FROM {_rows(plan)} WHERE timestamp BETWEEN"  # noqa: S608
                f" make_timestamptz($first) AND make_timestamptz($last)) USING ({copies})"
            )
            times = whole.column("timestamp").cast(pa.int64())
            span = pc.min_max(times).as_py()
            parameters = {"files": plan.paths, "first": span["min"], "last": span["max"]}
        query += (
            " QUALIFY row_number() OVER"
            f" (PARTITION BY {copies} ORDER BY kafka_partition, kafka_offset, kafka_index) = 1"
        )
        with self._registered(whole):
            return self._read(query, parameters).cast(arrow_schema())

    def bars(self, plan: ScanPlan, fresh: pa.Table, symbols: Sequence[str], window: Window, bar_us: int) -> pa.Table:
        """Open, high, low, close, volume, vwap and count per symbol and bar, oldest first; bars start at multiples.

        fresh: rows of the stream that are not in the lake.
        """
        condition, parameters = _condition(symbols, window)
        source = "SELECT * FROM tail"
        if plan.paths:
            columns = ", ".join(arrow_schema().names)
            source += f" UNION ALL SELECT {columns} FROM {_rows(plan)} WHERE {condition}"  # noqa: S608
            parameters["files"] = plan.paths
        else:
            parameters = {}
        with self._registered(fresh):
            return self._read(_BARS.format(source=source, bar=int(bar_us)), parameters)

    @contextmanager
    def _registered(self, tail: pa.Table) -> Iterator[None]:
        self._connection.register("tail", tail)
        try:
            yield
        finally:
            self._connection.unregister("tail")

    def last_trade_us(self, plan: ScanPlan, symbol: str) -> int | None:
        """The newest timestamp of a symbol, or None if the files do not know it."""
        if not plan.paths:
            return None
        query = f"SELECT epoch_us(max(timestamp)) AS last FROM {_rows(plan)} WHERE symbol = $symbol"  # noqa: S608
        last: int | None = self._read(query, {"files": plan.paths, "symbol": symbol}).column("last")[0].as_py()
        return last

    def symbols(self, plan: ScanPlan) -> set[str]:
        """All symbols in the files."""
        if not plan.paths:
            return set()
        table = self._read(f"SELECT DISTINCT symbol FROM {_rows(plan)}", {"files": plan.paths})  # noqa: S608
        return set(table.column("symbol").to_pylist())

    def _read(self, query: str, parameters: dict[str, Any]) -> pa.Table:
        try:
            return self._connection.sql(query, params=parameters).to_arrow_table()
        except duckdb.InterruptException as error:
            raise TooLong from error
        except duckdb.Error as error:
            refuse_damage(error)
            reason = unreadable(error)
            if reason:
                raise FilesGone(f"A data file of the table cannot be read: {reason}", ASK_AGAIN) from error
            raise LakeError(
                f"The table's files cannot be scanned: {str(error).splitlines()[0]}",
                "Look at it with: k2ctl lake status",
            ) from error


def _rows(plan: ScanPlan) -> str:
    return plan.columns.source("$files")


def _condition(symbols: Sequence[str] | None, window: Window) -> tuple[str, dict[str, Any]]:
    """The exact filter as SQL with named parameters."""
    conditions, parameters = ["true"], dict[str, Any]()
    if symbols is not None:
        parameters |= {f"symbol{i}": symbol for i, symbol in enumerate(symbols)}
        conditions.append(f"symbol IN ({', '.join(f'$symbol{i}' for i in range(len(symbols)))})")
    if window.since_us is not None:
        conditions.append("timestamp >= make_timestamptz($since_us)")
        parameters["since_us"] = window.since_us
    if window.until_us is not None:
        conditions.append("timestamp < make_timestamptz($until_us)")
        parameters["until_us"] = window.until_us
    return " AND ".join(conditions), parameters
