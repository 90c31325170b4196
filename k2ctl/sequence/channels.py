"""The channels of a feed, one per (exchange, symbol), numbered densely, with what is known of each in columns."""

from collections.abc import Sequence

import numpy as np

from k2ctl.domain.texts import all_alike, codes_of

_LEAST: int = 64
_NEVER_US = np.iinfo(np.int64).min


class Channels:
    """Columns by channel number, int64 each unless said otherwise."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self.names: list[bytes] = []
        # uint32, how often the counter has restarted.
        self.run = np.zeros(_LEAST, np.uint32)
        # Numbers of the present run, -1 before its first trade.
        self.first = np.full(_LEAST, -1, np.int64)
        self.highest = np.full(_LEAST, -1, np.int64)
        # The latest exchange time in the run.
        self.latest_us = np.full(_LEAST, _NEVER_US, np.int64)
        # When the last trade was sent to us.
        self.seen_us = np.full(_LEAST, _NEVER_US, np.int64)
        # int32, where the last trade was read.
        self.partition = np.zeros(_LEAST, np.int32)
        # bool, changed since the last cut.
        self.dirty = np.zeros(_LEAST, np.bool_)

    def __len__(self) -> int:
        return len(self.names)

    def numbers_of(self, exchange: np.ndarray, symbol: np.ndarray) -> np.ndarray:
        """int64[n], the channel of each trade; new channels get the next numbers."""
        symbol_codes, symbols = codes_of(symbol)
        if all_alike(exchange):
            own = self.number_all([exchange[0] + b"/" + name for name in symbols.tolist()])
            return np.asarray(own[symbol_codes])
        exchange_codes, exchanges = codes_of(exchange)
        pairs, inverse = np.unique(exchange_codes.astype(np.int64) * len(symbols) + symbol_codes, return_inverse=True)
        names = [exchanges[p // len(symbols)] + b"/" + symbols[p % len(symbols)] for p in pairs.tolist()]
        result: np.ndarray = self.number_all(names)[inverse]
        return result

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
        for name, filler in (("run", 0), ("first", -1), ("highest", -1), ("partition", 0), ("dirty", False)):
            column: np.ndarray = getattr(self, name)
            setattr(self, name, np.append(column, np.full(more, filler, column.dtype)))
        for name in ("latest_us", "seen_us"):
            setattr(self, name, np.append(getattr(self, name), np.full(more, _NEVER_US)))

    def begin_run(self, channel: int) -> None:
        """The counter of a channel restarts."""
        self.run[channel] += np.uint32(1)
        self.first[channel] = self.highest[channel] = -1
        self.latest_us[channel] = _NEVER_US
