"""Records of flat JSON that have one layout, as trades: digits by themselves, other texts by an example."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from k2ctl.domain.texts import codes_of
from k2ctl.domain.trade import NEW, NO_SEQUENCE, TRADE, Decoded, joined_trades, refer
from k2ctl.feeds.formats.flat_layout import FlatLayout, FlatRecords, is_one_value
from k2ctl.feeds.formats.flat_plan import DECIMALS, INSTANTS, FlatPlan
from k2ctl.feeds.mapping.digit_words import PlacedTexts, decimals, iso_instants, numbered_instants, uuids, wholes
from k2ctl.feeds.mapping.fields import text_value
from k2ctl.feeds.mapping.identity import numbered_ids

Exact = Callable[[Sequence[bytes]], Decoded]
"""The exact path."""

_REMEMBERED: Final = 50_000
"""Sets of texts with what is made of them."""

_LONGEST_TEXT: Final = 32
_FEW: Final = 64
_LITERALS: Final = (b"null", b"true", b"false", b"[]")
_Read = tuple[np.ndarray, np.ndarray]
"""n values, and bool[n]: which are exact."""


@dataclass
class _Examples:
    """What fields are made of some texts."""

    keys: tuple[str, ...]
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
        """int[n] codes, the sets of texts they are codes of, and bool[n]: which are short and one value each."""
        count = len(self.at)
        codes, sets, known = np.zeros(count, np.int64), list[tuple[bytes, ...]]([()]), np.ones(count, np.bool_)
        for key in keys:
            if key not in self.layout.place:
                continue
            texts, fits = self.texts(key).fixed(_LONGEST_TEXT)
            known &= fits
            code, distinct = codes_of(texts)
            words = distinct.tolist()
            if not self.is_text(key):
                known &= np.array([is_one_value(word) for word in words], np.bool_)[code]
            if len(sets) == 1 or len(words) == 1:
                codes = code if len(sets) == 1 else codes
                sets = [(*one, word) for one in sets for word in words]
            else:
                pairs = pa.array(codes.astype(np.int64) * len(words) + code).dictionary_encode()
                codes = pairs.indices.to_numpy(zero_copy_only=False)
                sets = [(*sets[pair // len(words)], words[pair % len(words)]) for pair in pairs.dictionary.to_pylist()]
        return codes, sets, known


class LayoutReader:
    """Reads the records of one layout."""

    def __init__(self, layout: FlatLayout, plan: FlatPlan, exact: Exact) -> None:
        self.layout = layout
        self._plan, self._exact = plan, exact
        self._where = _Examples((), ())
        read = {*plan.by_digits.values(), *(key for keys in plan.by_example for key in keys), *(plan.where or ())}
        self._bare = tuple(layout.place.keys() - layout.quoted)
        self._unread = tuple(key for key in self._bare if key not in read)
        self._examples = {keys: _Examples(keys, fields) for keys, fields in plan.by_example.items()}

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
        codes, sets, known = batch.coded(keys)
        numbers = examples.numbers(sets)
        if (numbers < 0).any():
            self._learn(batch, examples, sets, np.where(wanted & known & (numbers < 0)[codes], codes, -1))
            numbers = examples.numbers(sets)
        return np.where(known, numbers[codes], -1)

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
        new, first = self._learn_texts(examples, sets, new, first)
        if not len(new):
            return
        decoded = self._exact([batch.records.values[batch.at[at]] for at in first.tolist()])
        plain = (decoded.trades["action"] == NEW) & ~refer(decoded.trades)
        examples.add([sets[at] for at in new[decoded.record[plain]]], decoded.trades[plain], kept=True)
        if examples is self._where:
            left_out = [sets[at] for at in new[decoded.filtered]]
            examples.add(left_out, TRADE.empty(len(left_out)), kept=False)

    def _learn_texts(
        self, examples: _Examples, sets: Sequence[tuple[bytes, ...]], new: np.ndarray, first: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Make fields that are a text and nothing else. Returns what is left of new codes and their first records."""
        if examples is self._where or not self._plan.by_text.keys() >= set(examples.fields):
            return new, first
        made = [self._of_text(examples, sets[at]) for at in new.tolist()]
        done = np.array([one is not None for one in made], np.bool_)
        trades = [one for one in made if one is not None]
        if trades:
            examples.add([sets[at] for at in new[done]], np.concatenate(trades), kept=True)
        return new[~done], first[~done]

    def _of_text(self, examples: _Examples, texts: tuple[bytes, ...]) -> np.ndarray | None:
        """TRADE[1] with the fields that are made of one text; None if the text needs another look."""
        raw, trade = None, TRADE.empty(1)
        for key in examples.keys:
            raw = texts[0] if texts else self.layout.fixed.get(key)
            if raw is not None and key not in self.layout.quoted:
                if raw not in _LITERALS:
                    return None
                raw = None if raw == b"null" else raw
        for name in examples.fields:
            constant = self._plan.by_text[name]
            value = text_value(name, constant if constant is not None or raw is None else raw.decode())
            if isinstance(value, str) or (name == "action" and value != NEW):
                return None
            trade[name] = value
        return trade
