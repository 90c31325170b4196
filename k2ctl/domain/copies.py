"""What makes one trade a copy of another, and what makes it another print of the same trade.

A trade is known by its message_id, symbol, exchange and time. Sent again with the same price, quantity, action and
reference it is a copy, and is stored once. Sent again with others it is a reprint: the venue corrects a trade by
sending its id again. A reprint is stored as it came, marked by a reference to its own id (`Rows.with_reprints`); the
mark is no part of what was printed. A print that was there before is a copy, also behind a reprint: a redelivery looks
the same as a correction back. Other fields make no difference, and the place in Kafka (topic, epoch, partition, offset,
index) only distinguishes a row that was read again from a copy that was sent again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa

from k2ctl.domain.decimals import from_arrow
from k2ctl.domain.rows import ids_of, nanoseconds
from k2ctl.domain.trade import CANCEL, LATEST_ALIKE, NEW, NO_ID

TRADE_KEY: Final = ("message_id", "symbol", "exchange", "timestamp", "timestamp_nanos")
"""What a trade is known by, in the table; on the wire the time is one field."""

PRINT_SQL: Final = ("price", "quantity", "action", "CASE WHEN action <> 'NEW' THEN refers_to END")
"""What was printed of it, in SQL: of a new print the reference is the mark of a reprint."""

_KEY_FIELDS: Final = ("message_id", "symbol", "exchange", "event_ns")

_FACTORS: Final = np.array(
    [0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xC2B2AE3D27D4EB4F,
     0x165667B19E3779F9, 0x27D4EB2F165667C5, 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53], np.uint64,
)  # fmt: skip
"""Odd numbers, one for each word of `_KEY_FIELDS`."""

_HALF: Final = np.uint64(32)
_ALIKE_WORD: Final = np.frombuffer(LATEST_ALIKE.tobytes(), np.uint64)[0]


def are_same_trade(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """bool[n]: which of n trades have the key of their counterparts (both of dtype `TRADE.message`)."""
    return _alike(_words(some, _KEY_FIELDS), _words(others, _KEY_FIELDS))


def are_same_print(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """bool[n]: which of n trades were printed like their counterparts, whatever their keys."""
    same = _alike(_words(some, ("price", "quantity")), _words(others, ("price", "quantity")))
    same &= some["action"] == others["action"]
    return np.asarray(
        same & ((some["action"] == NEW) | _alike(_words(some, ("refers_to",)), _words(others, ("refers_to",))))
    )


def _alike(some: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    alike = np.ones(len(some[0]), np.bool_)
    for word, other in zip(some, others, strict=True):
        alike &= word == other
    return alike


def _mixed(words: Sequence[np.ndarray]) -> np.ndarray:
    """uint64[n]: one number of up to nine words."""
    mixed = np.zeros(len(words[0]), np.uint64)
    for word, factor in zip(words, _FACTORS, strict=False):
        mixed += word * factor
        mixed ^= mixed >> _HALF
    return np.asarray(mixed * _FACTORS[0])


def print_digests(trades: np.ndarray) -> np.ndarray:
    """uint64[n]: equal for copies of one print, and for others only by chance."""
    action = trades["action"].astype(np.uint64)
    referred = [np.where(action == NEW, np.uint64(0), word) for word in _words(trades, ("refers_to",))]
    keys = _mixed(_words(trades, _KEY_FIELDS))
    return _mixed([keys, *_words(trades, ("price", "quantity")), *referred, action])


@dataclass(frozen=True)
class Met:
    """Of n trades, bool[n] each: which are copies of an earlier one, and which are reprints of one and no copies."""

    copies: np.ndarray
    reprints: np.ndarray


class CopyIndex:
    """n trades in the order of a digest of their keys, so that the same trades are found by bisection.

    Built when it is first asked. Equal digests are a hint: keys and prints are compared in full.
    """

    def __init__(self, trades: np.ndarray) -> None:
        self.trades = trades

    def __len__(self) -> int:
        return len(self.trades)

    def take(self, at: np.ndarray) -> "CopyIndex":
        """The trades at some positions, each named once, in order."""
        return self if len(at) == len(self) else CopyIndex(self.trades.take(at))

    @cached_property
    def _digests(self) -> np.ndarray:
        return _mixed(_words(self.trades, _KEY_FIELDS))

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self._digests)

    @cached_property
    def _ordered(self) -> np.ndarray:
        return np.asarray(self._digests[self._order])

    @cached_property
    def within(self) -> Met:
        """Which trades are copies and reprints of trades before them."""
        met = Met(np.zeros(len(self), np.bool_), np.zeros(len(self), np.bool_))
        alike = self._ordered[1:] == self._ordered[:-1]
        left = np.sort(self._order[np.append(False, alike) | np.append(alike, False)])
        while len(left):
            # Of each digest the first print is taken with its copies; reprints and collisions go another round.
            _, first, group = np.unique(self._digests[left], return_index=True, return_inverse=True)
            these, firsts = self.trades.take(left), self.trades.take(left[first])[group]
            same = are_same_trade(these, firsts)
            copies = same & are_same_print(these, firsts)
            met.reprints[left[same & ~copies]] = True
            met.copies[left[copies]] = True
            met.copies[left[first]] = False
            left = left[~copies]
        met.reprints[met.copies] = False
        return met

    def met(self, others: "CopyIndex") -> Met:
        """Which of the other trades are copies and reprints of trades here."""
        copies, same = np.zeros(len(others), np.bool_), np.zeros(len(others), np.bool_)
        # Sorted ones are found in the same cache lines: 4 times as fast.
        first = np.searchsorted(self._ordered, others._ordered, side="left")
        last = np.searchsorted(self._ordered, others._ordered, side="right")
        for step in range(int((last - first).max(initial=0))):
            at = np.flatnonzero(first + step < last)
            theirs = others._order[at]
            here, there = self.trades.take(self._order[first[at] + step]), others.trades.take(theirs)
            known = are_same_trade(here, there)
            same[theirs] |= known
            copies[theirs] |= known & are_same_print(here, there)
        return Met(copies, same & ~copies)


def key_numbers(table: pa.Table) -> Sequence[np.ndarray]:
    """`TRADE_KEY` of n rows as columns of numbers, the id's first: alike in all of them are the prints of one trade.

    Texts are numbered within the table.
    """
    ids = ids_of(table["message_id"]).view(np.uint64).reshape(-1, 2)
    texts = (_codes(table[name]) for name in ("symbol", "exchange"))
    return ids[:, 1], ids[:, 0], *texts, nanoseconds(table["timestamp"], table["timestamp_nanos"])


def print_numbers(table: pa.Table) -> Sequence[np.ndarray]:
    """What was printed of n rows (`are_same_print`), as columns of numbers."""
    amounts = [from_arrow(table[name].combine_chunks()) for name in ("price", "quantity")]
    action = table["action"].to_numpy()
    absent = (action == "NEW") | table["refers_to"].is_null().to_numpy()
    refers = np.where(absent, NO_ID, ids_of(table["refers_to"])).view(np.uint64).reshape(-1, 2)
    words = [amount[half] for amount in amounts for half in ("low", "high")]
    return [*words, _codes(table["action"]), refers[:, 0], refers[:, 1]]


def _words(trades: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
    """Some fields of whole words, as columns uint64[n]."""
    columns = [trades[name][:, None].view(np.uint64) for name in names]
    return [column[:, at] for column in columns for at in range(column.shape[1])]


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    whole = column.combine_chunks()
    encoded = whole if isinstance(whole, pa.DictionaryArray) else whole.dictionary_encode()
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False))


def without_marks(trades: np.ndarray) -> np.ndarray:
    """The trades without the marks of reprints and of cancellations by condition, which the consumer sets."""
    session, number, low, high = _words(trades, ("message_id", "refers_to"))
    if not (low | high).any():
        return trades
    marked = (low == session) & (high == number) & (trades["action"] == NEW)
    marked |= ((low & high) == _ALIKE_WORD) & (trades["action"] == CANCEL)
    if not marked.any():
        return trades
    sent = trades.copy()
    sent["refers_to"][marked], sent["action"][marked] = NO_ID, NEW
    return sent


def sessions_and_numbers(trades: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint64[n] each: the halves of the message ids; of a feed or a replay they are a session and a number in it."""
    halves = trades["message_id"][:, None].view(np.uint64).T.copy().byteswap(inplace=True)
    return halves[0], halves[1]
