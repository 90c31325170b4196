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

from k2ctl.domain.trade import TRADE
from k2ctl.errors import K2Error
from k2ctl.feeds.files.found import FeedFile
from k2ctl.feeds.files.pieces import BLOCK_BYTES
from k2ctl.feeds.files.reading import FeedFiles

RUN_TRADES: Final = 500_000
"""Sorted at once: 100 MB, and the same again while they are."""

OPEN_BYTES: Final = 24 << 20
"""Read at once of all files that are open together; as trades it is some ten times as much."""

LEAST_BLOCK_BYTES: Final = 64 << 10
MOST_OPEN: Final = 128
"""Files that are read at once; where more overlap, runs are made of them."""

RUN_BLOCK_TRADES: Final = 400_000
"""Of all runs together, in memory."""

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


@dataclass
class TradeStream:
    """Trades in order of time, some thousand at once; nothing is opened before the first is asked for."""

    # No trade is earlier.
    first_ns: int
    chunks: Iterator[np.ndarray]


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
            if until():
                return False
            self._surveys.append(self._survey(file))
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

    def _survey(self, file: FeedFile) -> Survey:
        """Where nothing identifies a trade, all of it is looked at: look-alikes are counted along the order."""
        parts = self._files.sampled(file, whole=self._looks_alike)
        first, last, in_order = _END, _NEVER, True
        for trades in parts:
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


def sorted_by_time(trades: np.ndarray) -> np.ndarray:
    """The trades in order of time, as they came where they are of one time."""
    times = trades["event_ns"]
    return trades if (times[1:] >= times[:-1]).all() else trades.take(np.argsort(times, kind="stable"))


def in_order(parts: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Parts that are in order but for neighbours, in order."""
    held: np.ndarray | None = None
    for part in parts:
        part = sorted_by_time(part)
        if held is None:
            held = part
        elif part["event_ns"][0] >= held["event_ns"][-1]:
            yield held
            held = part
        else:
            both = sorted_by_time(np.concatenate([held, part]))
            yield both[: len(held)]
            held = both[len(held) :]
    if held is not None:
        yield held


def merged(streams: Sequence[TradeStream]) -> Iterator[np.ndarray]:
    """Several streams as one. Trades of one time come in the order of the streams."""
    waiting = sorted(streams, key=lambda stream: stream.first_ns, reverse=True)
    heads: list[tuple[np.ndarray, Iterator[np.ndarray]]] = []
    while waiting or heads:
        limit = min((int(head["event_ns"][-1]) for head, _ in heads), default=_END)
        if waiting and (not heads or waiting[-1].first_ns <= limit):
            opened = waiting.pop().chunks
            head = next(opened, None)
            heads += [(head, opened)] if head is not None else []
            continue
        if len(heads) == 1:
            yield heads[0][0]
            ready = [len(heads[0][0])]
        else:
            ready = [int(np.searchsorted(head["event_ns"], limit, side="right")) for head, _ in heads]
            yield sorted_by_time(np.concatenate([head[:at] for (head, _), at in zip(heads, ready, strict=True)]))
        heads = [left for (head, chunks), at in zip(heads, ready, strict=True) if (left := _rest(head, chunks, at))]


def _rest(head: np.ndarray, chunks: Iterator[np.ndarray], at: int) -> tuple[np.ndarray, Iterator[np.ndarray]] | None:
    if at < len(head):
        return head[at:], chunks
    following = next(chunks, None)
    return None if following is None else (following, chunks)


class Runs:
    """Sorted runs of files that are not in order, in memory while they are few."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._in_memory = self._on_disk = 0

    def of(self, parts: Iterator[np.ndarray]) -> list[TradeStream]:
        """The runs of one file."""
        found: list[TradeStream] = []
        gathered: list[np.ndarray] = []
        for part in parts:
            gathered.append(part)
            if sum(map(len, gathered)) + self._in_memory >= RUN_TRADES:
                found.append(self._written(sorted_by_time(np.concatenate(gathered))))
                gathered = []
        if gathered:
            run = sorted_by_time(np.concatenate(gathered))
            self._in_memory += len(run)
            found.append(TradeStream(int(run["event_ns"][0]), iter([run])))
        return found

    def _written(self, run: np.ndarray) -> TradeStream:
        self._on_disk += 1
        path = self._folder / f"run-{self._on_disk}"
        try:
            run.tofile(path)
        except OSError as error:
            raise K2Error(
                f"Files that are not in order of time are sorted on the disk, and {path} cannot be written: "
                f"{error.strerror}",
                "Make room there, or choose another place: export TMPDIR=DIR",
            ) from error
        return TradeStream(int(run["event_ns"][0]), self._read(path))

    def _read(self, path: Path) -> Iterator[np.ndarray]:
        size = max(64, RUN_BLOCK_TRADES // max(1, self._on_disk))
        at = 0
        while len(trades := np.fromfile(path, TRADE.message, size, offset=at * TRADE.message.itemsize)):
            yield trades
            at += len(trades)
        path.unlink()


def numbered(chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Trades in order of time, of which those with the same id get ids of their own: by how many are before them.

    Of one time are all that look alike, so no more is held than the ids of the latest time.
    """
    latest, ids = _NEVER, np.zeros(0, "V16")
    for trades in chunks:
        times, names = trades["event_ns"], trades["message_id"]
        before = len(ids) if len(trades) and times[0] == latest else 0
        every = np.concatenate([ids[len(ids) - before :], names]) if before else names
        alike = _before(every)[before:]
        if alike.any():
            trades = trades.copy()
            trades["message_id"] = _mixed(names, alike)
        if len(trades):
            same = times == times[-1]
            ids = np.concatenate([ids if before and same.all() else np.zeros(0, "V16"), names[same]])
            latest = int(times[-1])
        yield trades


def _before(ids: np.ndarray) -> np.ndarray:
    """int64[n]: how many equal ids stand before each."""
    words = np.ascontiguousarray(ids).view(np.uint64).reshape(-1, 2)
    order = np.lexsort((words[:, 1], words[:, 0]))
    ordered = words[order]
    fresh = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))[: len(ids)]
    starts = np.flatnonzero(fresh)
    counts = np.diff(np.append(starts, len(ids)))
    before = np.empty(len(ids), np.int64)
    before[order] = np.arange(len(ids)) - np.repeat(starts, counts)
    return before


_MIX: Final = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93))
_HALF: Final = np.uint64(32)
_VERSION: Final = np.uint64(0xF000)
_VARIANT: Final = np.uint64(0xC000_0000_0000_0000)


def _mixed(ids: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """V16[n]: of number 0 the id; else another one, a digest as well. Version and variant of the UUIDs stay."""
    words = np.ascontiguousarray(ids).view(">u8").reshape(-1, 2).astype(np.uint64)
    salt = numbers.astype(np.uint64)
    for at, kept in ((0, _VERSION), (1, _VARIANT)):
        mixed = _hashed(words[:, at] + salt * _MIX[at])
        words[:, at] = np.where(numbers > 0, mixed & ~kept | words[:, at] & kept, words[:, at])
    return np.asarray(words.byteswap().view("V16")[:, 0])


def shifted(ids: np.ndarray, shift_ns: int) -> np.ndarray:
    """V16[n]: the ids of the same trades at other times. A number of a session stays one, of another session."""
    words = np.ascontiguousarray(ids).view(">u8").reshape(-1, 2).astype(np.uint64)
    mixed = _hashed(words[:, 0] + np.uint64(shift_ns * int(_MIX[0]) % (1 << 64)))
    is_digest = words[:, 1] >> np.uint64(63) == 1
    words[:, 0] = np.where(is_digest, mixed & ~_VERSION | words[:, 0] & _VERSION, mixed)
    return np.asarray(words.byteswap().view("V16")[:, 0])


def _hashed(words: np.ndarray) -> np.ndarray:
    """uint64[n]: a bijection."""
    for factor in _MIX:
        words = (words ^ (words >> _HALF)) * factor
    return words


def in_folder() -> "tempfile.TemporaryDirectory[str]":
    """A folder for runs, which goes with its block."""
    return tempfile.TemporaryDirectory(prefix="k2ctl-runs-")
