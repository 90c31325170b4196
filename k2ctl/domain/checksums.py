"""Checksums of trades: content as a number that adds up, so that a million trades are compared by one sum.

A 64-bit hash of each trade, summed modulo 2^64, so that the order does not matter. Every 8-byte word of a trade is
multiplied by a constant of its place, and the sum is mixed by a bijection that is no straight line: a change of one
word always changes the trade's hash, and neither several changes nor fields that two trades exchanged leave the total
as it was, but for one chance in billions. When a trade was received (`received_ns`) has a sum of its own, for a file
that is replayed again sends the same trades at another time. Header and session are left out: sums are kept by session.
Some 11 ns a trade, most of it the multiplications.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from k2ctl.domain.copies import without_marks
from k2ctl.domain.trade import TRADE

_WORDS: Final = TRADE.message.itemsize // 8
_PLACES: Final[Any] = TRADE.message.fields
_NUMBER: Final = _PLACES["message_id"][1] // 8 + 1
"""The second word of the message id. What stands before it is not hashed."""

_SENT_AT: Final = _PLACES["received_ns"][1] // 8

_RESERVED_BITS: Final = 8 * (8 * _WORDS - _PLACES["reserved"][1])
"""The upper bits of the last word, which the table does not hold."""


def _multipliers() -> np.ndarray:
    """uint64[words from the number on]: odd constants, the same everywhere; the last is so high that it drops bits."""
    state, mask, drawn = 0x6B32_7472_7574_6801, (1 << 64) - 1, []
    for _ in range(_NUMBER, _WORDS):  # splitmix64
        state = (state + 0x9E3779B97F4A7C15) & mask
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
        drawn.append(mixed ^ (mixed >> 31) | 1)
    constants = np.array(drawn, np.uint64)
    constants[_SENT_AT - _NUMBER] = 0
    constants[-1] <<= np.uint64(_RESERVED_BITS)
    return constants


_MULTIPLIERS: Final = _multipliers()
_HALF: Final = np.uint64(32)
_ONE: Final = np.uint64(1)


class Checksums(NamedTuple):
    """Of n trades, uint64[n] each: of what was sent, and of when it was sent."""

    content: np.ndarray
    times: np.ndarray


def checksums(trades: np.ndarray) -> Checksums:
    """The checksums of each trade (dtype `TRADE.message`), as it was sent."""
    sent = without_marks(trades)
    return _mixed(weighted(sent), _words_of(sent)[:, _SENT_AT])


def weighted(trades: np.ndarray) -> np.ndarray:
    """uint64[n]: the words of each trade, each times the constant of its place, added up. Fields may be added later."""
    return np.asarray(np.vecdot(_words_of(trades)[:, _NUMBER:], _MULTIPLIERS))


def checksums_by_column(others: np.ndarray, columns: Mapping[str, np.ndarray], sent_at: np.ndarray) -> Checksums:
    """The `checksums` of n trades whose columns their maker still has, which takes half the time.

    others: uint64[n], changed here: the `weighted` trades with zeros in the columns. columns: unsigned integers by the
    field of the trade; of decimals below 2^63 the value, of the id the number. sent_at: of `received_ns`.
    """
    part = np.empty_like(others)
    for name, column in columns.items():
        words = column.byteswap() if name == "message_id" else column  # which is big-endian on the wire
        others += np.multiply(words, _factor(name), out=part)
    return _mixed(others, sent_at)


def _factor(name: str) -> np.uint64:
    """What a field of one word or less is multiplied with."""
    at = 8 * _NUMBER if name == "message_id" else int(_PLACES[name][1])
    return np.uint64(_MULTIPLIERS[at // 8 - _NUMBER] << np.uint64(at % 8 * 8))


def _words_of(trades: np.ndarray) -> np.ndarray:
    """uint64[n, words]: a view of contiguous trades."""
    return np.asarray(np.ascontiguousarray(trades).view(np.uint64).reshape(len(trades), _WORDS))


def _mixed(content: np.ndarray, sent_at: np.ndarray) -> Checksums:
    """content: what is `weighted`, which is changed here."""
    odd = content >> _HALF
    content ^= odd
    np.left_shift(content, _ONE, out=odd)
    odd |= _ONE
    content *= odd  # x (2x + 1) takes every value once
    odd *= sent_at
    return Checksums(content, odd)


def _label() -> str:
    """The checksum of a made-up trade."""
    sample = np.arange(1, _WORDS + 1, dtype=np.uint64).view(TRADE.message)
    return f"{int(checksums(sample).content[0]):016x}"


LABEL: Final = _label()
"""Changes when a trade's layout or its hash does: sums of another label say nothing about trades of today."""
