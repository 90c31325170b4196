"""What the table stored lately, as columns: from it a consumer rebuilds what it has seen."""

from collections.abc import Collection, Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

RECENT_COLUMNS: Final = (
    "message_id", "exchange", "symbol", "source_sequence", "timestamp",
    "ingestion_timestamp", "kafka_topic", "kafka_partition",
)  # fmt: skip


BATCH_ROWS: Final = 500_000


def recent_rows(table: Table, since_us: int, topic: str, partitions: Collection[int]) -> Iterator[pa.Table]:
    """The rows of some partitions ingested at or after `since_us`, in batches, files with the lowest offsets first.

    Within a file rows come as they are stored: by symbol, and each symbol's by time. Files are pruned by their
    statistics; the columns are `RECENT_COLUMNS`, texts dictionary-encoded.
    """
    if table.metadata.current_snapshot() is None or not partitions:
        return
    numbers = ", ".join(map(str, sorted(partitions)))
    wanted = f"ingestion_timestamp >= '{_instant(since_us)}' and kafka_partition in ({numbers})"
    tasks = list(table.scan(row_filter=wanted).plan_files())
    offset_field = table.metadata.schema().find_field("kafka_offset").field_id
    for task in sorted(tasks, key=lambda task: _lowest(task.file, offset_field)):
        with table.io.new_input(task.file.file_path).open() as stream:
            file = pq.ParquetFile(pa.PythonFile(stream, mode="r"), read_dictionary=["symbol", "exchange"])
            for batch in file.iter_batches(BATCH_ROWS, columns=list(RECENT_COLUMNS)):
                columns = pa.table(batch)
                yield columns.filter(
                    pc.and_(
                        pc.and_(
                            pc.is_in(columns["kafka_partition"], pa.array(sorted(partitions), pa.int32())),
                            pc.equal(columns["kafka_topic"], topic),
                        ),
                        pc.greater_equal(
                            columns["ingestion_timestamp"], pa.scalar(since_us, pa.timestamp("us", "UTC"))
                        ),
                    )
                )


def _lowest(file: DataFile, field_id: int) -> int:
    bounds = file.lower_bounds or {}
    return int.from_bytes(bounds.get(field_id, b""), "little", signed=True)


def _instant(microseconds: int) -> str:
    return str(pa.scalar(microseconds, pa.timestamp("us", "UTC")).as_py().isoformat())
