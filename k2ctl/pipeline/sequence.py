"""Step 4: follow each symbol's sequence numbers; tell gaps, late arrivals and restarts.

Runs after deduplication, so that a number that was covered already but comes with a new id is not a copy: the
venue has started to count anew (RESET) if time went on, or the trade is a late one (OUT_OF_ORDER).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from k2ctl.schema.texts import codes_of
from k2ctl.state.intervals import NUMBER_BITS, IntervalSets


@dataclass(frozen=True)
class SequenceCounts:
    """Totals since the start: trades in order, late trades, restarts; and the gaps open now.

    explained: numbers that are missing in the table because they were put aside; no gaps.
    """

    in_order: int = 0
    out_of_order: int = 0
    resets: int = 0
    untracked: int = 0
    open_gaps: int = 0
    missing_trades: int = 0
    explained: int = 0


class SequenceTracker:
    """Per (exchange, symbol) and run of the venue's counter, the numbers seen. Rebuilt from the table at start."""

    def __init__(self) -> None:
        self._sets = IntervalSets()
        self._channels: dict[bytes, int] = {}
        # Per channel: how often its counter restarted, the highest number and the latest time of the current run.
        self._runs = np.zeros(0, np.uint64)
        self._highest = np.zeros(0, np.int64)
        self._latest_us = np.zeros(0, np.int64)
        self._in_order = self._out_of_order = self._resets = self._untracked = self._explained = 0

    def step(self, trades: np.ndarray) -> None:
        """Take note of n trades (dtype `TRADE.message`), in the order of each partition."""
        columns = self._columns(trades)
        self._untracked += len(trades) - len(columns[0])
        if len(columns[0]):
            self.note(*columns)

    def start_counting(self) -> None:
        """Begin the totals at zero: what was noted so far came from the table, not from the feed."""
        self._in_order = self._out_of_order = self._resets = self._untracked = 0

    def put_aside(self, trades: np.ndarray) -> None:
        """Take note of trades that are shed or spilled: their numbers are missing, and it is known why."""
        channel, number, timestamp_us = self._columns(trades)
        if len(channel):
            order = np.argsort(channel, kind="stable")
            self._remember(channel[order], number[order], timestamp_us[order])
            self._explained += len(channel)

    def give_back(self, count: int) -> None:
        """So many of the trades that were put aside are settled."""
        self._explained = max(0, self._explained - count)

    def excuse(self, is_owed: Callable[[bytes], bool]) -> None:
        """Explain the gaps that are open now of symbols for which `is_owed`: before a restart they were put aside."""
        owed = np.array([is_owed(channel.rpartition(b"/")[2]) for channel in self._channels], np.bool_)
        keys, first, after = self._sets.missing()
        for key, start, end in zip(keys.tolist(), first.tolist(), after.tolist(), strict=True):
            if owed[key >> 32]:
                numbers = np.arange(start, end, dtype=np.uint64)
                self._sets.add(np.full(len(numbers), key, np.uint64), numbers)
                self._explained += len(numbers)

    def _columns(self, trades: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(channel, number, time) of the trades that have a sequence number, int64 each."""
        tracked = trades["source_sequence"] < np.uint64((1 << NUMBER_BITS) - 1)
        if not tracked.any():
            none = np.zeros(0, np.int64)
            return none, none, none
        trades = trades if tracked.all() else trades[tracked]
        channel = self._channel_numbers(trades["exchange"], trades["symbol"])
        number, timestamp_us = trades["source_sequence"].astype(np.int64), np.ascontiguousarray(trades["timestamp"])
        return channel, number, timestamp_us

    def note(self, channel: np.ndarray, number: np.ndarray, timestamp_us: np.ndarray) -> None:
        """Take note of (channel, number, time), int64[n] each, in order of arrival."""
        order = np.argsort(channel, kind="stable")
        channel, number, timestamp_us = channel[order], number[order], timestamp_us[order]
        if (number > self._high_before(channel, number)).all():
            # The normal case: every number is higher than all before it, so nothing is late and nothing restarts.
            self._in_order += len(channel)
            self._remember(channel, number, timestamp_us)
            return
        restarted = self._restarts(channel, number, timestamp_us)
        while restarted is not None:
            self._apply(channel[:restarted], number[:restarted], timestamp_us[:restarted])
            self._begin_run(int(channel[restarted]))
            channel, number, timestamp_us = channel[restarted:], number[restarted:], timestamp_us[restarted:]
            restarted = self._restarts(channel, number, timestamp_us)
        self._apply(channel, number, timestamp_us)

    def _restarts(self, channel: np.ndarray, number: np.ndarray, timestamp_us: np.ndarray) -> int | None:
        """Position of the first trade with a number that its run has covered already, at a later time."""
        if not len(channel):
            return None
        fresh_runs = IntervalSets()
        repeated_here = fresh_runs.add(self._keys(channel), number.astype(np.uint64))
        covered = repeated_here | self._sets.contains(self._keys(channel), number.astype(np.uint64))
        covered &= timestamp_us >= self._latest_us[channel]
        positions = np.flatnonzero(covered & (number <= self._high_before(channel, number)))
        return int(positions[0]) if len(positions) else None

    def _apply(self, channel: np.ndarray, number: np.ndarray, timestamp_us: np.ndarray) -> None:
        if not len(channel):
            return
        late = int((number < self._high_before(channel, number)).sum())
        self._out_of_order += late
        self._in_order += len(channel) - late
        self._remember(channel, number, timestamp_us)

    def _remember(self, channel: np.ndarray, number: np.ndarray, timestamp_us: np.ndarray) -> None:
        self._sets.add(self._keys(channel), number.astype(np.uint64))
        starts = np.flatnonzero(np.append(True, np.diff(channel) != 0))
        present = channel[starts]
        self._highest[present] = np.maximum(self._highest[present], np.maximum.reduceat(number, starts))
        self._latest_us[present] = np.maximum(self._latest_us[present], np.maximum.reduceat(timestamp_us, starts))

    def _high_before(self, channel: np.ndarray, number: np.ndarray) -> np.ndarray:
        """For trades sorted by channel: the highest number that came before each, int64[n]."""
        lifted: np.ndarray = (channel << NUMBER_BITS) | (number + 1)
        running = np.maximum.accumulate(lifted)
        before = np.empty(len(number), np.int64)
        before[0] = 0
        before[1:] = np.where(channel[1:] == channel[:-1], running[:-1] & ((1 << NUMBER_BITS) - 1), 0)
        return np.asarray(np.maximum(before - 1, self._highest[channel]))

    def _begin_run(self, channel: int) -> None:
        self._resets += 1
        self._runs[channel] += np.uint64(1)
        self._highest[channel] = -1
        self._latest_us[channel] = np.iinfo(np.int64).min

    def _keys(self, channel: np.ndarray) -> np.ndarray:
        result: np.ndarray = (channel.astype(np.uint64) << np.uint64(32)) | self._runs[channel]
        return result

    def _channel_numbers(self, exchange: np.ndarray, symbol: np.ndarray) -> np.ndarray:
        symbol_codes, symbols = codes_of(symbol)
        if (exchange == exchange[0]).all():
            own = np.array([self._number_of(exchange[0] + b"/" + name) for name in symbols.tolist()])
            return np.asarray(own[symbol_codes])
        exchange_codes, exchanges = codes_of(exchange)
        pairs, inverse = np.unique(exchange_codes.astype(np.int64) * len(symbols) + symbol_codes, return_inverse=True)
        numbers = np.array(
            [self._number_of(exchanges[p // len(symbols)] + b"/" + symbols[p % len(symbols)]) for p in pairs.tolist()]
        )
        result: np.ndarray = numbers[inverse]
        return result

    def _number_of(self, channel: bytes) -> int:
        number = self._channels.setdefault(channel, len(self._channels))
        if number == len(self._runs):
            self._runs = np.append(self._runs, np.uint64(0))
            self._highest = np.append(self._highest, -1)
            self._latest_us = np.append(self._latest_us, np.iinfo(np.int64).min)
        return number

    def counts(self) -> SequenceCounts:
        """Totals, and the gaps that are open now."""
        _, first, after = self._sets.missing()
        return SequenceCounts(
            self._in_order,
            self._out_of_order,
            self._resets,
            self._untracked,
            len(first),
            int((after - first).sum()),
            self._explained,
        )
