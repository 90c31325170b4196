"""What the table stored lately, as columns: from it a consumer rebuilds what it has seen."""

from collections.abc import Collection, Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from k2ctl.lake.filters import instant
from k2ctl.lake.manifests import all_manifests, data_entries, files_met, of_data
from k2ctl.lake.named import open_named
from k2ctl.lake.stored import Listed

RECENT_COLUMNS: Final = (
    "message_id", "exchange", "symbol", "source_sequence", "timestamp",
    "ingestion_timestamp", "kafka_topic", "kafka_partition", "kafka_epoch", "kafka_offset",
)  # fmt: skip


TEXT_COLUMNS: Final = ["symbol", "exchange", "kafka_epoch"]
BATCH_ROWS: Final = 500_000


def recent_rows(table: Table, since_us: int, topic: str, partitions: Collection[int]) -> Iterator[pa.Table]:
    """The rows of some partitions ingested or traded at or after `since_us`, files with the lowest offsets first.

    They come in batches, as they are stored: by symbol, and each symbol's by time. Files are pruned by their
    statistics; the columns are `RECENT_COLUMNS`, texts dictionary-encoded.
    """
    if not partitions:
        return
    numbers = ", ".join(map(str, sorted(partitions)))
    since = instant(since_us)
    wanted = f"(ingestion_timestamp >= '{since}' or timestamp >= '{since}') and kafka_partition in ({numbers})"
    files = files_met(table, table.metadata.current_snapshot(), wanted, deleted_too=True)
    offset_field = table.metadata.schema().find_field("kafka_offset").field_id
    earliest = pa.scalar(since_us, pa.timestamp("us", "UTC"))
    for file in sorted(files, key=lambda file: _lowest(file, offset_field)):
        for columns in _batches(table, file, topic, partitions):
            ingested, traded = columns["ingestion_timestamp"], columns["timestamp"]
            yield columns.filter(pc.or_(pc.greater_equal(ingested, earliest), pc.greater_equal(traded, earliest)))


def rows_stored_after(
    table: Table, sequence_number: int, topic: str, partitions: Collection[int]
) -> Iterator[pa.Table]:
    """The rows of some partitions that came with commits after one, by its sequence number, in batches.

    A file that a compaction has written since counts as new, whatever the age of its rows: too much, never too little.
    """
    for manifest in of_data(all_manifests(table, table.metadata.current_snapshot())):
        if (manifest.sequence_number or 0) > sequence_number:
            for entry in data_entries(table, manifest):
                if (entry.sequence_number or 0) > sequence_number:
                    yield from _batches(table, entry.data_file, topic, partitions)


def _batches(table: Table, file: DataFile, topic: str, partitions: Collection[int]) -> Iterator[pa.Table]:
    """The recent columns of one file, of some partitions of a topic; bounded, because a file may hold a whole hour."""
    numbers = pa.array(sorted(partitions), pa.int32())
    with open_named(table, Listed.of(file), RECENT_COLUMNS, TEXT_COLUMNS) as opened:
        for batch in opened.batches(BATCH_ROWS):
            columns = pa.table(batch)
            ours = pc.and_(pc.is_in(columns["kafka_partition"], numbers), pc.equal(columns["kafka_topic"], topic))
            yield columns.filter(ours)


def _lowest(file: DataFile, field_id: int) -> int:
    bounds = file.lower_bounds or {}
    return int.from_bytes(bounds.get(field_id, b""), "little", signed=True)
