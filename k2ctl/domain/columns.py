"""The fields of trades, each in one piece of memory.

A trade takes 200 bytes, so that a batch of them is larger than a processor's cache, and whoever looks at one field
after the other brings the batch into the cache again for each. Here that is done once.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from k2ctl.domain.texts import WORD, Texts
from k2ctl.domain.trade import TRADE

_AT_ONCE: Final = 512
"""Trades that are turned together: their 100 kB stay in the innermost caches meanwhile."""

_WORDS: Final = TRADE.message.itemsize // WORD.itemsize
_FIELDS: Final[Mapping[str, Any]] = TRADE.message.fields or {}
_PLACES: Final = {name: (kind, *divmod(start, WORD.itemsize)) for name, (kind, start, *_) in _FIELDS.items()}
"""By name: dtype, the first word, and the byte within it."""


class TradeColumns:
    """The fields of n trades (dtype `TRADE.message`), which may not change meanwhile."""

    def __init__(self, trades: np.ndarray) -> None:
        rows = trades[:, None].view(WORD)
        self._turned = np.empty((_WORDS, len(rows)), WORD)
        for start in range(0, len(rows), _AT_ONCE):
            self._turned[:, start : start + _AT_ONCE] = rows[start : start + _AT_ONCE].T

    def words(self, name: str) -> np.ndarray:
        """uint64[k, n], a field of k words."""
        kind, first, _ = _PLACES[name]
        return self._turned[first : first + kind.itemsize // WORD.itemsize]

    def number(self, name: str) -> np.ndarray:
        """int64[n] or uint64[n], a field of one word."""
        kind, word, _ = _PLACES[name]
        return np.asarray(self._turned[word].view(kind))

    def text(self, name: str) -> Texts:
        """A field of text."""
        return Texts(self.words(name), _PLACES[name][0])

    def code(self, name: str) -> np.ndarray:
        """uint8[n], a field of one byte."""
        _, word, byte = _PLACES[name]
        return np.asarray(self._turned[word].view(np.uint8)[byte :: WORD.itemsize])
