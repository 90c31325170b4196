"""The channels of a feed, numbered densely, with what is known of each in columns.

A channel is what one counter of the venue counts: the trades of a symbol, of an exchange, or of a partition of the
topic, and with sessions each session of it. And the gaps of each channel's present run: opened, filled, cut in two,
lost after a while, explained.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np

from k2ctl.domain.copies import sessions_and_numbers
from k2ctl.domain.ledger import DeferredRange
from k2ctl.domain.texts import all_alike, codes_of
from k2ctl.profiles.model import SequenceSettings

_LEAST: int = 64
NEVER_US: Final = int(np.iinfo(np.int64).min)

EVERY_SYMBOL: Final = "*"
"""In the place of the symbol, of a channel that counts the trades of all; with the partition's number behind it."""


class ChannelName(NamedTuple):
    """What a channel counts."""

    exchange: str
    # EVERY_SYMBOL, with a partition's number or without, where the channel is of no single one.
    symbol: str
    # As 16 digits; empty without sessions.
    session: str

    @staticmethod
    def of(name: bytes) -> "ChannelName":
        """Read a name as `Channels` writes it: exchange, slash, symbol, and where there is one NUL and session."""
        exchange, _, rest = name.partition(b"/")
        symbol, _, session = rest.partition(b"\0")
        return ChannelName(exchange.replace(b"\0", b"/").decode(), symbol.decode(), session.decode())


class Channels:
    """Columns by channel number, int64 each unless said otherwise. settings: what the numbers are."""

    def __init__(self, settings: SequenceSettings | None = None) -> None:
        self._settings = settings or SequenceSettings()
        self._numbers: dict[bytes, int] = {}
        self.names: list[bytes] = []
        # uint32, how often the counter has restarted.
        self.run = np.zeros(_LEAST, np.uint32)
        # Numbers of the present run, -1 before its first trade.
        self.first = np.full(_LEAST, -1, np.int64)
        self.highest = np.full(_LEAST, -1, np.int64)
        # The latest exchange time in the run.
        self.latest_us = np.full(_LEAST, NEVER_US, np.int64)
        # When the present run began, and of the run before the highest number and the latest exchange time.
        self.begun_us = np.full(_LEAST, NEVER_US, np.int64)
        self.past_highest = np.full(_LEAST, -1, np.int64)
        self.past_latest_us = np.full(_LEAST, NEVER_US, np.int64)
        # When the last trade was sent to us.
        self.seen_us = np.full(_LEAST, NEVER_US, np.int64)
        # int32, where the last trade was read.
        self.partition = np.zeros(_LEAST, np.int32)
        # bool, changed since the last cut.
        self.dirty = np.zeros(_LEAST, np.bool_)

    def __len__(self) -> int:
        return len(self.names)

    def numbers_of(self, trades: np.ndarray, partition: np.ndarray | None = None) -> np.ndarray:
        """int64[n], the channel of each trade (dtype `TRADE.message`); new channels get the next numbers.

        partition: int32[n], where each was read; without it all count as read in one.
        """
        exchange = trades["exchange"]
        if self._settings.spans_symbols or self._settings.has_sessions or not all_alike(exchange):
            return self._numbers_of_pairs(trades, partition)
        codes, symbols = codes_of(trades["symbol"])
        own = self.number_all([_escaped(exchange[0]) + b"/" + name for name in symbols.tolist()])
        return np.asarray(own[codes])

    def _numbers_of_pairs(self, trades: np.ndarray, partition: np.ndarray | None) -> np.ndarray:
        """Of trades that more than the symbol distinguishes."""
        count, settings = len(trades), self._settings
        codes, exchanges = codes_of(trades["exchange"])
        parts = [(codes, [_escaped(name) for name in exchanges.tolist()])]
        if not settings.spans_symbols:
            codes, symbols = codes_of(trades["symbol"])
            parts.append((codes, [b"/" + name for name in symbols.tolist()]))
        elif settings.spans_partitions or partition is None:
            parts.append((np.zeros(count, np.int64), [b"/" + EVERY_SYMBOL.encode()]))
        else:
            numbers, codes = np.unique(partition, return_inverse=True)
            parts.append((codes, [b"/%s%d" % (EVERY_SYMBOL.encode(), number) for number in numbers.tolist()]))
        if settings.has_sessions:
            session, codes = np.unique(sessions_and_numbers(trades)[0], return_inverse=True)
            parts.append((codes, [b"\0%016x" % number for number in session.tolist()]))
        mixed = np.zeros(count, np.int64)
        for codes, names in parts:
            mixed = mixed * len(names) + codes
        _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
        own = self.number_all([b"".join(names[codes[at]] for codes, names in parts) for at in first.tolist()])
        return np.asarray(own[inverse])

    def name(self, channel: int) -> ChannelName:
        """What a channel counts."""
        return ChannelName.of(self.names[channel])

    def symbol(self, channel: int) -> str | None:
        """The symbol of a channel; None where it counts the trades of all."""
        return None if self._settings.spans_symbols else self.name(channel).symbol

    def number_all(self, names: Sequence[bytes]) -> np.ndarray:
        """int64[n], the channels of `exchange/symbol` names."""
        known = self._numbers
        for name in names:
            if name not in known:
                known[name] = len(self.names)
                self.names.append(name)
        if len(self.names) > len(self.highest):
            self._grow(max(2 * len(self.highest), len(self.names)))
        return np.array([known[name] for name in names], np.int64)

    def _grow(self, size: int) -> None:
        """Doubling: a column is copied as often as its size has digits in binary."""
        more = size - len(self.highest)
        fillers = {"run": 0, "first": -1, "highest": -1, "past_highest": -1, "partition": 0, "dirty": False}
        for name, filler in fillers.items():
            column: np.ndarray = getattr(self, name)
            setattr(self, name, np.append(column, np.full(more, filler, column.dtype)))
        for name in ("latest_us", "seen_us", "begun_us", "past_latest_us"):
            setattr(self, name, np.append(getattr(self, name), np.full(more, NEVER_US)))

    def begin_run(self, channel: int, begun_us: int) -> None:
        self.past_highest[channel], self.past_latest_us[channel] = self.highest[channel], self.latest_us[channel]
        self.begun_us[channel] = begun_us
        self.run[channel] += np.uint32(1)
        self.first[channel] = self.highest[channel] = -1
        self.latest_us[channel] = NEVER_US


def _escaped(exchange: bytes) -> bytes:
    """So that the first slash of a channel's name ends the exchange; no text has a NUL in it."""
    return exchange.replace(b"/", b"\0")


MAX_GAPS: Final = 1_000
"""Kept for each channel; beyond them the oldest gaps count as lost."""

MAX_CHANNEL_GAPS: Final = 50_000
"""Of a channel over many symbols: its trades come from several partitions, each of which is read for a while."""


class Gap(NamedTuple):
    """Missing numbers [start, after) of a symbol's present run."""

    start: int
    after: int
    # When the gap was noticed.
    opened_us: int
    # The latest exchange time before the gap (NEVER_US at the begin of a session), and of the trade that revealed it.
    before_us: int
    event_us: int

    @property
    def missing(self) -> int:
        return self.after - self.start


@dataclass(frozen=True)
class GapCounts:
    """Gaps and the numbers missing in them: open, and lost (open for longer than the deadline)."""

    open_gaps: int = 0
    open_numbers: int = 0
    lost_gaps: int = 0
    lost_numbers: int = 0


class OpenGaps:
    """Per channel number its gaps, in order of their numbers."""

    def __init__(self, most: int = MAX_GAPS) -> None:
        self._most = most
        self._gaps: dict[int, list[Gap]] = {}
        self._given_up_gaps = self._given_up_numbers = 0

    def of(self, channel: int) -> list[Gap]:
        """The gaps of a channel; do not change the list."""
        return self._gaps.get(channel, [])

    def restore(self, channel: int, gaps: list[Gap]) -> None:
        if gaps:
            self._gaps[channel] = gaps
        else:
            self._gaps.pop(channel, None)

    def open(self, channel: int, gap: Gap) -> None:
        """A gap above all others of the channel, or below all of them."""
        own = self._gaps.setdefault(channel, [])
        if own and gap.start < own[0].start:
            own.insert(0, gap)
        else:
            own.append(gap)
        if len(own) > self._most:
            self._given_up_gaps += 1
            self._given_up_numbers += own.pop(0).missing

    @property
    def missing(self) -> int:
        """How many numbers are missing in all of them."""
        return sum(gap.missing for own in self._gaps.values() for gap in own)

    def holds(self, channel: int, number: int) -> bool:
        return self._position(channel, number) is not None

    def fill(self, channel: int, number: int) -> bool:
        """A missing number has come; returns whether it was its gap's last."""
        at = self._position(channel, number)
        if at is None:
            raise KeyError(number)
        own = self._gaps[channel]
        gap = own[at]
        left = [gap._replace(after=number), gap._replace(start=number + 1)]
        own[at : at + 1] = [part for part in left if part.missing]
        if not own:
            del self._gaps[channel]
        return gap.missing == 1

    def clear(self, channel: int) -> list[Gap]:
        """Forget the gaps of a channel; returns them."""
        return self._gaps.pop(channel, [])

    def _position(self, channel: int, number: int) -> int | None:
        own = self._gaps.get(channel)
        if not own:
            return None
        at = bisect_right(own, number, key=lambda gap: gap.start) - 1
        return at if at >= 0 and number < own[at].after else None

    def __iter__(self) -> Iterator[tuple[int, Gap]]:
        for channel, own in self._gaps.items():
            for gap in own:
                yield channel, gap

    def counts(self, lost_before_us: int) -> GapCounts:
        """Totals; gaps opened before that time are lost."""
        gaps, numbers = [0, self._given_up_gaps], [0, self._given_up_numbers]
        for _, gap in self:
            lost = gap.opened_us < lost_before_us
            gaps[lost] += 1
            numbers[lost] += gap.missing
        return GapCounts(gaps[0], numbers[0], gaps[1], numbers[1])


class Priorities(Protocol):
    """Which symbol has which priority, by a policy with a digest; `Universe` and `Admission` are two."""

    @property
    def policy(self) -> str:
        """The digest."""

    def priority(self, symbol: bytes, /) -> int:
        """0 CRITICAL … 3 LOW."""


def is_deferred(
    entries: Iterable[DeferredRange],
    partition: tuple[str, int],
    symbol: str | None,
    gap: Gap,
    priorities: Priorities | None,
) -> bool:
    """True if a range of the symbol's partition and priority may have trades between those on both sides of the gap.

    Such a gap is explained: its trades are outstanding, and no gap of the feed. partition: topic and partition, where
    the symbol was read last; of a channel over all symbols (None), ranges of all partitions and priorities count.
    priorities: where they are None, or of another policy than the range's, the range may have the symbol's trades.
    """
    topic, number = partition
    return any(
        entry.topic == topic
        and entry.first_us <= gap.event_us
        and entry.last_us >= gap.before_us
        and (symbol is None or (entry.partition == number and _may_hold(entry, symbol.encode(), priorities)))
        for entry in entries
    )


def _may_hold(entry: DeferredRange, symbol: bytes, priorities: Priorities | None) -> bool:
    return priorities is None or entry.policy != priorities.policy or entry.holds(priorities.priority(symbol))
