"""Files of one hour as one sorted file, through DuckDB."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import duckdb
import pyarrow as pa
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table import Table

from k2ctl.domain.rows import SORTED_BY
from k2ctl.errors import LakeError, first_line
from k2ctl.lake.catalog import Lake
from k2ctl.lake.columns import Columns, check_ids, check_inner_columns, numbered_columns
from k2ctl.lake.duckdb_files import refuse_damage, sorting, unreadable
from k2ctl.lake.files import ROW_GROUP_ROWS, delete_files, write_chunks
from k2ctl.lake.live_files import FULL_FILE_ROWS, LiveFile

MEMORY_LIMIT_MB: Final = 512
"""What a merge may hold; beyond it DuckDB sorts on disk."""


ORDER: Final = (*SORTED_BY, "kafka_partition", "kafka_offset", "kafka_index")
"""Of the rows of a merged file."""


def merge(lake: Lake, table: Table, files: Sequence[LiveFile], on_chunk: Callable[[], None]) -> list[DataFile]:
    """Write the rows of `files`, all of one hour, as one sorted file, or several full ones, and check them.

    All columns of the table's schema are carried, by field id, whoever added them. Nothing is committed. on_chunk is
    called for every chunk of rows; what it raises ends the merge.

    Raises:
        LakeError: a file cannot be read or holds other rows than its manifest says, a column cannot be carried, or what
            was written is not what was read.
    """
    check_ids(table)
    check_inner_columns(table)
    paths, stated = [file.path for file in files], sum(file.rows for file in files)
    schema = table.metadata.schema()
    columns = numbered_columns(schema)
    written: list[DataFile] = []
    try:
        with _duckdb(lake) as connection:
            before = footprint(connection, columns, paths)
            if before[0] != stated:
                raise LakeError(
                    f"{len(files)} data files hold {before[0]:,} rows, and {stated:,} by their manifests: one is not "
                    "the file that was committed.",
                    "The table is as it was. Find what is wrong: k2ctl verify",
                )
            for chunks in _files_worth(_sorted_chunks(connection, schema, paths, on_chunk)):
                written.append(write_chunks(table, schema_to_pyarrow(schema), chunks))
            after = footprint(connection, columns, [file.file_path for file in written])
        if before != after:
            raise LakeError(
                f"A merge of {len(paths)} files wrote {after[0]:,} rows for {before[0]:,}; it was discarded.",
                "The table is as it was. This is a bug of k2ctl: please report it.",
            )
    except BaseException:
        delete_files(table, written)
        raise
    return written


def footprint(connection: duckdb.DuckDBPyConnection, columns: Columns, paths: Sequence[str]) -> tuple[int, int]:
    """Rows, and the sum of a hash over every column of every row: equal for equal rows."""
    names = ", ".join(column.name for column in columns.every)
    query = f"SELECT count(*), sum(hash({names})) FROM {columns.source('$paths')}"  # noqa: S608
    rows, hashes = connection.execute(query, {"paths": list(paths)}).fetchall()[0]
    return rows, int(hashes or 0)


@contextmanager
def _duckdb(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that takes one core and little memory: the consumer works beside it."""
    try:
        with sorting(lake, 1, MEMORY_LIMIT_MB) as connection:
            yield connection
    except duckdb.Error as error:
        refuse_damage(error)
        raise LakeError(
            f"Files of the table cannot be merged: {unreadable(error) or first_line(error)}",
            "The table is as it was. Look at it with: k2ctl lake status",
        ) from error


def _sorted_chunks(
    connection: duckdb.DuckDBPyConnection, schema: Schema, paths: Sequence[str], on_chunk: Callable[[], None]
) -> Iterator[pa.Table]:
    """The rows in order, a row group at a time; ties in `SORTED_BY` keep Kafka's order."""
    order = ", ".join(f"f{schema.find_field(name).field_id}" for name in ORDER)
    query = f"SELECT * FROM {numbered_columns(schema).source('$paths')} ORDER BY {order}"  # noqa: S608
    target = schema_to_pyarrow(schema)
    parameters: dict[str, Any] = {"paths": list(paths)}
    for batch in connection.sql(query, params=parameters).to_arrow_reader(ROW_GROUP_ROWS):
        on_chunk()
        yield pa.Table.from_batches([batch]).rename_columns(target.names).cast(target)


def _files_worth(chunks: Iterator[pa.Table]) -> Iterator[Iterator[pa.Table]]:
    """The chunks as one run per output file, each to be used up before the next."""
    per_file = FULL_FILE_ROWS // ROW_GROUP_ROWS
    for first in chunks:
        yield itertools.chain([first], itertools.islice(chunks, per_file - 1))
