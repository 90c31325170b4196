"""Columns of a data file by the table's names, read through pyarrow: by field id, whatever the file calls them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.table import Table

from k2ctl.domain.rows import arrow_schema
from k2ctl.lake.columns import check_ids, never_changed
from k2ctl.lake.files import FIELD_ID
from k2ctl.lake.intact import open_intact
from k2ctl.lake.stored import Listed

_ID: Final = FIELD_ID.encode()


class NamedFile:
    """An open data file, of which some columns of trades are read."""

    def __init__(self, table: Table, file: pq.ParquetFile, names: Sequence[str], texts: Sequence[str]) -> None:
        self._file = file
        self._names = list(names)
        self._texts = texts
        self._held = _held(table, file.schema_arrow, names)

    def read(self) -> pa.Table:
        """All rows."""
        return pa.Table.from_batches(self.batches(max(1, self._file.metadata.num_rows)), self._empty().schema)

    def batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        """The rows, so many at once."""
        for batch in self._file.iter_batches(rows, columns=[*self._held.values()]):
            columns = [self._as_asked(batch, name) for name in self._names]
            yield pa.RecordBatch.from_arrays(columns, names=self._names)

    def _as_asked(self, batch: pa.RecordBatch, name: str) -> pa.Array:
        kind = self._type(name)
        if name not in self._held:
            return pa.nulls(len(batch), kind)
        column = batch[self._held[name]]
        return column if column.type == kind else column.cast(kind)

    def _type(self, name: str) -> pa.DataType:
        kind = arrow_schema().field(name).type
        return pa.dictionary(pa.int32(), kind) if name in self._texts else kind

    def _empty(self) -> pa.Table:
        return pa.schema([(name, self._type(name)) for name in self._names]).empty_table()


@contextmanager
def open_named(table: Table, file: Listed, names: Sequence[str], texts: Sequence[str] = ()) -> Iterator[NamedFile]:
    """Some columns of a data file, open until the end of the block. texts: those to be given dictionary-encoded.

    Raises:
        LakeError: another program has added files that do not tell which column is which. Else as `open_intact`.
    """
    with open_intact(table.io, file, read_dictionary=list(texts)) as opened:
        yield NamedFile(table, opened, names, texts)


def _held(table: Table, file: pa.Schema, names: Sequence[str]) -> dict[str, str]:
    """For each column of the table that a file holds, what the file calls it."""
    if never_changed(table.metadata):
        return {name: name for name in names}
    check_ids(table)
    by_id = {int(field.metadata[_ID]): field.name for field in file if _ID in (field.metadata or {})}
    ids = {field.name: field.field_id for field in table.metadata.schema().fields}
    return {name: by_id[ids[name]] for name in names if ids[name] in by_id}
