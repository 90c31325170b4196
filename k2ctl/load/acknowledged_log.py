"""What a load has sent and Kafka has acknowledged, written down so that `k2ctl verify` can hold the table to it.

A file per run and worker. It says, per session (the first half of a message id: one symbol of one run, or one trade of
a replay, whose ids are digests), which numbers were sent, as intervals with the checksum of their trades, and how many
copies and trades out of order were sent on purpose. Deliveries that failed are listed one by one: Kafka may hold them
or not.

A running load replaces its file every second, later every sixtieth of its time, so that one that is killed leaves what
it had sent until then, marked as unfinished, and a lower bound of what was acknowledged. 40 bytes a thousand trades; 96
bytes a trade of a replay.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from k2ctl.domain.checked_file import body_of, frame_header
from k2ctl.domain.copies import LABEL, checksums, sessions_and_numbers, times_sent
from k2ctl.domain.trade import TRADE
from k2ctl.errors import CheckFailed, K2Error
from k2ctl.home import ACKNOWLEDGED, Home
from k2ctl.timing import Every

BLOCK: Final = 1024
"""Intervals end at multiples of this, so that an altered trade is found within so many."""

SAVE_EVERY_S: Final = 1.0
SAVE_SHARE: Final = 1 / 60
SETTLE_AFTER: Final = 64
"""Batches whose stretches are joined at once: some milliseconds, and some hundred KB until then."""

DIGESTS_FROM: Final = np.uint64(1 << 63)
"""The second half of an id that is a digest: no trade continues it. No number of a session is as high."""

MOST_DIGESTS: Final = 2_000_000
"""Trades whose ids are digests that one worker writes down: some 200 MB."""

SUFFIX: Final = ".log"
MAGIC: Final = b"K2ACKLG4"

INTERVAL: Final = np.dtype([("session", "u8"), ("low", "u8"), ("high", "u8"), ("sum", "u8"), ("times", "u8")])
"""Numbers low to high of a session, all of them, and the sums of their trades' `checksums` and `times_sent`."""

SENT: Final = np.dtype([("session", "u8"), ("symbol", TRADE.message["symbol"]), ("copies", "u8"), ("backwards", "u8")])
"""A session: its symbol, copies sent on purpose, and how often a number was sent after a higher one."""

FAILED: Final = np.dtype([("session", "u8"), ("number", "u8"), ("sum", "u8"), ("times", "u8")])


@dataclass(frozen=True)
class Run:
    """What one worker of a load says of itself. Counts are trades."""

    run_id: str
    worker: int
    topic: str
    epoch: str
    wire_format: str
    started_at_us: int
    sent: int
    # Exactly, once finished; before that at least so many.
    acknowledged: int
    finished: bool
    # Trades of a replay that are counted, and nothing else is written down of them.
    unrecorded: int = 0


@dataclass(frozen=True)
class AcknowledgedLog:
    """One file."""

    run: Run
    # dtype SENT
    sessions: np.ndarray
    # dtype INTERVAL
    intervals: np.ndarray
    # dtype FAILED: deliveries of which Kafka did not say that it has them
    failed: np.ndarray

    @property
    def holes(self) -> int:
        """Trades that were numbered and not sent, each between two of its session that were."""
        ordered = joined(self.intervals)
        same = ordered["session"][1:] == ordered["session"][:-1]
        return int((ordered["low"][1:] - ordered["high"][:-1] - np.uint64(1))[same].sum())


class AcknowledgedLogWriter:
    """Adds up what one worker sends."""

    def __init__(self, run: Run, sessions: Mapping[int, bytes], home: Home, alike: int | None = None) -> None:
        """sessions: all that it may send, with their symbols. alike: of all its trades, as of `checksums`."""
        self._run = run
        self._alike = alike
        self._sessions = np.zeros(len(sessions), SENT)
        self._sessions["session"] = np.fromiter(sessions, np.uint64, len(sessions))
        self._sessions["symbol"] = list(sessions.values())
        self._sessions.sort(order="session")
        self._parts: list[np.ndarray] = []
        self._open = np.zeros(0, INTERVAL)
        self._settled: list[np.ndarray] = []
        self._failed: list[np.ndarray] = []
        self._digests: list[np.ndarray] = []
        self._room = MOST_DIGESTS
        self._path = acknowledged_log_dir(home) / f"{run.started_at_us}-{run.run_id}-{run.worker}{SUFFIX}"
        self._started_s = time.monotonic()
        self._every = Every(SAVE_EVERY_S)

    def add(self, trades: np.ndarray) -> None:
        """Trades in the order in which they are sent; a copy follows its trade at once."""
        if not len(trades):
            return
        session, number = sessions_and_numbers(trades)
        breaks = breaks_of(session, number)
        copies = breaks[(session[breaks] == session[breaks - 1]) & (number[breaks] == number[breaks - 1])]
        if len(copies):
            of_numbers = copies[number[copies] < DIGESTS_FROM]  # digests are counted when they are saved
            np.add.at(self._sessions["copies"], self._positions(session[of_numbers]), 1)
            self.add(np.delete(trades, copies))
            return
        starts = np.append(0, breaks)
        part = np.empty(len(starts), INTERVAL)
        part["session"], part["low"] = session[starts], number[starts]
        part["high"] = number[np.append(breaks, len(number)) - 1]
        hashes = checksums(trades, self._alike)
        part["sum"] = np.add.reduceat(hashes, starts)
        part["times"] = np.add.reduceat(times_sent(trades, hashes), starts)
        self._parts.append(part)
        if len(self._parts) >= SETTLE_AFTER:
            self._settle()

    def add_foreign(self, trades: np.ndarray) -> None:
        """Trades of files, whose sessions are not known before they come.

        Each id that is a digest takes some hundred bytes; behind the first two million such trades are only counted.
        """
        session, number = sessions_and_numbers(trades)
        alone = number >= DIGESTS_FROM
        if alone.any():
            beyond = np.flatnonzero(alone)[self._room :]
            self._room -= int(alone.sum()) - len(beyond)
            if len(beyond):
                self._run = replace(self._run, unrecorded=self._run.unrecorded + len(beyond))
                trades, session, alone = (np.delete(part, beyond) for part in (trades, session, alone))
            self._digests.append(_sent(session[alone], trades["symbol"][alone]))
        if not alone.all():
            fresh, first = np.unique(session[~alone], return_index=True)
            unknown = ~np.isin(fresh, self._sessions["session"])
            if unknown.any():
                symbols = trades["symbol"][~alone][first[unknown]]
                self._sessions = _by_session(np.concatenate([self._sessions, _sent(fresh[unknown], symbols)]))
        self.add(trades)

    def _every_session(self) -> np.ndarray:
        """Those of numbers, and one of each digest: where it was sent several times, it has copies."""
        if not self._digests:
            return self._sessions
        digests = _by_session(np.concatenate(self._digests))
        starts = np.append(0, np.flatnonzero(digests["session"][1:] != digests["session"][:-1]) + 1)
        distinct = digests.take(starts)
        distinct["copies"] = np.diff(np.append(starts, len(digests))) - 1
        return _by_session(np.concatenate([self._sessions, distinct]))

    def _positions(self, session: np.ndarray) -> np.ndarray:
        return np.asarray(np.searchsorted(self._sessions["session"], session))

    def _settle(self) -> None:
        """Join the stretches since the last time; the last one of each session stays open, for it may go on."""
        # numpy copies words many times faster than records.
        words = np.concatenate([part.view(np.uint64) for part in (self._open, *self._parts)])
        every, self._parts = words.view(INTERVAL), []
        alone = every["low"] >= DIGESTS_FROM
        if alone.any():
            self._settled.append(every[alone])
            every = every[~alone]
        # Few enough positions are sorted by radix; and equal ones stay in the order in which they were sent.
        position = self._positions(every["session"]).astype(np.min_scalar_type(len(self._sessions)))
        order = np.argsort(position, kind="stable")
        sent, position = every.take(order), position[order]
        back = (position[1:] == position[:-1]) & (sent["low"][1:] < sent["high"][:-1])
        np.add.at(self._sessions["backwards"], position[1:][back], 1)
        result = _continued(sent)
        last = np.append(result["session"][1:] != result["session"][:-1], np.ones(min(1, len(result)), np.bool_))
        self._open = result[last]
        self._settled.append(result[~last])

    def fail(self, trades: np.ndarray) -> None:
        """Trades of which Kafka did not say that it has them."""
        session, number = sessions_and_numbers(trades)
        part = np.empty(len(trades), FAILED)
        part["session"], part["number"], part["sum"] = session, number, checksums(trades)
        part["times"] = times_sent(trades, part["sum"])
        self._failed.append(part)

    def save_if_due(self, sent: int, acknowledged: int) -> None:
        """Replace the file now and then; `acknowledged`: at least so many."""
        if self._every.due():
            self._every.restart(max(SAVE_EVERY_S, (time.monotonic() - self._started_s) * SAVE_SHARE))
            self._save(sent, acknowledged, finished=False)

    def finish(self, sent: int, acknowledged: int) -> None:
        """The last word: everything is acknowledged, or has failed."""
        self._save(sent, acknowledged, finished=True)

    def _save(self, sent: int, acknowledged: int, *, finished: bool) -> None:
        self._settle()
        self._settled = [np.concatenate(self._settled)]
        counts = {"sent": sent, "acknowledged": acknowledged, "finished": finished}
        log = AcknowledgedLog(
            Run(**{**asdict(self._run), **counts}),
            self._every_session(),
            np.concatenate([*self._settled, self._open]),
            np.concatenate([np.zeros(0, FAILED), *self._failed]),
        )
        try:
            write(self._path, log, durable=finished)
        except OSError as error:
            raise K2Error(
                f"What was sent cannot be written down: {self._path}: {error.strerror}",
                "Make room there, or choose another place (export K2CTL_HOME=DIR), and load again.",
            ) from error


def _sent(session: np.ndarray, symbol: np.ndarray) -> np.ndarray:
    """Sessions of which nothing is counted yet, dtype SENT."""
    made = np.zeros(len(session), SENT)
    made["session"], made["symbol"] = session, symbol
    return made


def _by_session(sessions: np.ndarray) -> np.ndarray:
    return np.asarray(sessions.take(np.argsort(sessions["session"], kind="stable")))


def breaks_of(session: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Where, in trades in the order of sending, one does not continue the one before it, or begins a block."""
    breaks = session[1:] != session[:-1]
    breaks |= number[1:] - number[:-1] != 1
    breaks |= number[1:] & np.uint64(BLOCK - 1) == 0
    return np.flatnonzero(breaks) + 1


def joined(intervals: np.ndarray) -> np.ndarray:
    """Intervals (dtype INTERVAL) by session and number, those that continue each other within a block as one."""
    return _continued(intervals.take(np.lexsort((intervals["low"], intervals["session"]))))


def _continued(intervals: np.ndarray) -> np.ndarray:
    """Neighbours that continue each other within a block as one; in the order that they are in."""
    if not len(intervals):
        return intervals
    broken = intervals["session"][1:] != intervals["session"][:-1]
    broken |= intervals["low"][1:] - intervals["high"][:-1] != 1
    broken |= intervals["low"][1:] & np.uint64(BLOCK - 1) == 0
    starts = np.append(0, np.flatnonzero(broken) + 1)
    result = intervals.take(starts)
    result["high"] = intervals["high"][np.append(starts[1:], len(intervals)) - 1]
    for sums in ("sum", "times"):
        result[sums] = np.add.reduceat(intervals[sums], starts)
    return result


def write(path: Path, log: AcknowledgedLog, *, durable: bool) -> None:
    """Replace a file in one step. durable: also against a loss of power.

    One checked frame: a line of JSON, and the bytes of the three arrays.
    """
    arrays = (log.sessions, log.intervals, log.failed)
    description = {"label": LABEL, "run": asdict(log.run), "lengths": [len(array) for array in arrays]}
    parts = [json.dumps(description).encode() + b"\n", *(array.tobytes() for array in arrays)]
    temporary = path.with_suffix(".new")
    try:
        with temporary.open("wb") as file:
            file.writelines([frame_header(MAGIC, *parts), *parts])
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)  # on a full disk its half would take room
        raise


def read(path: Path) -> AcknowledgedLog:
    """One file.

    Raises:
        CheckFailed: it is damaged, or was written by another version.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}") from error
    try:
        body = body_of(MAGIC, content)
    except ValueError as error:
        other = "" if content.startswith(MAGIC) else ", or was written by another version of k2ctl"
        raise _unreadable(path, f"is damaged{other}") from error
    first, _, _ = bytes(body).partition(b"\n")
    description, at = json.loads(first), len(first) + 1
    if description["label"] != LABEL:
        raise _unreadable(path, "was written by another version of k2ctl, whose checksums are others")
    arrays = []
    for kind, length in zip((SENT, INTERVAL, FAILED), description["lengths"], strict=True):
        arrays.append(np.frombuffer(body, kind, length, at))
        at += length * kind.itemsize
    return AcknowledgedLog(Run(**description["run"]), *arrays)


def _unreadable(path: Path, why: str) -> CheckFailed:
    return CheckFailed(f"What a load wrote down {why}: {path}", f"Its load cannot be verified then: rm '{path}'")


def acknowledged_log_dir(home: Home) -> Path:
    """Where loads write down what Kafka acknowledged; made when missing."""
    return home.folder(ACKNOWLEDGED)


def recorded(home: Home) -> Iterator[AcknowledgedLog]:
    """What all loads of this state directory wrote down, oldest first."""
    for path in sorted(acknowledged_log_dir(home).glob(f"*{SUFFIX}")):
        yield read(path)
