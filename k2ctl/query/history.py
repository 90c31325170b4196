"""The lake's side of the seam: DuckDB over the data files that Iceberg planned."""

from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa

from k2ctl.errors import LakeError
from k2ctl.query.window import Window
from k2ctl.schema.rows import arrow_schema

NEWEST_FIRST = "timestamp DESC, kafka_partition, kafka_offset DESC, kafka_index DESC"
"""The order of answers. Rows of one symbol share a partition, so ties in time fall back on the order of arrival."""


class FilesGone(LakeError):
    """A planned data file is no longer there: the snapshot was pinned too long ago."""


class History:
    """A DuckDB connection for reading data files. Not thread-safe."""

    def __init__(self) -> None:
        self._connection = duckdb.connect()
        self._connection.execute("SET timezone = 'UTC'")
        self._connection.execute("SET arrow_lossless_conversion = true")  # uuid stays 16 bytes

    def close(self) -> None:
        self._connection.close()

    def newest(self, files: list[str], symbols: Sequence[str] | None, window: Window, limit: int | None) -> pa.Table:
        """The newest `limit` rows (None: all) of `symbols` in `window`, newest first, as `arrow_schema()` says."""
        if not files:
            return arrow_schema().empty_table()
        condition, parameters = _condition(symbols, window)
        names = ", ".join(arrow_schema().names)
        query = f"SELECT {names} FROM read_parquet($files) WHERE {condition} ORDER BY {NEWEST_FIRST}"  # noqa: S608
        if limit is not None:
            query += f" LIMIT {int(limit)}"
        return self._read(query, {"files": files, **parameters}).cast(arrow_schema())

    def last_trade_us(self, files: list[str], symbol: str) -> int | None:
        """The newest timestamp of a symbol, or None if the files do not know it."""
        if not files:
            return None
        query = "SELECT epoch_us(max(timestamp)) AS last FROM read_parquet($files) WHERE symbol = $symbol"
        last: int | None = self._read(query, {"files": files, "symbol": symbol}).column("last")[0].as_py()
        return last

    def symbols(self, files: list[str]) -> set[str]:
        """All symbols that the files hold."""
        if not files:
            return set()
        table = self._read("SELECT DISTINCT symbol FROM read_parquet($files)", {"files": files})
        return set(table.column("symbol").to_pylist())

    def _read(self, query: str, parameters: dict[str, Any]) -> pa.Table:
        try:
            return self._connection.sql(query, params=parameters).to_arrow_table()
        except duckdb.IOException as error:
            raise FilesGone(
                f"A data file of the table cannot be read: {str(error).splitlines()[0]}",
                "Ask again; if that does not help: k2ctl lake status",
            ) from error
        except duckdb.Error as error:
            raise LakeError(
                f"The table's files cannot be scanned: {str(error).splitlines()[0]}",
                "Look at it with: k2ctl lake status",
            ) from error


def _condition(symbols: Sequence[str] | None, window: Window) -> tuple[str, dict[str, Any]]:
    """The exact filter as SQL with named parameters."""
    terms, parameters = ["true"], dict[str, Any]()
    if symbols is not None:
        parameters |= {f"symbol{i}": symbol for i, symbol in enumerate(symbols)}
        terms.append(f"symbol IN ({', '.join(f'$symbol{i}' for i in range(len(symbols)))})")
    if window.since_us is not None:
        terms.append("timestamp >= make_timestamptz($since_us)")
        parameters["since_us"] = window.since_us
    if window.until_us is not None:
        terms.append("timestamp < make_timestamptz($until_us)")
        parameters["until_us"] = window.until_us
    return " AND ".join(terms), parameters
