"""Parquet: columns have the types of the file, and only those are read that the feed names."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from k2ctl.feeds.files.found import FeedFile
from k2ctl.feeds.files.pieces import Constants, Piece, row_table
from k2ctl.feeds.mapping.mapping import Parts, Prepared

_SAMPLE_ROWS = 1_000
_LEAST_ROWS = 1_000


class ParquetFile:
    """One file of Parquet. needed: which columns the feed names, of a source's."""

    def __init__(self, file: FeedFile, constants: Constants, needed: Callable[[Prepared], frozenset[str]]) -> None:
        """Raises:
        OSError: it cannot be read, or is no Parquet.
        """
        self._file, self._constants = file, constants
        with self._opened() as opened:
            self._schema = opened.schema_arrow
            self._groups = [opened.metadata.row_group(at).num_rows for at in range(opened.num_row_groups)]
            self._row_bytes = max(1, file.size // max(1, opened.metadata.num_rows))
        named = needed(self.empty())
        self._columns = [name for name in self._schema.names if name in named]

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        with self._file.system.open_input_file(self._file.path) as raw:
            try:
                with pq.ParquetFile(raw, memory_map=False, buffer_size=1 << 16) as opened:
                    yield opened
            except pa.ArrowInvalid as error:
                raise OSError(str(error).partition("\n")[0]) from error

    def empty(self) -> Prepared:
        """The columns, without a row."""
        return self._prepared(self._schema.empty_table(), np.zeros(0, np.int64))

    def _prepared(self, table: pa.Table, lines: np.ndarray) -> Prepared:
        columns = {name: table[name].combine_chunks() for name in table.column_names}
        return Prepared(row_table(columns, self._constants, lines))

    def pieces(self, size: int) -> Iterator[Piece]:
        """All rows in order; a row's line is its number."""
        at, rows = 1, max(_LEAST_ROWS, size // max(64, self._row_bytes))
        with self._opened() as opened:
            for batch in opened.iter_batches(rows, columns=self._columns):
                yield self._piece(batch, at)
                at += batch.num_rows

    def samples(self) -> Iterator[Piece]:
        """The beginning of every row group, and the last one whole."""
        if not self._groups:
            return
        with self._opened() as opened:
            for group in range(len(self._groups) - 1):
                yield self._piece(next(opened.iter_batches(_SAMPLE_ROWS, [group], self._columns)), 1)
            for batch in opened.iter_batches(row_groups=[len(self._groups) - 1], columns=self._columns):
                yield self._piece(batch, 1)

    def _piece(self, batch: pa.RecordBatch, first: int) -> Piece:
        lines = np.arange(first, first + batch.num_rows)
        return Piece(Parts([self._prepared(pa.Table.from_batches([batch]), lines)]), lines)
