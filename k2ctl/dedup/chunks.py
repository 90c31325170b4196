"""A day of ids in Bloom chunks: cut by count, each with the span of event times that it covers.

Cut by count, so that a burst cannot overfill one (an hour-slice at five times its plan takes 73 % of all good ids for
known); a look-up tests the chunks whose span covers the trade's time, which are one or two. Trades far from most others
in time go to a chunk of their own, so that one late trade does not stretch the span of the chunk that all others are
tested against.

Nothing here is a verdict. An id that `probe` marks may have been seen; one that it does not mark was not.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from k2ctl.dedup.bloom import IdFilter
from k2ctl.dedup.chunk_plan import LEAST_CHUNKS, ChunkPlan

STRAY_US: Final = 30_000_000
"""A trade farther than this from the middle of the batches goes to the chunk for strays."""

MIDDLES: Final = 5
"""Batches whose median is the middle: a few that are backfilled late do not move it."""

ALWAYS: Final = -(1 << 62)


@dataclass
class Chunk:
    """Ids of trades with event times in [first_us, last_us]."""

    filter: IdFilter
    first_us: int = 1 << 62
    last_us: int = ALWAYS
    # When the last id was added.
    stamp_us: int = 0
    # Its file; empty while the chunk differs from its file or has none.
    name: str = ""

    def add(self, words: np.ndarray, times: np.ndarray, now_us: int) -> None:
        self.filter.add(words)
        self.first_us = min(self.first_us, int(times.min()))
        self.last_us = max(self.last_us, int(times.max()))
        self.stamp_us, self.name = now_us, ""

    @property
    def room(self) -> int:
        """How many more ids it takes."""
        return self.filter.capacity - self.filter.count


@dataclass(frozen=True)
class Probe:
    """What a series says of n ids."""

    # bool[n]: of trades from before what is remembered; such ids are not tested.
    forgotten: np.ndarray
    # bool[n]: ids that a chunk may hold.
    hits: np.ndarray
    # Ids that were tested, and tests of one id against one chunk.
    ids_tested: int = 0
    chunk_tests: int = 0

    @property
    def suspects(self) -> np.ndarray:
        """bool[n]: ids that may have been seen."""
        return np.asarray(self.forgotten | self.hits)


@dataclass
class ChunkSeries:
    """Chunks, oldest first."""

    plan: ChunkPlan
    # Ids of trades before this time may be forgotten; ALWAYS: none is.
    floor_us: int = ALWAYS
    closed: list[Chunk] = field(default_factory=list)
    live: Chunk | None = None
    stray: Chunk | None = None
    # Chunks that were dropped before the window was over.
    forgotten_early: int = 0

    def __post_init__(self) -> None:
        self._middles: deque[int] = deque(maxlen=MIDDLES)
        self._index()

    @property
    def size_bytes(self) -> int:
        """What the filters take."""
        return self._closed_bytes + sum(chunk.filter.size_bytes for chunk in self._open())

    @property
    def ids(self) -> int:
        return self._closed_ids + sum(chunk.filter.count for chunk in self._open())

    def __len__(self) -> int:
        return len(self.closed) + len(self._open())

    def probe(self, words: np.ndarray, times: np.ndarray) -> Probe:
        """Test ids (uint64[n, 2], of trades at int64[n]), each in the chunks that cover its time, until one hits."""
        forgotten, hits = times < self.floor_us, np.zeros(len(times), np.bool_)
        if not len(times):
            return Probe(forgotten, hits)
        left, tested, chunk_tests = ~forgotten, np.zeros(len(times), np.bool_), 0
        earliest, latest = int(times.min()), int(times.max())
        overlapping = np.flatnonzero((self._first <= latest) & (self._last >= earliest)).tolist()
        for chunk in (*(self.closed[at] for at in overlapping), *self._open()):
            if chunk.first_us <= latest and chunk.last_us >= earliest:
                covered = left & (times >= chunk.first_us) & (times <= chunk.last_us)
                at = np.flatnonzero(covered)
                if len(at):
                    hit = at[np.flatnonzero(chunk.filter.test(words[at]))]
                    hits[hit], left[hit] = True, False
                    tested |= covered
                    chunk_tests += len(at)
        return Probe(forgotten, hits, int(np.count_nonzero(tested)), chunk_tests)

    def add(self, words: np.ndarray, times: np.ndarray, now_us: int) -> None:
        """Add ids, each of them once, at processing time `now_us`; opens, closes and forgets chunks as planned."""
        if not len(times):
            return
        stray = np.abs(times - self._middle(times)) > STRAY_US
        if stray.any():
            self.stray = self._fill(self.stray, words[stray], times[stray], now_us)
            words, times = words[~stray], times[~stray]
        self.live = self._fill(self.live, words, times, now_us)
        self.expire(now_us)

    def _middle(self, times: np.ndarray) -> int:
        """The middle in event time: the median of the medians of the last batches."""
        self._middles.append(int(np.partition(times, len(times) // 2)[len(times) // 2]))
        return sorted(self._middles)[len(self._middles) // 2]

    def _fill(self, chunk: Chunk | None, words: np.ndarray, times: np.ndarray, now_us: int) -> Chunk | None:
        """Add to an open chunk, and to further ones as each is full; returns the one that is open at the end."""
        at = 0
        while at < len(times):
            if chunk is None:
                chunk = Chunk(IdFilter(self.plan.ids, self.plan.error_rate))
            end = min(len(times), at + chunk.room)
            if end > at:
                chunk.add(words[at:end], times[at:end], now_us)
            at = end
            if not chunk.room:
                self.closed.append(chunk)
                self._index()
                chunk = None
        return chunk

    def absorb(self, other: "ChunkSeries") -> None:
        """Take over another's chunks: they are closed here, unless this series has none of the kind."""
        known = {chunk.name for chunk in (*self.closed, *self._open()) if chunk.name}
        self.closed += [chunk for chunk in other.closed if chunk.name not in known]
        for chunk in (other.live, other.stray):
            if chunk is None or chunk.name in known:
                continue
            if chunk is other.live and self.live is None:
                self.live = chunk
            elif chunk is other.stray and self.stray is None:
                self.stray = chunk
            else:
                self.closed.append(chunk)
        self.closed.sort(key=lambda chunk: chunk.stamp_us)
        self.floor_us = max(self.floor_us, other.floor_us)
        self.forgotten_early += other.forgotten_early
        self._index()

    def expire(self, now_us: int) -> None:
        """Forget the closed chunks that are older than the window, and the oldest of what is over the limit.

        A chunk that is dropped moves the floor: trades of its time are suspects from then on, so that forgetting costs
        look-ups in the lake and never lets a copy through.
        """
        spare = len(self.closed) + 2 - max(LEAST_CHUNKS, self.plan.limit)
        keep = []
        for number, chunk in enumerate(self.closed):
            is_old = chunk.stamp_us < now_us - self.plan.window_us
            if number < spare or is_old:
                self.floor_us = max(self.floor_us, chunk.last_us + 1)
                self.forgotten_early += not is_old
            else:
                keep.append(chunk)
        if len(keep) != len(self.closed):
            self.closed = keep
            self._index()

    def _open(self) -> list[Chunk]:
        return [chunk for chunk in (self.stray, self.live) if chunk is not None]

    def _index(self) -> None:
        self._closed_bytes = sum(chunk.filter.size_bytes for chunk in self.closed)
        self._closed_ids = sum(chunk.filter.count for chunk in self.closed)
        self._first = np.array([chunk.first_us for chunk in self.closed], np.int64)
        self._last = np.array([chunk.last_us for chunk in self.closed], np.int64)
