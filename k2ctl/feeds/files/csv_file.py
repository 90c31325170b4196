"""CSV with any delimiter, with a header or without. Values are texts: the feed's expressions say what they mean.

A line is a row: a value in quotes may hold the delimiter, and no end of a line.
"""

import csv as python_csv
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv

from k2ctl.errors import UsageError
from k2ctl.feeds.files.found import FeedFile
from k2ctl.feeds.files.lines import blocks, first_lines, samples
from k2ctl.feeds.files.pieces import Constants, Piece, row_table
from k2ctl.feeds.mapping.mapping import Parts, Prepared
from k2ctl.profiles.feed import Source

_LOOKED_AT: Final = 100
"""Lines that say how many columns there are."""


class CsvFile:
    """One file of CSV."""

    def __init__(self, file: FeedFile, source: Source, constants: Constants) -> None:
        """Raises:
        UsageError: it has other columns than the feed.
        OSError: it cannot be read.
        """
        self._file, self._source, self._constants = file, source, constants
        self._begun = [self._cells(line) for line in first_lines(file, _LOOKED_AT)]
        self._has_header = self._looks_like_header() if source.header == "auto" else bool(source.header)
        self.names = self._names()

    def _cells(self, line: bytes) -> list[str]:
        text = line.decode(errors="replace")
        quote = self._source.quote
        quoting: Any = python_csv.QUOTE_MINIMAL if quote else python_csv.QUOTE_NONE
        rows = python_csv.reader([text], delimiter=self._source.delimiter, quotechar=quote or None, quoting=quoting)
        try:
            return next(rows, [])
        except python_csv.Error:
            return []  # it is no line of CSV, which is found when it is read

    def _known(self) -> dict[str, str]:
        """What a header may say, in lower case, and the column that it means."""
        named = {str(name).lower(): str(name) for name in self._source.columns}
        return named | {other.lower(): name for other, name in self._source.aliases.items()}

    def _looks_like_header(self) -> bool:
        known = self._known()
        return any(cell.strip().lower() in known for cells in self._begun[:1] for cell in cells)

    def _names(self) -> list[str]:
        """The columns of the file, in its order; those that the feed does not know by their own names."""
        if self._has_header and self._begun:
            known, cells = self._known(), [cell.strip() for cell in self._begun[0]]
            names = [known.get(cell.lower(), cell or f"column{at}") for at, cell in enumerate(cells)]
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise UsageError(
                    f"{self._file.name}: two columns of its header are {twice[0]}.",
                    "Correct the feed's columns and aliases.",
                )
            return names
        declared = [str(name) for name in self._source.columns]
        widths = Counter(len(cells) for cells in self._begun if len(cells) > 1)
        usual = widths.most_common(1)[0][0] if widths else len(declared)
        # Older files of a venue may lack the last columns.
        return declared[:usual] if usual < len(declared) else declared

    def empty(self) -> Prepared:
        """The columns, without a row."""
        return self._prepared({name: pa.array([], pa.string()) for name in self.names}, np.zeros(0, np.int64))

    def _prepared(self, columns: dict[str, pa.Array], lines: np.ndarray) -> Prepared:
        # A file may lack the last columns, or some of those that a header names.
        absent = {str(name): None for name in self._source.columns if name not in columns}
        return Prepared(row_table(columns, {**absent, **self._constants}, lines))

    def pieces(self, size: int) -> Iterator[Piece]:
        """All rows in order."""
        for block in blocks(self._file, size, skip=int(self._has_header)):
            if block.broken:
                yield Piece(Parts([self.empty()]), np.zeros(0, np.int64), [(block.first, block.broken)])
            else:
                yield self._piece(block.first, block.content)

    def samples(self) -> Iterator[Piece]:
        """Rows of all parts of the file."""
        for content in samples(self._file, skip=int(self._has_header)):
            if content:
                yield self._piece(1, content)

    def _piece(self, first: int, content: bytes) -> Piece:
        table, lines, broken = self._rows(first, content)
        columns = {name: table[name].combine_chunks() for name in self.names} if len(table) else {}
        if not columns:
            columns = {name: pa.array([], pa.string()) for name in self.names}
        return Piece(Parts([self._prepared(columns, lines)]), lines, broken)

    def _rows(self, first: int, content: bytes) -> tuple[pa.Table, np.ndarray, list[tuple[int, str]]]:
        """The rows of some lines, their numbers, and what is no row. What does not parse as a whole is halved."""
        count = content.count(b"\n") + (not content.endswith(b"\n"))
        broken: list[tuple[int, str]] = []
        try:
            if not content.isascii():
                content.decode()
            table = self._parsed(content, broken)
            if len(table) + len(broken) == count:
                lines = np.setdiff1d(np.arange(count), [at for at, _ in broken]) if broken else np.arange(count)
                return table, lines + first, [(at + first, why) for at, why in broken]
            reason = "a quote that is not closed"
        except UnicodeDecodeError:
            reason = "not UTF-8"
        except pa.ArrowInvalid as error:
            reason = str(error).partition("\n")[0]
        if count == 1:
            return self._nothing(), np.zeros(0, np.int64), [(first, reason)]
        half, at = count // 2, 0
        for _ in range(half):
            at = content.index(b"\n", at) + 1
        parts = [self._rows(first, content[:at]), self._rows(first + half, content[at:])]
        tables, numbers, failures = zip(*parts, strict=True)
        return pa.concat_tables(tables), np.concatenate(numbers), [one for several in failures for one in several]

    def _nothing(self) -> pa.Table:
        return pa.table({name: pa.array([], pa.string()) for name in self.names})

    def _parsed(self, content: bytes, broken: list[tuple[int, str]]) -> pa.Table:
        def on_invalid_row(row: Any) -> str:
            broken.append((row.number - 1, f"{row.actual_columns} columns, not {len(self.names)}"))
            return "skip"

        # One thread, so that the number of a broken line is known.
        return csv.read_csv(
            pa.BufferReader(content),
            csv.ReadOptions(column_names=self.names, use_threads=False, block_size=len(content) + 1),
            csv.ParseOptions(
                delimiter=self._source.delimiter,
                quote_char=self._source.quote or False,
                invalid_row_handler=on_invalid_row,
                ignore_empty_lines=False,
            ),
            self._conversion,
        )

    @cached_property
    def _conversion(self) -> csv.ConvertOptions:
        return csv.ConvertOptions(
            column_types={name: pa.string() for name in self.names}, strings_can_be_null=False, check_utf8=False
        )
