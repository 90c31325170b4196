"""What every format hands over: some rows of a file, ready for the feed's SELECT."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import pyarrow as pa

from k2ctl.feeds.mapping.mapping import Parts, Prepared

BLOCK_BYTES: Final = 4 << 20
"""Of a file, read at once where few files are open."""


@dataclass(frozen=True)
class BrokenLine:
    """A line, or row, that is not a trade: where it is and why."""

    file: str
    line: int
    reason: str


@dataclass(frozen=True)
class Piece:
    """Some rows of a file."""

    parts: Parts
    # int64[n]: the number in its file, from 1, of each record of `parts`.
    lines: np.ndarray
    # Lines that are no records, with the reason.
    broken: Sequence[tuple[int, str]] = ()
    # Why a record that the query finds bad is none, by its position.
    why_bad: Callable[[int], str] = lambda _: "not a record"


Constants = Mapping[str, str | None]
"""Columns that are the same in every row of a file: what its name says, and the like."""


class FileFormat(Protocol):
    """One file of a format."""

    def empty(self) -> Prepared:
        """The columns, without a row."""
        ...

    def pieces(self, size: int) -> Iterator[Piece]:
        """All rows in order, those of about `size` bytes at once.

        Raises:
            OSError: the file cannot be read to its end; what is before that came.
        """
        ...

    def samples(self) -> Iterator[Piece]:
        """Rows of all parts of the file, in order, the first and the last among them; their lines do not count."""
        ...


def row_table(columns: Mapping[str, pa.Array], constants: Constants, lines: np.ndarray) -> pa.Table:
    """A table of one row for each record, with the columns that every source has."""
    count = len(lines)
    return pa.table(
        {
            "_record": np.arange(count),
            "_index": np.zeros(count, np.int32),
            "_bad": pa.array(np.zeros(count, np.bool_)),
            "_alike": np.zeros(count, np.int64),
            "line": lines,
            **{name: constant(value, count) for name, value in constants.items() if name not in columns},
            **columns,
        }
    )


def constant(value: str | None, count: int) -> pa.Array:
    """One text in every row."""
    return pa.repeat(pa.scalar(value, pa.string()), count)
