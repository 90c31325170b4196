"""What a load has sent and Kafka has acknowledged, written down so that `k2ctl verify` can hold the table to it.

A file per run and worker. It says, per session (the first half of a message id: one symbol of one run, or one replayed
file), which numbers were sent, as intervals with the checksum of their trades, and how many copies and trades out of
order were sent on purpose. Deliveries that failed are listed one by one: Kafka may hold them or not.

A running load replaces its file every second, later every sixtieth of its time, so that one that is killed leaves what
it had sent until then, marked as unfinished, and a lower bound of what was acknowledged.
"""

import io
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from k2ctl.errors import CheckFailed
from k2ctl.home import truth_dir
from k2ctl.schema.checksum import checksums, sessions_and_numbers

BLOCK: Final = 1024
"""Intervals end at multiples of this, so that an altered trade is found within so many."""

SAVE_EVERY_S: Final = 1.0
SAVE_SHARE: Final = 1 / 60
SUFFIX: Final = ".truth"

INTERVAL: Final = np.dtype([("session", "u8"), ("low", "u8"), ("high", "u8"), ("sum", "u8", 2)])
"""Numbers low to high of a session, all of them, and the sum of their trades' checksums."""

SENT: Final = np.dtype([("session", "u8"), ("symbol", "S16"), ("copies", "u8"), ("backwards", "u8")])
"""A session: its symbol, copies sent on purpose, and how often a number was sent after a higher one."""

FAILED: Final = np.dtype([("session", "u8"), ("number", "u8"), ("sum", "u8", 2)])


@dataclass(frozen=True)
class Run:
    """What one worker of a load says of itself. Counts are trades.

    acknowledged: exactly, once finished; before that, at least so many.
    """

    run_id: str
    worker: int
    topic: str
    epoch: str
    wire_format: str
    started_at_us: int
    sent: int
    acknowledged: int
    finished: bool


@dataclass(frozen=True)
class Truth:
    """One file: the run, its sessions (dtype SENT), intervals (INTERVAL) and failed deliveries (FAILED)."""

    run: Run
    sessions: np.ndarray
    intervals: np.ndarray
    failed: np.ndarray


class TruthRecorder:
    """Adds up what one worker sends. `sessions`: all that it may send, with their symbols."""

    def __init__(self, run: Run, sessions: Mapping[int, bytes]) -> None:
        self._run = run
        self._sessions = np.zeros(len(sessions), SENT)
        self._sessions["session"] = np.fromiter(sessions, np.uint64, len(sessions))
        self._sessions["symbol"] = list(sessions.values())
        self._sessions.sort(order="session")
        self._last = dict.fromkeys(sessions, 0)
        self._parts: list[np.ndarray] = []
        self._intervals = np.zeros(0, INTERVAL)
        self._failed: list[np.ndarray] = []
        self._path = truth_dir() / f"{run.started_at_us}-{run.run_id}-{run.worker}{SUFFIX}"
        self._started_s = time.monotonic()
        self._due_s = 0.0

    def add(self, trades: np.ndarray) -> None:
        """Trades in the order in which they are sent; a copy follows its trade at once."""
        if not len(trades):
            return
        session, number = sessions_and_numbers(trades)
        same = session[1:] == session[:-1]
        copy = np.append(False, same & (number[1:] == number[:-1]))
        if copy.any():
            self._count("copies", session[copy])
            trades, session, number = trades[~copy], session[~copy], number[~copy]
            same = session[1:] == session[:-1]
        self._count("backwards", session[1:][same & (number[1:] < number[:-1])])
        heads = np.append(0, np.flatnonzero(~same) + 1)
        self._compare_with_last(session, number, heads)
        broken = ~same | (number[1:] != number[:-1] + np.uint64(1)) | (number[1:] % np.uint64(BLOCK) == 0)
        starts = np.append(0, np.flatnonzero(broken) + 1)
        part = np.empty(len(starts), INTERVAL)
        part["session"], part["low"] = session[starts], number[starts]
        part["high"] = number[np.append(starts[1:], len(number)) - 1]
        part["sum"] = np.add.reduceat(checksums(trades), starts, axis=0)
        self._parts.append(part)

    def _compare_with_last(self, session: np.ndarray, number: np.ndarray, heads: np.ndarray) -> None:
        """Where a session goes on below the number at which the batch before, or its stretch before, had ended."""
        ends = np.append(heads[1:], len(number)) - 1
        columns = (session[heads].tolist(), number[heads].tolist(), number[ends].tolist())
        for name, first, last in zip(*columns, strict=True):
            if first < self._last.get(name, 0):
                self._count("backwards", np.array([name], np.uint64))
            self._last[name] = last

    def _count(self, column: str, session: np.ndarray) -> None:
        if len(session):
            np.add.at(self._sessions[column], np.searchsorted(self._sessions["session"], session), 1)

    def fail(self, trades: np.ndarray) -> None:
        """Trades of which Kafka did not say that it has them."""
        session, number = sessions_and_numbers(trades)
        part = np.empty(len(trades), FAILED)
        part["session"], part["number"], part["sum"] = session, number, checksums(trades)
        self._failed.append(part)

    def save_if_due(self, sent: int, acknowledged: int) -> None:
        """Replace the file now and then; `acknowledged`: at least so many."""
        now_s = time.monotonic()
        if now_s >= self._due_s:
            self._due_s = now_s + max(SAVE_EVERY_S, (now_s - self._started_s) * SAVE_SHARE)
            self._save(sent, acknowledged, finished=False)

    def finish(self, sent: int, acknowledged: int) -> None:
        """The last word: everything is acknowledged, or has failed."""
        self._save(sent, acknowledged, finished=True)

    def _save(self, sent: int, acknowledged: int, *, finished: bool) -> None:
        self._intervals = joined(np.concatenate([self._intervals, *self._parts]))
        self._parts = []
        counts = {"sent": sent, "acknowledged": acknowledged, "finished": finished}
        truth = Truth(
            Run(**{**asdict(self._run), **counts}),
            self._sessions,
            self._intervals,
            np.concatenate([np.zeros(0, FAILED), *self._failed]),
        )
        write(self._path, truth, durable=finished)


def joined(intervals: np.ndarray) -> np.ndarray:
    """Intervals (dtype INTERVAL) in order, those that continue each other within a block as one."""
    if not len(intervals):
        return intervals
    ordered = intervals[np.lexsort((intervals["low"], intervals["session"]))]
    goes_on = (
        (ordered["session"][1:] == ordered["session"][:-1])
        & (ordered["low"][1:] == ordered["high"][:-1] + np.uint64(1))
        & (ordered["low"][1:] % np.uint64(BLOCK) != 0)
    )
    starts = np.append(0, np.flatnonzero(~goes_on) + 1)
    result = ordered[starts]
    result["high"] = ordered["high"][np.append(starts[1:], len(ordered)) - 1]
    result["sum"] = np.add.reduceat(ordered["sum"], starts, axis=0)
    return np.asarray(result)


def write(path: Path, truth: Truth, *, durable: bool) -> None:
    """Replace a file in one step. durable: also against a loss of power."""
    buffer = io.BytesIO()
    run = np.frombuffer(json.dumps(asdict(truth.run)).encode(), np.uint8)
    np.savez(buffer, run=run, sessions=truth.sessions, intervals=truth.intervals, failed=truth.failed)
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(buffer.getbuffer())
        if durable:
            file.flush()
            os.fsync(file.fileno())
    temporary.replace(path)


def read(path: Path) -> Truth:
    """One file.

    Raises:
        CheckFailed: it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            run = Run(**json.loads(arrays["run"].tobytes()))
            return Truth(run, arrays["sessions"], arrays["intervals"], arrays["failed"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckFailed(
            f"What a load wrote down cannot be read: {path}: {error}",
            "Remove the file; its load is not verified then.",
        ) from error


def recorded() -> Iterator[Truth]:
    """What all loads of this state directory wrote down, oldest first."""
    for path in sorted(truth_dir().glob(f"*{SUFFIX}")):
        yield read(path)
