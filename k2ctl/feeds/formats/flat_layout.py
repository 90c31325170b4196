"""The layout that flat objects of JSON share: what stands between their values, which a program always writes alike.

A layout is seen in one record and held against the others byte by byte, so that a record fits it or not.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from k2ctl.feeds.formats.json_parts import is_json
from k2ctl.feeds.mapping.digit_words import FIRST, ByteWords, PlacedTexts

PADDING: Final = bytes(1024)
"""Around the records, so that words before and behind them can be read."""

_OPENED: Final = re.compile(rb" *\{ *")
_TEXT: Final = rb'"([ !#-\[\]-~]*)"'
_KEY: Final = re.compile(_TEXT + rb" *: *")
_VALUE: Final = re.compile(_TEXT + rb'|[^ "{}\[\],:]+|\[(?:[^"{}\[\]]|"[^"]*")*\]')
_NEXT: Final = re.compile(rb" *, *")
_CLOSED: Final = re.compile(rb" *\} *")
_QUOTE: Final = ord('"')
_WORD: Final = 8
_LARGEST_BYTES: Final = 1 << 20
"""Of a record. A larger one has next to nothing in common with others."""


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
    """k values with k + 1 runs of the same bytes around them. A value ends where the bytes behind it begin."""

    quotes: int
    # The number of each value by its key, in order; without those that are part of a run.
    place: Mapping[str, int]
    # The keys of all that stand in quotes.
    quoted: frozenset[str]
    # The values that are part of a run, by their key.
    fixed: Mapping[str, bytes]
    runs: Sequence[LayoutBytes]

    def starts(self, marks: Mapping[int, np.ndarray], at: int) -> np.ndarray:
        """int64[n]: where a run begins in each record."""
        run = self.runs[at]
        return np.asarray(marks[run.mark] + run.offset if run.offset else marks[run.mark])

    def texts(self, within: ByteWords, marks: Mapping[int, np.ndarray], key: str) -> PlacedTexts:
        """The texts of a value in each record."""
        at = self.place[key]
        return PlacedTexts(within, self.starts(marks, at) + len(self.runs[at].text), self.starts(marks, at + 1))

    def fits(self, within: ByteWords, marks: Mapping[int, np.ndarray]) -> np.ndarray:
        """bool[n]: which records have this layout. marks: as `FlatRecords.marks`."""
        last = len(self.runs) - 1
        differs = (self.starts(marks, last) + len(self.runs[last].text) - marks[self.quotes + 1]).astype(np.uint64)
        for at, run in enumerate(self.runs):
            start, count = self.starts(marks, at), -(-len(run.text) // _WORD)
            expected = np.frombuffer(run.text.ljust(count * _WORD, b"\0"), np.uint64)
            found = within.words(start, count)
            for word in range(count):
                differs |= (found[:, word] ^ expected[word]) & FIRST[min(_WORD, len(run.text) - word * _WORD)]
        fit = differs == 0
        for key in self.place.keys() - self.quoted:
            texts = self.texts(within, marks, key)
            # A text in the place of a list has as many quotes, and a layout of its own.
            fit &= (texts.end > texts.start) & (within.bytes[texts.start] != _QUOTE)
        return np.asarray(fit)


def values_of(record: bytes) -> dict[str, tuple[int, int, int, int]] | None:
    """The values of a flat object by key: where each begins and ends, where the next key begins, and the quotes so far.

    A text is what stands between its quotes. None if the record is no flat object, has a key twice, or bytes that a
    layout cannot be seen in.
    """
    opened, found, quotes = _OPENED.match(record), dict[str, tuple[int, int, int, int]](), 0
    at = opened.end() if opened is not None and is_json(record) else len(record)
    while at < len(record):
        key = _KEY.match(record, at)
        value = _VALUE.match(record, key.end()) if key else None
        behind = (_NEXT.match(record, value.end()) or _CLOSED.match(record, value.end())) if value else None
        if key is None or value is None or behind is None or key[1].decode() in found:
            return None
        quotes += 2 + record[value.start() : value.end()].count(b'"')
        at = behind.end()
        found[key[1].decode()] = (*value.span(0 if value[1] is None else 1), at, quotes)
        if b"}" in behind[0]:
            return found if at == len(record) else None
    return None


def is_one_value(text: bytes) -> bool:
    """Whether a text without quotes around it is one value: where a list may be, two and a key may also be."""
    return b'"' not in text or _VALUE.fullmatch(text) is not None


def layout_of(record: bytes, fixed: Collection[str] = ()) -> FlatLayout | None:
    """The layout of a record; None if it has none. fixed: keys whose values are part of the layout."""
    values, runs, place = values_of(record) or {}, list[LayoutBytes](), dict[str, int]()
    quoted = frozenset(key for key, (start, *_) in values.items() if record[start - 1 : start] == b'"')
    mark = offset = begun = quotes = 0
    for key, (start, end, following, quotes) in values.items():
        if key in fixed:
            continue
        place[key] = len(runs)
        runs.append(LayoutBytes(mark, offset, record[begun:start]))
        # Behind a text stands its quote; anything else ends so far before the next quote, or the record's end.
        begun, mark, offset = (end, quotes, 0) if key in quoted else (end, quotes + 1, end - following)
    runs.append(LayoutBytes(mark, offset, record[begun:]))
    is_short = max(len(run.text) for run in runs) <= len(PADDING) // 2
    texts = {key: record[start:end] for key, (start, end, *_) in values.items() if key in fixed}
    return FlatLayout(quotes, place, quoted, texts, runs) if values and is_short else None


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
        """bool[n]: which are short, printable ASCII without a backslash: a quote is one wherever it stands."""
        data, known = self.within.data, np.diff(self._start) <= _LARGEST_BYTES
        inner = self.within.bytes[len(PADDING) : -len(PADDING)]
        if data.isascii() and b"\\" not in data and (not len(inner) or inner.min() >= ord(" ")):
            return known
        odd = np.flatnonzero((inner < ord(" ")) | (inner >= 128) | (inner == ord("\\"))) + len(PADDING)
        known[np.searchsorted(self._start, odd, side="right") - 1] = False
        return known

    def with_quotes(self, wanted: np.ndarray, count: int) -> np.ndarray:
        """int64[k]: those of the wanted records (bool[n]) that have so many quotes."""
        return np.flatnonzero(wanted & (np.diff(self._first) == count))

    def marks(self, at: np.ndarray, layout: FlatLayout) -> dict[int, np.ndarray]:
        """Mark → int64[k]: where some records begin, have those quotes that runs stand at, and end."""
        first = self._first[at]
        found = {run.mark: self._quote[first + (run.mark - 1)] for run in layout.runs if 0 < run.mark <= layout.quotes}
        return {**found, 0: self._start[at], layout.quotes + 1: self._start[at + 1]}
