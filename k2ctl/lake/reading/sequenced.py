"""The sequence numbers that the table holds, hour by hour in exchange time: what a gap report is made of."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.table import Table

from k2ctl.lake.upkeep.live import LiveFile, by_stretch, live_files
from k2ctl.schema.rows import HOUR_US

SEQUENCED_COLUMNS: Final = (
    "exchange", "symbol", "source_sequence", "timestamp", "ingestion_timestamp", "kafka_topic", "kafka_partition",
)  # fmt: skip


def sequenced_rows(table: Table, symbol: str | None = None, since_us: int | None = None) -> Iterator[pa.Table]:
    """The rows hour by hour, oldest first, by exchange time; columns `SEQUENCED_COLUMNS`, the topic dictionary-encoded.

    symbol, since_us: only those of a symbol, and at or after an exchange time. An hour's columns are in memory at once:
    some 50 bytes a row.
    """
    for files in by_stretch(live_files(table)):
        if since_us is not None and (max(file.last_hour for file in files) + 1) * HOUR_US <= since_us:
            continue
        rows = pa.concat_tables([_read(table, file, symbol) for file in files]).unify_dictionaries()
        if since_us is not None:
            rows = rows.filter(pc.greater_equal(rows["timestamp"], pa.scalar(since_us, pa.timestamp("us", "UTC"))))
        if len(rows):
            times = rows["timestamp"].cast(pa.int64()).to_numpy()
            yield rows.take(pa.array(np.argsort(times, kind="stable"))).combine_chunks()


def _read(table: Table, file: LiveFile, symbol: str | None) -> pa.Table:
    with table.io.new_input(file.path).open() as stream:
        return pq.read_table(
            pa.PythonFile(stream, mode="r"),
            columns=list(SEQUENCED_COLUMNS),
            read_dictionary=["kafka_topic"],
            filters=None if symbol is None else pc.field("symbol") == symbol,
        )
