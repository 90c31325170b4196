"""Flat objects of JSON as trades, many at once: what most topics hold, read without a look at each record.

Most records of a topic have one layout, and texts such as a symbol or a side come over and over. So:

1. The records are held against the layouts that are known, and one that is not is seen in a record.
2. Digits are read by themselves (`k2ctl.feeds.mapping.digit_words`).
3. What a feed makes of other texts is asked of the exact path once, by the first record that has them, and known then:
   an expression sees its own record only, and says the same each time.

A record that this does not read exactly is left to the exact path: `k2ctl.feeds.formats.json_records` and the mapping.
"""

import threading
from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import pairwise
from typing import Final

import numpy as np

from k2ctl.domain.trade import TRADE, WHOLE_TRADE, Decoded
from k2ctl.feeds.formats.flat_layout import FlatRecords, layout_of, values_of
from k2ctl.feeds.formats.flat_plan import FlatPlan
from k2ctl.feeds.formats.flat_reader import Exact, LayoutReader

_LAYOUTS: Final = 8
"""That are remembered, and held against each batch."""

_NEW_LAYOUTS: Final = 4
"""Records of a batch in which a layout is looked for."""

_SAMPLES: Final = 32
_SLICE_BYTES: Final = 1 << 20


class FlatJson:
    """Reads what it can of a feed's records, in one thread at a time."""

    def __init__(self, plan: FlatPlan, exact: Exact) -> None:
        self._plan, self._exact = plan, exact
        self._readers: list[LayoutReader] = []
        self._lock = threading.Lock()

    def read(self, values: Sequence[bytes]) -> tuple[Decoded, np.ndarray]:
        """The trades of n records, and bool[n]: which records they are, and those that are filtered."""
        with self._lock:
            return self._read(values)

    def _read(self, values: Sequence[bytes]) -> tuple[Decoded, np.ndarray]:
        parts = _FlatParts(len(values))
        left = np.arange(len(values))
        if self._readers:
            left = np.concatenate([left[:0], *(self._by_one(values, at, parts) for at in _slices(values))])
        if len(left) and (self._readers or values_of(values[0])):
            self._by_several(FlatRecords([values[at] for at in left.tolist()]), left, parts)
        return parts.decoded(), parts.good | parts.filtered

    def _by_one(self, values: Sequence[bytes], at: slice, parts: "_FlatParts") -> np.ndarray:
        """Read the records of a slice that have the layout which most have. Returns those that have not, int64[k]."""
        records, reader = FlatRecords(values[at]), self._readers[-1]
        batch = reader.batch(records, records.plain)
        if len(batch.at):
            parts.add(batch.at + at.start, partial(reader.read, batch))
        left = np.ones(len(records.values), np.bool_)
        left[batch.at] = False
        return np.asarray(np.flatnonzero(left) + at.start)

    def _by_several(self, records: FlatRecords, at: np.ndarray, parts: "_FlatParts") -> None:
        """Read the records of each layout, those that are known first, and go on with the one that most have."""
        left, known, tried, most = records.plain.copy(), self._readers.copy(), 0, -1
        while left.any() and (known or tried < _NEW_LAYOUTS):
            if known:
                reader: LayoutReader | None = known.pop()
            else:
                tried, first = tried + 1, int(left.argmax())
                reader = self._reader_of(records.values[first], self._alike(records, left))
                left[first] = reader is not None
            if reader is None:
                continue
            batch = reader.batch(records, left)
            left[batch.at] = False
            if len(batch.at):
                parts.add(at[batch.at], partial(reader.read, batch))
            if len(batch.at) > max(most, len(records.values) // 2):
                most = len(batch.at)
                self._readers.remove(reader)
                self._readers.append(reader)

    def _alike(self, records: FlatRecords, left: np.ndarray) -> Collection[str]:
        """The keys, of those that are not read by their digits, whose values are the same in a sample of records."""
        at = np.flatnonzero(left)
        at = at[:: 1 + len(at) // _SAMPLES]
        if len(at) < _SAMPLES // 2:
            return ()
        found, sample = set[tuple[str, bytes]](), [records.values[one] for one in at.tolist()]
        for number, record in enumerate(sample):
            values = values_of(record) or {}
            texts = {(key, record[start:end]) for key, (start, end, *_) in values.items()}
            found = found & texts if number else texts
        digits = {*self._plan.by_digits.values(), self._plan.number, *self._plan.absent}
        return {key for key, _ in found} - digits

    def _reader_of(self, record: bytes, fixed: Collection[str]) -> LayoutReader | None:
        """A reader of a record's layout, which is remembered; None if it is not flat or lacks what a trade needs."""
        layout = layout_of(record, fixed)
        if layout is None or not LayoutReader.can_read(layout, self._plan):
            return None
        self._readers = [*self._readers[1 - _LAYOUTS :], LayoutReader(layout, self._plan, self._exact)]
        return self._readers[-1]


class _FlatParts:
    """What is read of n records."""

    def __init__(self, count: int) -> None:
        # bool[n]: which are trades, and which are filtered.
        self.good, self.filtered = np.zeros((2, count), np.bool_)
        self._trades = TRADE.empty(count)

    def add(self, at: np.ndarray, read: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
        """Some records, int64[k] in order. read: fills TRADE[k]; returns which are trades and which are filtered."""
        stand_together = int(at[-1] - at[0]) == len(at) - 1
        trades = self._trades[at[0] : at[-1] + 1] if stand_together else TRADE.empty(len(at))
        self.good[at], self.filtered[at] = read(trades)
        if not stand_together:
            self._trades.view(WHOLE_TRADE)[at] = trades.view(WHOLE_TRADE)

    def decoded(self) -> Decoded:
        """The trades in the order of the records."""
        record = np.flatnonzero(self.good)
        trades = self._trades
        if len(record) < len(trades):
            trades = trades.view(WHOLE_TRADE)[record].view(TRADE.message)
        return Decoded(trades, record, np.zeros(len(record), np.int32), [], [], np.flatnonzero(self.filtered))


def _slices(values: Sequence[bytes]) -> list[slice]:
    """Some values in slices that stay in the processor's cache."""
    count = max(1, round(sum(map(len, values)) / _SLICE_BYTES))
    ends = [len(values) * at // count for at in range(count + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]
