"""Replays: trades of files, by a feed, in the order of their times and at the pace in which they happened.

What a trade is decides its id, never the file or the moment: what is replayed again is a copy, and so a replay that was
interrupted goes on from the time that it had reached.
"""

import queue
import re
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from k2ctl.domain.texts import codes_of, instant_text
from k2ctl.domain.trade import TRADE
from k2ctl.endpoints import Endpoints
from k2ctl.errors import K2Error, UsageError
from k2ctl.feeds.files.alike import shifted
from k2ctl.feeds.files.found import find_files
from k2ctl.feeds.files.lines import first_lines
from k2ctl.feeds.files.pieces import BrokenLine
from k2ctl.feeds.files.reading import FeedFiles, WantedTrades, market_columns
from k2ctl.load.market import Batch
from k2ctl.load.replayed import Replayed, ReplayedFiles, ReplayedLake
from k2ctl.profiles import Profile
from k2ctl.profiles.feed import load_feed
from k2ctl.profiles.universe import Universe

ASX: Final = "asx"
"""The feed of files that look like it."""

AT_ONCE: Final = 20_000
"""Trades that are handed over together, where so many are due."""

AHEAD: Final = 3
"""Parts that are read ahead."""

SHOWN_BROKEN_LINES: Final = 100
"""Of all files, in the summary."""

SAMPLE_SHARE: Final = 0.02
"""Of a symbol whose acknowledgements are timed, at most: each of its records is sent alone."""

WAIT_S: Final = 0.05
_LOOKS_LIKE_ASX: Final = re.compile(rb"\d\d/\d\d/\d{4},[0-9:.]+,[^,]*,[^,]*,[^,]*,[^,]*,[^,]*")
_UNENDED: Final = 1 << 62


@dataclass(frozen=True)
class ReplayPlan:
    """What to replay. Pickled on its way to the worker."""

    # A file, a folder, a glob or an s3:// prefix; None: what the table holds.
    where: str | None
    # Of files: a shipped feed by name, or a file by path.
    feed: str = ""
    wanted: WantedTrades = field(default_factory=WantedTrades)
    # How many times as fast as it happened; infinite: as fast as possible.
    speed: float = float("inf")
    # The last trade happens when it is sent.
    shift_to_now: bool = False
    # Columns with their values, for what the names of the files do not say.
    columns: tuple[tuple[str, str], ...] = ()
    # Of what the table holds: where it is sent to.
    topic: str = ""

    def command(self, reached_ns: int | None) -> str:
        """What goes on from a time; what is sent again is a copy. With another shift, all trades are others."""
        options = [f"--from-lake --topic {shlex.quote(self.topic)}"]
        if self.where is not None:
            options = [f"--replay {shlex.quote(self.where)}", f"--feed {shlex.quote(self.feed)}"]
        since_ns = self.wanted.since_ns if reached_ns is None or self.shift_to_now else reached_ns
        if since_ns is not None:
            options.append(f"--since {instant_text(since_ns)}")
        if self.wanted.until_ns is not None:
            options.append(f"--until {instant_text(self.wanted.until_ns)}")
        if self.wanted.symbols is not None:
            options.append(f"--symbols {shlex.quote(','.join(self.wanted.symbols))}")
        options += [f"--column {shlex.quote(f'{name}={value}')}" for name, value in self.columns]
        if not np.isinf(self.speed):
            options.append(f"--speed {self.speed:g}x")
        return " ".join(["k2ctl load", *options, *(["--now"] if self.shift_to_now else [])])


def replay_plan(
    where: str,
    feed: str | None = None,
    wanted: WantedTrades | None = None,
    *,
    speed: float = float("inf"),
    shift_to_now: bool = False,
    columns: tuple[tuple[str, str], ...] = (),
) -> ReplayPlan:
    """A plan; without a feed, files are taken for ASX's where they look like it.

    Raises:
        UsageError: they do not.
    """
    return ReplayPlan(where, feed or _guessed(where), wanted or WantedTrades(), speed, shift_to_now, columns)


def _guessed(where: str) -> str:
    asx = load_feed(ASX)
    try:
        files = [] if where.startswith("s3://") else find_files(where, asx.feed.source, {})
    except UsageError:
        if not Path(where).expanduser().is_dir():
            raise
        files = []
    for file in files:
        with suppress(OSError):
            if any(_LOOKS_LIKE_ASX.match(line) for line in first_lines(file)):
                return ASX
    raise UsageError(
        f"What the lines of {where} are has to be said: by a feed.",
        f"Which feed fits: k2ctl feed guess '{where}'. Then: k2ctl load --replay '{where}' --feed NAME",
    )


def open_replay(plan: ReplayPlan, profile: Profile, endpoints: Endpoints) -> Replayed:
    """What is replayed, to be closed.

    Raises:
        UsageError: there are none, or the feed does not read them.
    """
    if plan.where is None:
        return ReplayedLake(endpoints, plan.wanted)
    columns, said = market_columns(profile.market), dict(plan.columns)
    feed, now_us = load_feed(plan.feed), time.time_ns() // 1000
    return ReplayedFiles(FeedFiles.at(feed, plan.where, endpoints.storage, columns, now_us, plan.wanted, said))


@dataclass(frozen=True)
class ReplayState:
    """How far a replay is. Counts are lines, rows or trades of files."""

    files: int = 0
    # Lines that are no trades, and the first of them of each file.
    broken_lines: int = 0
    first_broken: tuple[BrokenLine, ...] = ()
    # Rows that the feed's `where` leaves out.
    filtered: int = 0
    # Trades that stood too late in their file to be sent at their time.
    late: int = 0
    # The venue's time up to which everything is sent; None before the first trade.
    reached_ns: int | None = None
    # Seconds of the schedule from the first to the last trade that was sent.
    span_s: float = 0.0
    # All trades are sent.
    ended: bool = False


class ReplaySource:
    """Hands out trades in order of time, each at its partition; a thread of its own reads ahead.

    speed: how many times as fast as it happened. shift: all times so that the last trade happens when it is sent. A
    trade at another time is another trade, with an id of its own: what is shifted and replayed again is stored again.
    """

    def __init__(self, replayed: Replayed, universe: Universe, plan: ReplayPlan) -> None:
        """replayed: closed with this."""
        self._replayed, self._plan = replayed, plan
        self._partitioner = universe.partitioner()
        self._partitions = universe.profile.topic.partitions
        self._parts: queue.Queue[np.ndarray | K2Error | None] = queue.Queue(AHEAD)
        self._closing = threading.Event()
        self._reader: threading.Thread | None = None
        self._now = TRADE.empty(0)
        self._first_ns = self._shift_ns = 0
        self._taken = 0
        self._reached_ns: int | None = None
        self._ended = False
        self.fraction = (0.0, 1.0)

    def begin(self, until: Callable[[], bool]) -> None:
        """Look at all there is, and begin to read. until: true ends it.

        Raises:
            UsageError: a file does not fit the feed.
        """
        ends = self._replayed.survey(until)
        if until():
            self._ended = True
            return
        if self._plan.shift_to_now and ends is not None:
            first_ns, last_ns = ends
            span_s = 0.0 if np.isinf(self._plan.speed) else (last_ns - first_ns) / 1e9 / self._plan.speed
            self._shift_ns = time.time_ns() + round(span_s * 1e9) - last_ns
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        while self._taken == 0 and not self._pull() and not self._ended and not until():
            pass
        if len(self._now):
            self._first_ns = int(self._now["event_ns"][0])

    def _read(self) -> None:
        try:
            for trades in _together(self._replayed.trades()):
                if not self._hand_over(trades):
                    return
            self._hand_over(None)
        except K2Error as error:
            self._hand_over(error)
        except Exception as error:
            self._hand_over(K2Error(f"What is replayed cannot be read: {type(error).__name__}: {error}"))

    def _hand_over(self, part: np.ndarray | K2Error | None) -> bool:
        while not self._closing.is_set():
            with suppress(queue.Full):
                self._parts.put(part, timeout=WAIT_S)
                return True
        return False

    def _pull(self) -> bool:
        """Take the next part, if there is one within a moment.

        Raises:
            K2Error: the files could not be read.
        """
        if len(self._now) or self._ended:
            return bool(len(self._now))
        try:
            part = self._parts.get(timeout=WAIT_S)
        except queue.Empty:
            return False
        if isinstance(part, K2Error):
            self._ended = True
            raise part
        if part is None:
            self._ended = True
            return False
        self._now = part
        return True

    @property
    def total(self) -> int:
        """Trades in all; a very large number until all have been read."""
        return self._taken if self._ended and not len(self._now) else _UNENDED

    def due(self, elapsed_s: float) -> float:
        """Trades that should have been sent by then, of those that are read."""
        if not self._pull():
            return float(self._taken)
        if np.isinf(self._plan.speed):
            return float(self._taken + len(self._now))
        limit_ns = self._first_ns + int(elapsed_s * self._plan.speed * 1e9)
        return float(self._taken + np.searchsorted(self._now["event_ns"], limit_ns, side="right"))

    @property
    def is_hurried(self) -> bool:
        """True if nothing is waited for but Kafka."""
        return bool(np.isinf(self._plan.speed))

    def sample_symbol(self) -> bytes:
        """The symbol whose acknowledgements are timed: the rarest, if it is rare; else none."""
        codes, distinct = codes_of(self._now["symbol"])
        counts = np.bincount(codes, minlength=len(distinct))
        if not len(counts) or counts.min() > SAMPLE_SHARE * len(codes):
            return b""
        return bytes(distinct[np.argmin(counts)])

    def take(self, count: int, from_us: int, to_us: int) -> Batch:
        """The next `count` trades, sorted by partition; their times are the file's, or shifted to now."""
        part, self._now = self._now[:count], self._now[count:]
        self._taken += len(part)
        partition = self._partitioner.partitions_of(part["symbol"])
        order = np.argsort(partition, kind="stable")
        if len(part):
            self._reached_ns = max(self._reached_ns or 0, int(part["event_ns"][-1]))
        trades = part.take(order)
        if not self._replayed.has_receive_times:
            due_us = from_us + (order * ((to_us - from_us) / max(1, len(trades)))).astype(np.int64)
            trades["received_ns"] = due_us * 1000
        if self._shift_ns:
            trades["event_ns"] += self._shift_ns
            trades["message_id"] = shifted(trades["message_id"], self._shift_ns)
            if self._replayed.has_receive_times:
                trades["received_ns"] += self._shift_ns
        return Batch(trades, np.bincount(partition, minlength=self._partitions))

    def note_failed(self, trades: np.ndarray) -> None:
        """Trades that Kafka may not have: what was reached is before them."""
        first_ns = int(trades["event_ns"].min()) - self._shift_ns
        self._reached_ns = min(first_ns, first_ns if self._reached_ns is None else self._reached_ns)

    def state(self) -> ReplayState:
        """How far it is."""
        found, reached_ns = self._replayed.findings, self._reached_ns
        return ReplayState(
            files=self._replayed.files,
            broken_lines=found.broken_count,
            first_broken=tuple(found.broken[:SHOWN_BROKEN_LINES]),
            filtered=found.filtered,
            late=self._replayed.late,
            reached_ns=reached_ns,
            span_s=0.0
            if self.is_hurried or reached_ns is None
            else max(0.0, (reached_ns - self._first_ns) / 1e9 / self._plan.speed),
            ended=self._ended and not len(self._now),
        )

    def close(self) -> None:
        """Stop reading."""
        self._closing.set()
        self._replayed.stop()
        if self._reader is not None:
            self._reader.join()
        self._replayed.close()


def _together(chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Parts of some size, of chunks of any."""
    gathered: list[np.ndarray] = []
    for chunk in chunks:
        gathered.append(chunk)
        if sum(map(len, gathered)) >= AT_ONCE:
            yield gathered[0] if len(gathered) == 1 else np.concatenate(gathered)
            gathered = []
    if gathered:
        yield np.concatenate(gathered)
