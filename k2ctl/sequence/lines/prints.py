"""Prints of all lines on the disk, in files by exchange time, so that a little of it is in memory at a time.

Copies have the same exchange time, so that a slice of time has all copies of its prints, whenever they arrived.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from k2ctl.domain.copies import print_digests
from k2ctl.domain.rows import Rows
from k2ctl.domain.trade import TRADE

MOST_ROWS: Final = 1_000_000
"""Of a slice, some 110 bytes each; only what has one and the same time may be more."""

_WIDEST_NS: Final = 86_400_000_000_000
_PARTS: Final = 16

_OF_TRADES: Final = ("message_id", "event_ns", "received_ns", "source_sequence", "symbol", "exchange")
ARRIVAL: Final = np.dtype(
    [("digest", "u8"), ("partition", "i4"), ("line", "u2"), *((name, TRADE.message[name]) for name in _OF_TRADES)]
)
"""A print as it arrived on a line. digest: `print_digests`."""


def arrivals(rows: Rows, line: int) -> np.ndarray:
    """The trades of some rows (dtype ARRIVAL)."""
    made = np.empty(len(rows), ARRIVAL)
    made["digest"], made["partition"], made["line"] = print_digests(rows.trades), rows.partition, line
    for name in _OF_TRADES:
        made[name] = rows.trades[name]
    return made


class PrintsByTime:
    """Arrivals in a folder, which is empty at first. most_rows: of a slice."""

    def __init__(self, folder: Path, most_rows: int = MOST_ROWS) -> None:
        self._folder = folder
        self._most_rows = most_rows

    def add(self, rows: np.ndarray) -> None:
        """Some arrivals, in whatever order."""
        _append(self._folder, rows, _WIDEST_NS)

    def slices(self) -> Iterator[np.ndarray]:
        """All arrivals, each once and then no more: slices of time one after the other, each in the order of time."""
        yield from self._read(self._folder, _WIDEST_NS)

    def _read(self, folder: Path, width_ns: int) -> Iterator[np.ndarray]:
        for path in sorted(folder.iterdir(), key=lambda file: int(file.name)):
            size = path.stat().st_size // ARRIVAL.itemsize
            if size <= self._most_rows or width_ns == 1:
                rows = np.fromfile(path, ARRIVAL)
                path.unlink()
                yield rows.take(np.lexsort((rows["source_sequence"], rows["event_ns"])))
            else:
                narrower_ns = -(-width_ns // _PARTS)
                yield from self._read(self._cut(path, narrower_ns), narrower_ns)

    def _cut(self, path: Path, width_ns: int) -> Path:
        """A file as a folder of files of less time."""
        whole = path.rename(path.with_name(f"{path.name}.whole"))
        path.mkdir()
        with whole.open("rb") as file:
            while len(rows := np.fromfile(file, ARRIVAL, self._most_rows)):
                _append(path, rows, width_ns)
        whole.unlink()
        return path


def _append(folder: Path, rows: np.ndarray, width_ns: int) -> None:
    number = rows["event_ns"] // width_ns
    order = np.argsort(number, kind="stable")
    names, starts = np.unique(number[order], return_index=True)
    for name, start, end in zip(names.tolist(), starts.tolist(), [*starts[1:].tolist(), len(order)], strict=False):
        with (folder / f"{name}").open("ab") as file:
            rows.take(order[start:end]).tofile(file)
