"""Rows of files to trades, several pieces at once: DuckDB and Arrow use as many processors as there are threads."""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final

import numpy as np

from k2ctl.domain.trade import NO_SEQUENCE
from k2ctl.domain.validity import invalid
from k2ctl.feeds.files.pieces import Piece
from k2ctl.feeds.mapping.bound import Select
from k2ctl.feeds.mapping.mapping import Mapping, Prepared, in_order
from k2ctl.profiles.feed import DeclaredFeed

THREADS: Final = max(1, min(4, os.cpu_count() or 1))


@dataclass(frozen=True)
class MappedPiece:
    """What the rows of a piece are."""

    piece: Piece
    # Dtype `TRADE.message`.
    trades: np.ndarray
    # Lines that are no trades, with the reason.
    broken: list[tuple[int, str]]
    # Rows that the feed's `where` leaves out.
    filtered: int


class PieceMapper:
    """A feed at work on pieces of files. A row's time may be at most a little after `now_us`."""

    def __init__(self, declared: DeclaredFeed, now_us: int) -> None:
        self._declared, self._now_us = declared, now_us
        self._has_receive_times = declared.feed.trade.ingestion_timestamp is not None
        numbers = declared.feed.numbers
        self._are_dense = numbers is None or (numbers.numbers == "dense-per-symbol" and not numbers.has_sessions)
        self._first = Mapping(declared)
        self._idle: SimpleQueue[Mapping] = SimpleQueue()
        self._idle.put(self._first)
        for _ in range(THREADS - 1):
            self._idle.put(Mapping(declared))
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="mapping")

    def bind(self, prepared: Prepared) -> Select:
        """See `Mapping.bind`."""
        return self._first.bind(prepared)

    def mapped(self, piece: Piece) -> MappedPiece:
        """The trades of a piece, and what is none."""
        mapping = self._idle.get()
        try:
            mapped = in_order([mapping.trades(prepared) for prepared in piece.parts.prepared])
        finally:
            self._idle.put(mapping)
        trades, record = mapped.trades, mapped.record
        if not self._has_receive_times:
            trades["received_ns"] = self._now_us * 1000
        if not self._are_dense:
            trades["source_sequence"] = NO_SEQUENCE
        bad = invalid(trades, self._now_us, self._declared.feed.source.earliest_us)
        broken = [
            *piece.broken,
            *((int(piece.lines[at]), reason) for at, reason in piece.parts.broken),
            *((int(piece.lines[at]), piece.why_bad(int(at))) for at in mapped.bad),
            *((int(piece.lines[one.record]), one.reason) for one in (*piece.parts.refused, *mapped.refused)),
            *((int(piece.lines[record[at]]), reason) for at, reason in bad.items()),
        ]
        filtered = len(mapped.filtered) + len(piece.parts.filtered)
        return MappedPiece(piece, np.delete(trades, list(bad)) if bad else trades, broken, filtered)

    def ahead(self, pieces: Iterator[Piece]) -> Iterator[MappedPiece]:
        """Pieces in order, the next ones on their way.

        Raises:
            OSError: reading them does; what is before came.
        """
        pending: deque[Future[MappedPiece]] = deque()
        trouble: OSError | None = None
        while True:
            try:
                piece = next(pieces, None) if trouble is None else None
            except OSError as error:
                trouble, piece = error, None
            if piece is not None:
                pending.append(self._pool.submit(self.mapped, piece))
            if not pending:
                break
            if piece is None or len(pending) > THREADS:
                yield pending.popleft().result()
        if trouble is not None:
            raise trouble
