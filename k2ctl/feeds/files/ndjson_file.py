"""Lines of JSON: each is what a record of a topic would be."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from k2ctl.feeds.files.found import FeedFile
from k2ctl.feeds.files.lines import blocks, samples
from k2ctl.feeds.files.pieces import Constants, Piece, constant
from k2ctl.feeds.formats.json_records import JsonRecords
from k2ctl.feeds.mapping.mapping import Parts, Prepared
from k2ctl.profiles.feed import Source


class NdjsonFile:
    """One file of lines of JSON."""

    def __init__(self, file: FeedFile, source: Source, constants: Constants) -> None:
        self._file, self._constants = file, constants
        self._records = JsonRecords(source)

    def empty(self) -> Prepared:
        """The columns, without a row."""
        return self._parts([], np.zeros(0, np.int64)).prepared[0]

    def _parts(self, values: list[bytes], lines: np.ndarray) -> Parts:
        columns = {name: constant(value, len(values)) for name, value in self._constants.items()}
        numbers = {"line": pa.array(lines), "_alike": pa.array(np.zeros(len(values), np.int64))}
        return self._records.prepare(values, {**columns, **numbers})

    def pieces(self, size: int) -> Iterator[Piece]:
        """All rows in order."""
        for block in blocks(self._file, size):
            if block.broken:
                yield Piece(Parts([self.empty()]), np.zeros(0, np.int64), [(block.first, block.broken)])
            else:
                yield self._piece(block.first, block.content)

    def samples(self) -> Iterator[Piece]:
        """Rows of all parts of the file."""
        for content in samples(self._file, skip=0):
            yield self._piece(1, content)

    def _piece(self, first: int, content: bytes) -> Piece:
        """Empty lines are none."""
        every = content.split(b"\n")
        numbers = [at for at, line in enumerate(every) if line.strip()]
        values, lines = [every[at] for at in numbers], np.array(numbers, np.int64) + first
        why_bad = self._records.why_bad
        return Piece(self._parts(values, lines), lines, why_bad=lambda at: why_bad(values[at]))
