"""Data files: rows sorted and cut by hour, written once as Parquet, described for Iceberg without reading them back."""

import itertools
import uuid
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.fileformat import DataFileStatistics
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
    schema_to_pyarrow,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.table import Table
from pyiceberg.table.sorting import SortDirection
from pyiceberg.transforms import VoidTransform
from pyiceberg.typedef import Record

from k2ctl.domain.offers import Layout
from k2ctl.domain.rows import SORTED_BY, Rows, hours_in_order
from k2ctl.lake.pyiceberg_overrides.avro_schemas import SameObject
from k2ctl.lake.seal import Sealing
from k2ctl.lake.storage import delete_or_leave

_OPTIONS: Final = {
    "use_dictionary": [
        "symbol", "exchange", "asset_class", "currency", "side", "trade_conditions.list.element", "action",
        "kafka_topic", "kafka_epoch", "sector", "tick_size", "lot_size", "kafka_partition", "price", "quantity",
        "timestamp_nanos", "ingestion_timestamp_nanos",
    ],
    "column_encoding": {
        "message_id": "DELTA_BYTE_ARRAY",
        "trade_id": "DELTA_BINARY_PACKED",
        "timestamp": "DELTA_BINARY_PACKED",
        "committed_at": "DELTA_BINARY_PACKED",
        "ingestion_timestamp": "DELTA_BINARY_PACKED",
        "source_sequence": "DELTA_BINARY_PACKED",
        "kafka_offset": "DELTA_BINARY_PACKED",
        "kafka_index": "DELTA_BINARY_PACKED",
    },
    "store_decimal_as_integer": True,
    "store_schema": False,
    "write_page_checksum": True,
    "write_batch_size": 16_384,
}  # fmt: skip
"""Delta encodings: sorted by symbol and time, ids, times and offsets are all small steps. Arrow looks for the least and
the greatest text of a dictionary once for each batch of rows; of its own 1,024, that is a tenth of a file's time."""

_RUNS: Final = frozenset({
    "exchange", "asset_class", "currency", "action", "kafka_topic", "kafka_epoch", "kafka_partition", "sector",
    "tick_size", "lot_size", "timestamp_nanos", "ingestion_timestamp_nanos",
})  # fmt: skip
"""Columns of runs, or of noise, which their encoding leaves no bytes in for zstd, whose set-up for a page costs as much
as a thousand rows."""

ROW_GROUP_ROWS: Final = 131_072
_CONVERTED_AT_ONCE: Final = 32_768
"""Rows that are sorted into place and become columns together: so many stay in the processor's cache meanwhile."""

_WRITTEN_AT_ONCE: Final = 262_144
"""Parquet writes each header and each page by itself, some 76 parts a file; Arrow collects them for the checksums."""

FIELD_ID: Final = "PARQUET:field_id"

_BOUNDS_THAT_PRUNE: Final = {"write.metadata.metrics.column.timestamp": "full"}
"""The partition value comes from them, whatever statistics the table's properties ask for."""

_METRICS: Final = "write.metadata.metrics."


def parquet_options(columns: pa.Schema) -> dict[str, Any]:
    """How columns are written, for `ParquetWriter`. zstd is of level 1, Arrow's own choice."""
    leaves = [f"{one.name}.list.element" if pa.types.is_list(one.type) else one.name for one in columns]
    return {**_OPTIONS, "compression": {name: "none" if name in _RUNS else "zstd" for name in leaves}}


def layout_of(table: Table) -> Layout:
    """The schema and the spec under which a commit to this metadata files what it adds."""
    return Layout(table.metadata.current_schema_id, table.metadata.default_spec_id)


def write_rows(table: Table, rows: Rows, committed_us: int) -> list[DataFile]:
    """Write `rows` as one file per hour of `timestamp`, each sorted by symbol and time. Nothing is committed.

    committed_us: when their commit begins.

    An error leaves no file behind: on a full disk every new try would add some.
    """
    files: list[DataFile] = []
    try:
        for order in hours_in_order(rows):
            groups = row_groups(rows, order, committed_us)
            first = [next(groups)]
            files.append(write_chunks(table, first[0].schema, itertools.chain(_taken_out(first), groups)))
    except BaseException:
        delete_files(table, files)
        raise
    return files


def row_groups(rows: Rows, order: np.ndarray, committed_us: int) -> Iterator[pa.Table]:
    """The rows at some positions, a row group at a time.

    The memory of one serves the next. Taken whole, a commit would hold three copies of itself, all in new memory, and
    a sixth of its processor time would go into getting that.
    """
    for start in range(0, len(order), ROW_GROUP_ROWS):
        whole = order[start : start + ROW_GROUP_ROWS]
        parts = (whole[at : at + _CONVERTED_AT_ONCE] for at in range(0, len(whole), _CONVERTED_AT_ONCE))
        columns = pa.concat_tables(rows.take(part).to_arrow(committed_us) for part in parts)
        yield columns.unify_dictionaries()


def _taken_out(chunks: list[pa.Table]) -> Iterator[pa.Table]:
    """The chunks of a list, which holds none of them any longer."""
    while chunks:
        yield chunks.pop(0)


def write_file(table: Table, columns: pa.Table) -> DataFile:
    """Write one Parquet file, all of one hour, through the table's file IO; returns its Iceberg description."""
    return write_chunks(table, columns.schema, [columns])


def write_chunks(table: Table, columns: pa.Schema, chunks: Iterable[pa.Table]) -> DataFile:
    """`write_file` for rows that come in chunks, all of one hour. An error on the way leaves no file behind.

    columns: of the chunks. They are columns of the table by their names; the file has the table's ids and types.
    """
    stored = _as_in_table(columns, SameObject(table.metadata.schema()))
    path = f"{table.location()}/data/{uuid.uuid4()}.parquet"  # a new name, so no check whether it exists
    output, options = table.io.new_output(path), parquet_options(stored)
    footers: list[pq.FileMetaData] = []
    try:
        with output.create(overwrite=True) as stream:
            sealing = Sealing(stream, path.rpartition("/")[2])
            with (
                pa.BufferedOutputStream(pa.PythonFile(sealing, "w"), _WRITTEN_AT_ONCE) as buffered,
                pq.ParquetWriter(buffered, stored, metadata_collector=footers, **options) as writer,
            ):
                for chunk in chunks:
                    same = chunk.schema.equals(stored)
                    writer.write_table(chunk if same else chunk.cast(stored), row_group_size=ROW_GROUP_ROWS)
                    del chunk  # or it would be held while the next one is made
            size = sealing.finish(footers[0].num_rows)
    except BaseException:
        delete_or_leave(table.io, path)
        raise
    return _described(table, path, size, footers[0])


def describe(table: Table, path: str) -> DataFile:
    """The Iceberg description of a Parquet file of one hour that another program wrote for the table's schema.

    Raises:
        OSError, ArrowException: it cannot be read.
    """
    source = table.io.new_input(path)
    with source.open() as stream:
        return _described(table, path, len(source), pq.read_metadata(pa.PythonFile(stream, mode="r")))


def _described(table: Table, path: str, size: int, footer: pq.FileMetaData) -> DataFile:
    wanted = {**table.metadata.properties, **_BOUNDS_THAT_PRUNE}
    metrics = tuple((name, text) for name, text in wanted.items() if name.startswith(_METRICS))
    statistics = data_file_statistics_from_parquet_metadata(
        footer, *_statistics_plan(SameObject(table.metadata.schema()), metrics)
    )
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=_partition(table, statistics),
        file_size_in_bytes=size,
        sort_order_id=_sort_order(table),
        spec_id=table.metadata.default_spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )


@lru_cache(8)
def _statistics_plan(of: SameObject, metrics: tuple[tuple[str, str], ...]) -> tuple[dict[int, Any], dict[str, int]]:
    """What statistics each column of a file gets, by the table's properties for that; and the columns' ids by path."""
    return compute_statistics_plan(of.it, dict(metrics)), parquet_path_to_id_mapping(of.it)


@lru_cache(8)
def _as_in_table(columns: pa.Schema, of: SameObject) -> pa.Schema:
    """Columns with the field ids that the table has for their names, and with the types that it has promoted ours to.

    The ids are those of the loaded schema: those of a column that was dropped and added again have changed.
    """
    stored = []
    for column in columns:
        field, kind = of.it.find_field(column.name), column.type
        if pa.types.is_decimal(kind) or pa.types.is_integer(kind):
            kind = schema_to_pyarrow(field.field_type)
        stored.append(pa.field(column.name, kind, column.nullable, {FIELD_ID: str(field.field_id)}))
    return pa.schema(stored)


def _sort_order(table: Table) -> int | None:
    """The table's sort order, if that is the one that files of k2ctl have; else they claim none."""
    order, schema = table.sort_order(), table.metadata.schema()
    columns = [schema.find_column_name(field.source_id) for field in order.fields]
    ascending = all(field.direction == SortDirection.ASC for field in order.fields)
    return order.order_id if columns == list(SORTED_BY) and ascending else None


def _partition(table: Table, statistics: DataFileStatistics) -> Record:
    """The values of the table's partition spec for a file of one hour."""
    schema, spec = table.metadata.schema(), table.metadata.spec()
    values = (
        None if isinstance(field.transform, VoidTransform) else statistics.partition(PartitionSpec(field), schema)[0]
        for field in spec.fields
    )
    return Record(*values)


def delete_files(table: Table, files: list[DataFile]) -> None:
    """Delete files that no snapshot names. Orphan removal deletes those that cannot be deleted now."""
    for file in files:
        delete_or_leave(table.io, file.file_path)
