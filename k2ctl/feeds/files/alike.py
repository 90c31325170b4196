"""Ids of trades that look alike, and of trades that are sent at another time than they happened."""

from collections.abc import Iterator
from typing import Final

import numpy as np

_NEVER: Final = np.iinfo(np.int64).min


def numbered(chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Trades in order of time, of which those with the same id get ids of their own: by how many are before them.

    Of one time are all that look alike, so no more is held than the ids of the latest time.
    """
    latest, ids = _NEVER, np.zeros(0, "V16")
    for trades in chunks:
        times, names = trades["event_ns"], trades["message_id"]
        before = len(ids) if len(trades) and times[0] == latest else 0
        every = np.concatenate([ids[len(ids) - before :], names]) if before else names
        alike = _before(every)[before:]
        if alike.any():
            trades = trades.copy()
            trades["message_id"] = _mixed(names, alike)
        if len(trades):
            same = times == times[-1]
            ids = np.concatenate([ids if before and same.all() else np.zeros(0, "V16"), names[same]])
            latest = int(times[-1])
        yield trades


def _before(ids: np.ndarray) -> np.ndarray:
    """int64[n]: how many equal ids stand before each."""
    words = np.ascontiguousarray(ids).view(np.uint64).reshape(-1, 2)
    order = np.lexsort((words[:, 1], words[:, 0]))
    ordered = words[order]
    fresh = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))[: len(ids)]
    starts = np.flatnonzero(fresh)
    counts = np.diff(np.append(starts, len(ids)))
    before = np.empty(len(ids), np.int64)
    before[order] = np.arange(len(ids)) - np.repeat(starts, counts)
    return before


_MIX: Final = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93))
_HALF: Final = np.uint64(32)
_VERSION: Final = np.uint64(0xF000)
_VARIANT: Final = np.uint64(0xC000_0000_0000_0000)


def _mixed(ids: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """V16[n]: of number 0 the id; else another one, a digest as well. Version and variant of the UUIDs stay."""
    words = np.ascontiguousarray(ids).view(">u8").reshape(-1, 2).astype(np.uint64)
    salt = numbers.astype(np.uint64)
    for at, kept in ((0, _VERSION), (1, _VARIANT)):
        mixed = _hashed(words[:, at] + salt * _MIX[at])
        words[:, at] = np.where(numbers > 0, mixed & ~kept | words[:, at] & kept, words[:, at])
    return np.asarray(words.byteswap().view("V16")[:, 0])


def shifted(ids: np.ndarray, shift_ns: int) -> np.ndarray:
    """V16[n]: the ids of the same trades at other times. A number of a session stays one, of another session."""
    words = np.ascontiguousarray(ids).view(">u8").reshape(-1, 2).astype(np.uint64)
    mixed = _hashed(words[:, 0] + np.uint64(shift_ns * int(_MIX[0]) % (1 << 64)))
    is_digest = words[:, 1] >> np.uint64(63) == 1
    words[:, 0] = np.where(is_digest, mixed & ~_VERSION | words[:, 0] & _VERSION, mixed)
    return np.asarray(words.byteswap().view("V16")[:, 0])


def _hashed(words: np.ndarray) -> np.ndarray:
    """uint64[n]: a bijection."""
    for factor in _MIX:
        words = (words ^ (words >> _HALF)) * factor
    return words
