"""The query that tells which of some trades the table holds, through DuckDB."""

from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from k2ctl.domain.copies import PRINT_SQL, TRADE_KEY
from k2ctl.domain.rows import Rows
from k2ctl.errors import first_line
from k2ctl.lake.catalog import Lake
from k2ctl.lake.columns import Columns
from k2ctl.lake.duckdb_files import open_duckdb, refuse_damage, unreadable
from k2ctl.lake.opened import damaged

_QUERY: Final = """
    SELECT s.at AS at, f.kafka_topic AS topic, f.kafka_epoch AS epoch, f.kafka_partition AS partition,
           f.kafka_offset AS offset, f.kafka_index AS index, {copies} AS copies,
           epoch_us(f.ingestion_timestamp) * 1000 + coalesce(f.ingestion_timestamp_nanos, 0) AS received_ns
    FROM (SELECT *, {printed} FROM {source}) f JOIN (SELECT *, {printed} FROM suspects) s ON {same}
    WHERE f.timestamp BETWEEN make_timestamptz($since_us) AND make_timestamptz($until_us)
"""
_PRINTED: Final = ", ".join(f"{column} AS printed{at}" for at, column in enumerate(PRINT_SQL))
_COPIES: Final = " AND ".join(f"f.printed{at} IS NOT DISTINCT FROM s.printed{at}" for at in range(len(PRINT_SQL)))
_SAME: Final = " AND ".join(f"f.{name} = s.{name}" for name in TRADE_KEY)


class StoredQuery:
    """Asks the files of one table, with a connection of its own. Not thread-safe."""

    def __init__(self, lake: Lake) -> None:
        self._connection = open_duckdb(lake)

    def matches(self, rows: Rows, files: list[str], columns: Columns) -> pa.Table:
        """The rows of some files that are the same trades as some of `rows`, with the positions of these as `at`.

        Raises:
            OSError: a file cannot be read now. LakeError: one is damaged.
        """
        times = rows.trades["event_ns"] // 1000
        numbered = rows.to_arrow().select([*TRADE_KEY, "price", "quantity", "action", "refers_to"])
        suspects = numbered.append_column("at", pa.array(np.arange(len(rows))))
        self._connection.register("suspects", suspects)
        try:
            query = _QUERY.format(source=columns.source("$files"), copies=_COPIES, printed=_PRINTED, same=_SAME)
            bounds = {"since_us": int(times.min()), "until_us": int(times.max())}
            return self._connection.sql(query, params={"files": files, **bounds}).to_arrow_table()
        except duckdb.Error as error:
            refuse_damage(error)
            if isinstance(error, duckdb.IOException | duckdb.HTTPException):
                raise OSError(unreadable(error) or first_line(error)) from error
            raise damaged("A data file of the table", error) from error
        finally:
            self._connection.unregister("suspects")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
