"""Trades of many files as one stream in the order of their times, in little memory.

1. A look at every file: samples of all its parts say from when to when it goes, and whether it is in order.
2. A file that is in order is read as it is, not before the stream has come to its beginning; its next part is held
   until the one behind it is known, so that small disorder is put right.
3. Of a file that is not, or where too many overlap, sorted runs are made first, on disk where they are large.
4. Files and runs are merged by time. What a sample has not shown, and comes too late for its place, is sent late, and
   counted.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from k2ctl.feeds.files.alike import numbered
from k2ctl.feeds.files.found import FeedFile
from k2ctl.feeds.files.merging import Runs, TradeStream, in_order, merged
from k2ctl.feeds.files.pieces import BLOCK_BYTES
from k2ctl.feeds.files.reading import FeedFiles

OPEN_BYTES: Final = 24 << 20
"""Read at once of all files that are open together; as trades it is some ten times as much."""

LEAST_BLOCK_BYTES: Final = 64 << 10
MOST_OPEN: Final = 128
"""Files that are read at once; where more overlap, runs are made of them."""

MARGIN_NS: Final = 60_000_000_000
"""By so much a sample may be wrong in what it says of a file's ends."""

_NEVER: Final = np.iinfo(np.int64).min
_END: Final = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Survey:
    """What samples of a file say. Nanoseconds."""

    file: FeedFile
    # Of a file whose samples have no trade: before everything.
    first_ns: int
    last_ns: int
    in_order: bool


class TimeOrder:
    """The trades of files as one stream."""

    def __init__(self, files: FeedFiles, folder: Path) -> None:
        """folder: for runs, while this is used."""
        self._files, self._folder = files, folder
        self._looks_alike = files.declared.feed.identity == "look-alikes"
        self._surveys: list[Survey] = []
        self.late = 0
        """Trades that came too late for their place."""

    def survey(self, until: Callable[[], bool] = lambda: False) -> bool:
        """Look at all files, the first step. until: true ends it, and then it gives false.

        Raises:
            UsageError: a file does not fit the feed.
        """
        for file in self._files.files:
            found = self._survey(file, until)
            if found is None:
                return False
            self._surveys.append(found)
        self._surveys = [one for one in self._surveys if self._may_have(one)]
        return True

    def _may_have(self, one: Survey) -> bool:
        """False if a file is in order, and over before what is wanted or begins after it."""
        wanted = self._files.wanted
        if not one.in_order or one.first_ns == _NEVER:
            return True
        early = wanted.since_ns is not None and one.last_ns < wanted.since_ns - MARGIN_NS
        return not early and not (wanted.until_ns is not None and one.first_ns >= wanted.until_ns + MARGIN_NS)

    @property
    def first_ns(self) -> int | None:
        """The time of the first trade, as samples have it; None where they have none."""
        return min((one.first_ns for one in self._surveys if one.first_ns != _NEVER), default=None)

    @property
    def last_ns(self) -> int | None:
        """The time of the last trade, as samples have it."""
        return max((one.last_ns for one in self._surveys if one.first_ns != _NEVER), default=None)

    def _survey(self, file: FeedFile, until: Callable[[], bool]) -> Survey | None:
        """Where nothing identifies a trade, all of it is looked at: look-alikes are counted along the order."""
        parts = self._files.sampled(file, whole=self._looks_alike)
        first, last, in_order = _END, _NEVER, True
        if until():
            return None
        for trades in parts:
            if until():
                return None
            times = trades["event_ns"]
            low, high = int(times.min()), int(times.max())
            in_order &= low >= last
            first, last = min(first, low), max(last, high)
        return Survey(file, first if first != _END else _NEVER, last, in_order)

    def trades(self) -> Iterator[np.ndarray]:
        """All trades in order of time (dtype `TRADE.message`)."""
        overlapping = _most_overlapping(self._surveys)
        size = max(LEAST_BLOCK_BYTES, min(BLOCK_BYTES, OPEN_BYTES // max(1, overlapping)))
        runs = Runs(self._folder)
        streams = []
        for one in self._surveys:
            parts = self._files.read(one.file, size, is_in_order=one.in_order)
            if one.in_order and overlapping <= MOST_OPEN:
                streams.append(TradeStream(one.first_ns, self._numbered(in_order(parts))))
            else:
                own = runs.of(parts)
                streams.append(
                    TradeStream(min((run.first_ns for run in own), default=_NEVER), self._numbered(merged(own)))
                )
        last = _NEVER
        for trades in merged(streams):
            times = trades["event_ns"]
            self.late += int(np.count_nonzero(times < last))
            last = max(last, int(times[-1]))
            yield trades

    def _numbered(self, chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        return numbered(chunks) if self._looks_alike else chunks


def _most_overlapping(surveys: Sequence[Survey]) -> int:
    """How many files are open at once, at most."""
    starts = np.sort([one.first_ns for one in surveys])
    ends = np.sort([one.last_ns for one in surveys])
    return int((np.arange(1, len(starts) + 1) - np.searchsorted(ends, starts, side="left")).max(initial=0))


def in_folder() -> "tempfile.TemporaryDirectory[str]":
    """A folder for runs, which goes with its block."""
    return tempfile.TemporaryDirectory(prefix="k2ctl-runs-")
