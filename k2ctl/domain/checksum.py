"""A trade's number and content as a number that adds up: so that a million trades are compared by one sum.

A 64-bit hash of each trade, summed modulo 2^64, so that the order does not matter. Every 8-byte word of a trade is
multiplied by an odd constant of its place, and the sum is mixed by a bijection: a change of one word always changes the
trade's hash, and neither several changes nor fields that two trades exchanged leave the total as it was, but for one
chance in some 2^64. When a trade was sent (`ingestion_timestamp`) has a sum of its own, for a file that is replayed
again sends the same trades at another time. Header and session are left out: sums are kept by session. About 6 ns a
trade, most of it the multiplications.
"""

from typing import Any, Final

import numpy as np

from k2ctl.domain.trade import TRADE

_WORDS: Final = TRADE.message.itemsize // 8
_PLACES: Final[Any] = TRADE.message.fields
_SESSION: Final = _PLACES["message_id"][1] // 8
_NUMBER: Final = _SESSION + 1
"""The two words of the message id. What lies before the number is not hashed."""

_SENT_AT: Final = _PLACES["ingestion_timestamp"][1] // 8


def _multipliers() -> np.ndarray:
    """uint64[words from the number on]: odd constants, the same everywhere."""
    state, mask, drawn = 0x6B32_7472_7574_6801, (1 << 64) - 1, []
    for _ in range(_NUMBER, _WORDS):  # splitmix64
        state = (state + 0x9E3779B97F4A7C15) & mask
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
        drawn.append(mixed ^ (mixed >> 31) | 1)
    constants = np.array(drawn, np.uint64)
    constants[_SENT_AT - _NUMBER] = 0
    return constants


_MULTIPLIERS: Final = _multipliers()
_MIX: Final = np.uint64(0xD6E8FEB86659FD93)
_HALF: Final = np.uint64(32)
_ONE: Final = np.uint64(1)


def _words_of(trades: np.ndarray) -> np.ndarray:
    """uint64[n, words]: a view of contiguous trades (dtype `TRADE.message`)."""
    return np.asarray(np.ascontiguousarray(trades).view(np.uint64).reshape(len(trades), _WORDS))


def checksums(trades: np.ndarray) -> np.ndarray:
    """uint64[n]: the hash of each trade."""
    hashed = np.vecdot(_words_of(trades)[:, _NUMBER:], _MULTIPLIERS)
    hashed ^= hashed >> _HALF
    hashed *= _MIX
    hashed ^= hashed >> _HALF
    return np.asarray(hashed)


def times_sent(trades: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """uint64[n]: the time of sending of each trade times an odd number of its own, made of its `checksums`."""
    return np.asarray(_words_of(trades)[:, _SENT_AT] * (hashes | _ONE))


def sessions_and_numbers(trades: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint64[n] each: the halves of the message ids; of a feed or a replay they are a session and a number in it."""
    words = _words_of(trades)
    return words[:, _SESSION].byteswap(), words[:, _NUMBER].byteswap()


def _label() -> str:
    """The checksum of a made-up trade."""
    sample = np.arange(1, _WORDS + 1, dtype=np.uint64).view(TRADE.message)
    return f"{int(checksums(sample)[0]):016x}"


LABEL: Final = _label()
"""Changes when a trade's layout or its hash does: sums of another label say nothing about trades of today."""
