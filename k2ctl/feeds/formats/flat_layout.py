"""The layout that flat objects of JSON share: what stands between their values, which a program always writes alike.

A layout is seen in one record and held against the others byte by byte, so that a record fits it or not.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from k2ctl.feeds.formats.digit_words import FIRST, ByteWords, PlacedTexts

PADDING: Final = bytes(512)
"""Around the records, so that words before and behind them can be read."""

_OPENED: Final = re.compile(rb" *\{ *")
_TEXT: Final = rb'"([ !#-\[\]-~]*)"'
_KEY: Final = re.compile(_TEXT + rb" *: *")
_VALUE: Final = re.compile(_TEXT + rb'|[^ "{}\[\],:]+|\[(?:[^"{}\[\]]|"[^"]*")*\]')
_NEXT: Final = re.compile(rb" *, *")
_CLOSED: Final = re.compile(rb" *\} *")
_QUOTE: Final = ord('"')
_WORD: Final = 8


@dataclass(frozen=True)
class LayoutValue:
    """A value of a layout: it ends where the bytes behind it begin."""

    key: str
    # True if it stands in quotes.
    is_text: bool
    # True if it is a list.
    is_list: bool


@dataclass(frozen=True)
class LayoutBytes:
    """Bytes that are the same in each record of a layout."""

    # The mark they stand at: 0 is where a record begins, then come its quotes, and the last is its end.
    mark: int
    # From the mark.
    offset: int
    text: bytes


@dataclass(frozen=True)
class FlatLayout:
    """k values with k + 1 runs around them."""

    quotes: int
    values: Sequence[LayoutValue]
    runs: Sequence[LayoutBytes]

    @cached_property
    def place(self) -> dict[str, int]:
        """The number of each key's value."""
        return {value.key: at for at, value in enumerate(self.values)}

    def starts(self, marks: np.ndarray, at: int) -> np.ndarray:
        """int64[n]: where a run begins in each record."""
        run = self.runs[at]
        return np.asarray(marks[run.mark] + run.offset)

    def texts(self, within: ByteWords, marks: np.ndarray, at: int) -> PlacedTexts:
        """The texts of a value in each record."""
        return PlacedTexts(within, self.starts(marks, at) + len(self.runs[at].text), self.starts(marks, at + 1))

    def fits(self, within: ByteWords, marks: np.ndarray) -> np.ndarray:
        """bool[n]: which records have this layout. marks: int64[quotes + 2, n]."""
        last = len(self.runs) - 1
        differs = (self.starts(marks, last) + len(self.runs[last].text) - marks[-1]).astype(np.uint64)
        for at, run in enumerate(self.runs):
            start, count = self.starts(marks, at), -(-len(run.text) // _WORD)
            expected = np.frombuffer(run.text.ljust(count * _WORD, b"\0"), np.uint64)
            found = within.words(start, count)
            for word in range(count):
                differs |= (found[:, word] ^ expected[word]) & FIRST[min(_WORD, len(run.text) - word * _WORD)]
        fit = differs == 0
        for at, value in enumerate(self.values):
            if not value.is_text:
                texts = self.texts(within, marks, at)
                fit &= texts.end > texts.start
        return np.asarray(fit)


def layout_of(record: bytes) -> FlatLayout | None:
    """The layout of a record; None if it is not flat, or has a key twice."""
    opened = _OPENED.match(record)
    if opened is None:
        return None
    values, runs, at, begun, quotes = list[LayoutValue](), list[LayoutBytes](), opened.end(), 0, 0
    mark = offset = 0
    while True:
        key = _KEY.match(record, at)
        value = _VALUE.match(record, key.end()) if key else None
        if key is None or value is None:
            return None
        is_text = value[1] is not None
        start = value.start(1) if is_text else value.start()
        values.append(LayoutValue(key[1].decode(), is_text, record[start : start + 1] == b"[" and not is_text))
        runs.append(LayoutBytes(mark, offset, record[begun:start]))
        begun = value.end(1) if is_text else value.end()
        quotes += 2 + record[value.start() : value.end()].count(b'"')
        behind = _NEXT.match(record, value.end()) or _CLOSED.match(record, value.end())
        if behind is None:
            return None
        # Behind a text stands its quote; anything else ends so far before the next quote, or the record's end.
        mark, offset = (quotes, 0) if is_text else (quotes + 1, begun - behind.end())
        at = behind.end()
        if b"}" in behind[0]:
            runs.append(LayoutBytes(mark, offset, record[begun:at]))
            is_known = at == len(record) and len({one.key for one in values}) == len(values)
            is_short = max(len(run.text) for run in runs) <= len(PADDING) // 2
            return FlatLayout(quotes, values, runs) if is_known and is_short else None


class FlatRecords:
    """n records one behind the other, with the places of their quotes."""

    def __init__(self, values: Sequence[bytes]) -> None:
        self.values = values
        self.within = ByteWords(b"".join([PADDING, *values, PADDING]))
        ends = np.cumsum(np.fromiter(map(len, values), np.int64, len(values))) + len(PADDING)
        self._start = np.concatenate([[len(PADDING)], ends])
        self._quote = np.flatnonzero(self.within.bytes == _QUOTE)
        self._first = self._of_quotes()

    def _of_quotes(self) -> np.ndarray:
        """int64[n + 1]: the number of each record's first quote."""
        count = len(self.values)
        each, rest = divmod(len(self._quote), max(count, 1))
        if each and not rest:
            places = self._quote.reshape(count, each)
            if (places[:, 0] >= self._start[:-1]).all() and (places[:, -1] < self._start[1:]).all():
                return np.arange(count + 1) * each
        return np.searchsorted(self._quote, self._start)

    @cached_property
    def plain(self) -> np.ndarray:
        """bool[n]: which are printable ASCII without a backslash, so that a quote is one wherever it stands."""
        data, known = self.within.data, np.ones(len(self.values), np.bool_)
        inner = self.within.bytes[len(PADDING) : -len(PADDING)]
        if data.isascii() and b"\\" not in data and (not len(inner) or inner.min() >= ord(" ")):
            return known
        odd = np.flatnonzero((inner < ord(" ")) | (inner >= 128) | (inner == ord("\\"))) + len(PADDING)
        known[np.searchsorted(self._start, odd, side="right") - 1] = False
        return known

    def with_quotes(self, wanted: np.ndarray, count: int) -> np.ndarray:
        """int64[k]: those of the wanted records (bool[n]) that have so many quotes."""
        return np.flatnonzero(wanted & (np.diff(self._first) == count))

    def marks(self, at: np.ndarray, quotes: int) -> np.ndarray:
        """int64[quotes + 2, k]: where some records begin, have their quotes, and end."""
        made = np.empty((quotes + 2, len(at)), np.int64)
        made[0], made[-1] = self._start[at], self._start[at + 1]
        if quotes * len(self.values) == len(self._quote) and len(at) == len(self.values):
            made[1:-1] = self._quote.reshape(-1, quotes).T
        else:
            made[1:-1] = self._quote[self._first[at] + np.arange(quotes)[:, None]]
        return made
