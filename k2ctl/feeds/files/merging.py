"""Streams of trades in order of time: of files that nearly are, of sorted runs, and of several as one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from k2ctl.domain.trade import TRADE
from k2ctl.errors import K2Error

RUN_TRADES: Final = 500_000
"""Sorted at once: 100 MB, and the same again while they are."""

RUN_BLOCK_TRADES: Final = 400_000
"""Of all runs together, in memory."""

_END: Final = np.iinfo(np.int64).max


@dataclass
class TradeStream:
    """Trades in order of time, some thousand at once; nothing is opened before the first is asked for."""

    # No trade is earlier.
    first_ns: int
    chunks: Iterator[np.ndarray]


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
