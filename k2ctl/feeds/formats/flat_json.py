"""Flat objects of JSON as trades, many at once: what most topics hold, read without a look at each record.

Most records of a topic have one layout, and texts such as a symbol or a side come over and over. So:

1. The records are held against the layouts that are known, and one that is not is seen in a record.
2. Digits are read by themselves (`k2ctl.feeds.formats.digit_words`).
3. What a feed makes of other texts is asked of the exact path once, by the first record that has them, and known then:
   an expression sees its own record only, and says the same each time.

A record that this does not read exactly is left to the exact path: `k2ctl.feeds.formats.json_records` and the mapping.
"""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa

from k2ctl.domain.rows import WHOLE_TRADE, joined_trades
from k2ctl.domain.texts import codes_of
from k2ctl.domain.trade import NEW, NO_SEQUENCE, TRADE, Decoded, refer
from k2ctl.feeds.formats.digit_words import PlacedTexts, decimals, iso_instants, numbered_instants, uuids, wholes
from k2ctl.feeds.formats.flat_layout import FlatLayout, FlatRecords, layout_of, values_of
from k2ctl.feeds.formats.flat_plan import DECIMALS, INSTANTS, FlatPlan
from k2ctl.feeds.mapping.identity import numbered_ids

Exact = Callable[[Sequence[bytes]], Decoded]
"""The exact path."""

_LAYOUTS: Final = 8
"""That are remembered, and held against each batch."""

_NEW_LAYOUTS: Final = 4
"""Records of a batch in which a layout is looked for."""

_REMEMBERED: Final = 50_000
"""Sets of texts with what is made of them."""

_SAMPLES: Final = 32
_SLICE_BYTES: Final = 1 << 20
_LONGEST_TEXT: Final = 32
_FEW: Final = 64
_LITERALS: Final = (b"null", b"true", b"false", b"[]")
_Read = tuple[np.ndarray, np.ndarray]
"""n values, and bool[n]: which are exact."""


@dataclass
class _Examples:
    """What the exact path makes of some texts."""

    fields: tuple[str, ...]
    known: dict[tuple[bytes, ...], int] = field(default_factory=dict)
    trades: np.ndarray = field(default_factory=lambda: TRADE.empty(0))
    kept: np.ndarray = field(default_factory=lambda: np.zeros(0, np.bool_))

    def numbers(self, keys: Sequence[tuple[bytes, ...]]) -> np.ndarray:
        """int64[k]: the example of each, -1 where there is none."""
        return np.array([self.known.get(key, -1) for key in keys], np.int64)

    def add(self, keys: Sequence[tuple[bytes, ...]], trades: np.ndarray, *, kept: bool) -> None:
        """Remember the trades of examples; of those that `where` leaves out any."""
        self.known |= {key: at for at, key in enumerate(keys, len(self.trades))}
        self.trades = joined_trades([self.trades, trades])
        self.kept = np.append(self.kept, np.full(len(keys), kept))

    def forget(self) -> None:
        """Remember none."""
        self.known, self.trades, self.kept = {}, self.trades[:0], self.kept[:0]


class _FlatBatch:
    """Those records of a batch that have one layout, n of them."""

    def __init__(
        self, records: FlatRecords, layout: FlatLayout, at: np.ndarray, marks: Mapping[int, np.ndarray]
    ) -> None:
        self.records = records
        self.layout = layout
        self.at = at
        self._marks = marks
        self._wholes: dict[str, _Read] = {}

    def texts(self, key: str) -> PlacedTexts:
        return self.layout.texts(self.records.within, self._marks, key)

    def is_text(self, key: str) -> bool:
        return key in self.layout.quoted

    def wholes(self, key: str) -> _Read:
        if key not in self._wholes:
            self._wholes[key] = wholes(self.texts(key))
        return self._wholes[key]

    def coded(self, keys: Sequence[str]) -> tuple[np.ndarray, list[tuple[bytes, ...]], np.ndarray]:
        """int[n] codes, the sets of texts that they are codes of, and bool[n]: which are short enough to tell."""
        count = len(self.at)
        codes, sets, short = np.zeros(count, np.int64), list[tuple[bytes, ...]]([()]), np.ones(count, np.bool_)
        for key in keys:
            if key not in self.layout.place:
                continue
            texts, fits = self.texts(key).fixed(_LONGEST_TEXT)
            short &= fits
            code, distinct = codes_of(texts)
            words = distinct.tolist()
            if len(sets) == 1 or len(words) == 1:
                codes = code if len(sets) == 1 else codes
                sets = [(*one, word) for one in sets for word in words]
            else:
                pairs = pa.array(codes.astype(np.int64) * len(words) + code).dictionary_encode()
                codes = pairs.indices.to_numpy(zero_copy_only=False)
                sets = [(*sets[pair // len(words)], words[pair % len(words)]) for pair in pairs.dictionary.to_pylist()]
        return codes, sets, short


class _LayoutReader:
    """Reads the records of one layout."""

    def __init__(self, layout: FlatLayout, plan: FlatPlan, exact: Exact) -> None:
        self.layout = layout
        self._plan, self._exact = plan, exact
        self._where = _Examples(())
        read = {*plan.by_digits.values(), *(key for keys in plan.by_example for key in keys), *(plan.where or ())}
        self._bare = tuple(layout.place.keys() - layout.quoted)
        self._unread = tuple(key for key in self._bare if key not in read)
        self._examples = {keys: _Examples(fields) for keys, fields in plan.by_example.items()}

    def batch(self, records: FlatRecords, wanted: np.ndarray) -> _FlatBatch:
        """The wanted records (bool[n]) that have this layout."""
        at = records.with_quotes(wanted, self.layout.quotes)
        marks = records.marks(at, self.layout)
        fits = self.layout.fits(records.within, marks)
        if not fits.all():
            at, marks = at[fits], {mark: places[fits] for mark, places in marks.items()}
        return _FlatBatch(records, self.layout, at, marks)

    @staticmethod
    def can_read(layout: FlatLayout, plan: FlatPlan) -> bool:
        """Whether an object with these keys may be a trade. One number may be missing, the venue's."""
        wanted = {key for name, key in plan.by_digits.items() if name != "source_sequence"}
        return wanted | ({plan.number} if plan.number else set()) <= layout.place.keys()

    def read(self, batch: _FlatBatch, trades: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Fill TRADE[n]. Returns bool[n] twice: which are trades that are read exactly, and which are filtered."""
        sound = self._are_json(batch, self._unread)
        trades["source_sequence"] = NO_SEQUENCE
        kept, known = self._kept(batch)
        good = sound & kept & known
        for keys, examples in self._examples.items():
            numbers = self._asked(batch, keys, examples, good)
            good &= numbers >= 0
            if len(examples.trades):
                one = numbers[0] if (numbers == numbers[0]).all() else numbers
                for name in examples.fields:
                    of = INSTANTS.get(name, name)
                    trades[of] = examples.trades[of][one]
        for name, key in self._plan.by_digits.items():
            if key in self.layout.place:
                trades[INSTANTS.get(name, name)], read = self._digits(batch, name, key)
                good &= read
        if self._plan.number is not None:
            numbers, read = batch.wholes(self._plan.number)
            good &= read
            trades["message_id"] = numbered_ids(trades, numbers)
        filtered = known & ~kept
        return good, filtered & self._are_json(batch, self._bare) if filtered.any() else filtered

    def _are_json(self, batch: _FlatBatch, keys: Sequence[str]) -> np.ndarray:
        """bool[n]: which have nothing but JSON as the values of some keys that have no quotes, and no reference."""
        sound = np.ones(len(batch.at), np.bool_)
        for key in keys:
            texts = batch.texts(key)
            literal = np.logical_or.reduce([texts.are(one) for one in _LITERALS])
            sound &= literal if literal.all() else literal | decimals(texts)[1]
        for key in self._plan.absent:
            if key in self.layout.place:
                sound &= batch.texts(key).are(b"null") & (not batch.is_text(key))
        return sound

    def _digits(self, batch: _FlatBatch, name: str, key: str) -> _Read:
        """A field that is a key's value."""
        texts, is_text = batch.texts(key), batch.is_text(key)
        if name in DECIMALS:
            return decimals(texts)
        if name in INSTANTS:
            if is_text and b"-" in texts.first():
                return iso_instants(texts)
            return numbered_instants(texts, self._plan.unit)
        if name == "message_id":
            ids, read = uuids(texts)
            return ids, read & is_text
        values, read = batch.wholes(key)
        if name == "source_sequence" and not is_text and not read.all():
            absent = texts.are(b"null")
            return np.where(absent, NO_SEQUENCE, values), read | absent
        return values, read

    def _kept(self, batch: _FlatBatch) -> _Read:
        """bool[n]: which `where` keeps, and of which that is known."""
        every = np.ones(len(batch.at), np.bool_)
        if self._plan.where is None:
            return every, every
        numbers = self._asked(batch, self._plan.where, self._where, every)
        return (self._where.kept[numbers], numbers >= 0) if len(self._where.kept) else (every, ~every)

    def _asked(self, batch: _FlatBatch, keys: Sequence[str], examples: _Examples, wanted: np.ndarray) -> np.ndarray:
        """int64[n]: the example of each record, also of those that are new; -1 where there is none."""
        codes, sets, short = batch.coded(keys)
        numbers = examples.numbers(sets)
        if (numbers < 0).any():
            self._learn(batch, examples, sets, np.where(wanted & short & (numbers < 0)[codes], codes, -1))
            numbers = examples.numbers(sets)
        return np.where(short, numbers[codes], -1)

    def _learn(
        self, batch: _FlatBatch, examples: _Examples, sets: Sequence[tuple[bytes, ...]], codes: np.ndarray
    ) -> None:
        """Ask the exact path for one record of each code; -1 is none. Where texts hardly ever repeat, it reads all."""
        new, first = np.unique(codes, return_index=True)
        new, first = new[new >= 0], first[new >= 0]
        if len(new) > max(_FEW, len(codes) // 4):
            return
        if len(examples.known) + len(new) > _REMEMBERED:
            examples.forget()
        decoded = self._exact([batch.records.values[batch.at[at]] for at in first.tolist()])
        plain = (decoded.trades["action"] == NEW) & ~refer(decoded.trades)
        examples.add([sets[at] for at in new[decoded.record[plain]]], decoded.trades[plain], kept=True)
        if examples is self._where:
            left_out = [sets[at] for at in new[decoded.filtered]]
            examples.add(left_out, TRADE.empty(len(left_out)), kept=False)


class FlatJson:
    """Reads what it can of a feed's records, in one thread at a time."""

    def __init__(self, plan: FlatPlan, exact: Exact) -> None:
        self._plan, self._exact = plan, exact
        self._readers: list[_LayoutReader] = []
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
                reader: _LayoutReader | None = known.pop()
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

    def _reader_of(self, record: bytes, fixed: Collection[str]) -> _LayoutReader | None:
        """A reader of a record's layout, which is remembered; None if it is not flat or lacks what a trade needs."""
        layout = layout_of(record, fixed)
        if layout is None or not _LayoutReader.can_read(layout, self._plan):
            return None
        self._readers = [*self._readers[1 - _LAYOUTS :], _LayoutReader(layout, self._plan, self._exact)]
        return self._readers[-1]


class _FlatParts:
    """What is read of n records."""

    def __init__(self, count: int) -> None:
        # bool[n]: which are trades, and which are filtered.
        self.good, self.filtered = np.zeros((2, count), np.bool_)
        self._trades = TRADE.empty(count)

    def add(self, at: np.ndarray, read: Callable[[np.ndarray], _Read]) -> None:
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
