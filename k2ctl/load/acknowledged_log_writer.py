"""Writes down what one worker of a load sends, while it sends."""

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Final

import numpy as np

from k2ctl.domain.checksums import Checksums, checksums
from k2ctl.domain.copies import sessions_and_numbers
from k2ctl.errors import K2Error
from k2ctl.home import Home
from k2ctl.load.acknowledged_log import FAILED, SENT, SUFFIX, AcknowledgedLog, Run, acknowledged_log_dir, write
from k2ctl.load.sent_intervals import DIGESTS_FROM, INTERVAL, KnownTrades, SentRuns, breaks_of, continued, intervals_of
from k2ctl.timing import Every

SAVE_EVERY_S: Final = 1.0
SAVE_SHARE: Final = 1 / 60
ADD_UP_AFTER: Final = 100_000
"""Trades whose checksums are added up at once: 16 bytes each until then."""

SETTLE_AFTER: Final = 32_000
"""Stretches that are joined at once: some milliseconds, and 40 bytes each until then."""

MOST_DIGESTS: Final = 2_000_000
"""Trades whose ids are digests that one worker writes down: some 200 MB."""


class AcknowledgedLogWriter:
    """Adds up what one worker sends."""

    def __init__(self, run: Run, sessions: Mapping[int, bytes], home: Home) -> None:
        """sessions: all that it may send, with their symbols."""
        self._run = run
        self._sessions = np.zeros(len(sessions), SENT)
        self._sessions["session"] = np.fromiter(sessions, np.uint64, len(sessions))
        self._sessions["symbol"] = list(sessions.values())
        self._sessions.sort(order="session")
        self._known: list[tuple[SentRuns, Checksums]] = []
        self._known_trades = self._stretches = 0
        self._parts: list[np.ndarray] = []
        self._open = np.zeros(0, INTERVAL)
        self._settled: list[np.ndarray] = []
        self._failed: list[np.ndarray] = []
        self._digests: list[np.ndarray] = []
        self._room = MOST_DIGESTS
        self._path = acknowledged_log_dir(home) / f"{run.started_at_us}-{run.run_id}-{run.worker}{SUFFIX}"
        self._started_s = time.monotonic()
        self._every = Every(SAVE_EVERY_S)

    def add(self, trades: np.ndarray, known: KnownTrades | None = None) -> None:
        """Trades in the order in which they are sent; a copy follows its trade at once.

        known: what their maker knows of them; else it is read from them.
        """
        if not len(trades):
            return
        if known is not None:
            self._known.append((known.runs, known.checksums()))
            self._known_trades += len(trades)
            if self._known_trades >= ADD_UP_AFTER:
                self._add_up()
            return
        self._add_up()
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
        sums = checksums(trades)
        part["sum"], part["times"] = np.add.reduceat(sums.content, starts), np.add.reduceat(sums.times, starts)
        self._append(part)

    def _add_up(self) -> None:
        """The trades of known runs since the last time; for it takes some thirty calls, however many they are."""
        if self._known:
            runs, sums = zip(*self._known, strict=True)
            together = Checksums(*(np.concatenate(of) for of in zip(*sums, strict=True)))
            self._known, self._known_trades = [], 0
            self._append(intervals_of(SentRuns.together(runs), together))

    def _append(self, part: np.ndarray) -> None:
        self._parts.append(part)
        self._stretches += len(part)
        if self._stretches >= SETTLE_AFTER:
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
        every, self._parts, self._stretches = words.view(INTERVAL), [], 0
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
        result = continued(sent)
        last = np.append(result["session"][1:] != result["session"][:-1], np.ones(min(1, len(result)), np.bool_))
        self._open = result[last]
        self._settled.append(result[~last])

    def fail(self, trades: np.ndarray) -> None:
        """Trades of which Kafka did not say that it has them."""
        part = np.empty(len(trades), FAILED)
        part["session"], part["number"] = sessions_and_numbers(trades)
        part["sum"], part["times"] = checksums(trades)
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
        self._add_up()
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
