"""An Iceberg table as a tutorial makes it: default properties, rows from Python dictionaries, one append at a time."""

import contextlib
from typing import Any, Final

import pyarrow as pa
from pyiceberg.exceptions import NamespaceAlreadyExistsError

from k2ctl.lake.catalog import Lake

NAIVE_TABLE: Final = "naive.trades"
_SCHEMA: Final = pa.schema(
    [
        ("message_id", pa.string()),
        ("trade_id", pa.int64()),
        ("symbol", pa.string()),
        ("exchange", pa.string()),
        ("timestamp", pa.timestamp("us", "UTC")),
        ("price", pa.float64()),
        ("quantity", pa.float64()),
        ("side", pa.string()),
        ("source_sequence", pa.int64()),
    ]
)


class PlainTable:
    """The naive baseline's own table, beside `market_data.trades` and never the same."""

    def __init__(self, lake: Lake) -> None:
        with contextlib.suppress(NamespaceAlreadyExistsError):
            lake.catalog.create_namespace(NAIVE_TABLE.rpartition(".")[0])
        self._table = lake.catalog.create_table_if_not_exists(NAIVE_TABLE, _SCHEMA)

    def append(self, rows: list[dict[str, Any]]) -> None:
        """One snapshot with these rows."""
        self._table.append(pa.Table.from_pylist(rows, _SCHEMA))

    def count(self) -> int:
        """Rows in the table."""
        self._table.refresh()
        return self._table.scan().count()
