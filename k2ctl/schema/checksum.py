"""A trade's identity and content as a number that adds up: so that a million trades are compared by one sum.

Two 64-bit hashes of each trade, summed modulo 2^64 each: 128 bits that do not depend on the order. Every 8-byte word of
a trade is multiplied by a constant of its place and the sum is mixed, so that neither a changed field nor two exchanged
ones leave the total as it was. When a trade was sent (`ingestion_timestamp`) is left out: a retransmission is the same
trade. About 20 ns a trade.
"""

from typing import Any, Final

import numpy as np

from k2ctl.schema.trade import TRADE

_WORDS: Final = TRADE.message.itemsize // 8
_PLACES: Final[Any] = TRADE.message.fields
_ID: Final = _PLACES["message_id"][1] // 8
_NOT_CONTENT: Final = (0, _PLACES["ingestion_timestamp"][1] // 8)
"""The words of the SBE header and of the time of sending."""


def _multipliers() -> np.ndarray:
    """uint64[words, 2]: odd constants, the same everywhere and for ever: sums are kept on disk."""
    state, mask, drawn = 0x6B32_7472_7574_6801, (1 << 64) - 1, []
    for _ in range(_WORDS * 2):  # splitmix64
        state = (state + 0x9E3779B97F4A7C15) & mask
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
        drawn.append(mixed ^ (mixed >> 31) | 1)
    constants = np.array(drawn, np.uint64).reshape(_WORDS, 2)
    constants[list(_NOT_CONTENT)] = 0
    return constants


_MULTIPLIERS: Final = _multipliers()
_MIX: Final = np.uint64(0xD6E8FEB86659FD93)
_HALF: Final = np.uint64(32)


def words_of(trades: np.ndarray) -> np.ndarray:
    """uint64[n, words]: a view of contiguous trades (dtype `TRADE.message`)."""
    return np.asarray(np.ascontiguousarray(trades).view(np.uint64).reshape(len(trades), _WORDS))


def checksums(trades: np.ndarray) -> np.ndarray:
    """uint64[n, 2]: the two hashes of each trade."""
    hashed = words_of(trades) @ _MULTIPLIERS
    hashed ^= hashed >> _HALF
    hashed *= _MIX
    hashed ^= hashed >> _HALF
    return np.asarray(hashed)


def sessions_and_numbers(trades: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint64[n] each: the halves of the message ids; of a feed or a replay they are a session and a number in it."""
    words = words_of(trades)
    return words[:, _ID].byteswap(), words[:, _ID + 1].byteswap()
