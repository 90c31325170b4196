"""Finds prints that the table holds from several places of Kafka, in little memory: digests of all go to the disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from k2ctl.domain.copies import print_digests
from k2ctl.domain.rows import Rows

BUCKETS: Final = 64
_SHIFT: Final = np.uint64(64 - 6)

PRINT: Final = np.dtype([("digest", "u8"), ("offset", "i8"), ("partition", "i4"), ("index", "i4")])
"""A stored print and its place."""


class StoredPrints:
    """24 bytes a print in a folder, in files by digest, of which one at a time is read back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, rows: Rows) -> None:
        """Rows that are stored, each place once."""
        prints = np.empty(len(rows), PRINT)
        prints["digest"] = print_digests(rows.trades)
        for name in ("partition", "offset", "index"):
            prints[name] = getattr(rows, name)
        bucket = (prints["digest"] >> _SHIFT).astype(np.uint8)
        ordered = prints[np.argsort(bucket, kind="stable")]
        ends = np.cumsum(np.bincount(bucket, minlength=BUCKETS))
        for number, part in enumerate(np.split(ordered, ends[:-1])):
            if len(part):
                with self._file(number).open("ab") as file:
                    part.tofile(file)

    def again(self) -> Iterator[np.ndarray]:
        """Prints (dtype PRINT) that are stored from a lower place, too."""
        for number in range(BUCKETS):
            if self._file(number).exists():
                prints = np.sort(np.fromfile(self._file(number), PRINT), order=["digest", "partition", "offset"])
                yield prints[1:][prints["digest"][1:] == prints["digest"][:-1]]

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}"
