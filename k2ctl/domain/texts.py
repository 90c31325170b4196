"""Columns of short fixed-width texts: distinguished by hashing, so that work is done once per distinct text.

And the text of a time.
"""

import sys
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa


class _NoPandas:
    """A finder that knows no pandas."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name=name)


if "pandas" not in sys.modules:
    # pyarrow looks for pandas once, at the first array that it makes, and importing it takes 0.3 s. Trading calendars
    # bring it along, and nothing else of k2ctl's has a use for it.
    sys.meta_path.insert(0, _NoPandas)
    pa.array([None])
    sys.meta_path.remove(_NoPandas)

_WORD = np.dtype(np.uint64)
_SAMPLES = 64


def instant_text(nanoseconds: int | np.integer) -> str:
    """A time since the Unix epoch as ISO 8601 in UTC, with 0, 6 or 9 digits of a second: as many as it needs."""
    seconds, fraction = divmod(int(nanoseconds), 1_000_000_000)
    digits = f".{fraction:09d}" if fraction % 1000 else f".{fraction // 1000:06d}" if fraction else ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{digits}Z"


def codes_of(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fixed-width texts as (int32[n] codes, array of the distinct texts), by hashing rather than sorting.

    Texts of up to eight bytes, which symbols are, are hashed as numbers: six times as fast, and nothing is copied but
    those eight bytes. One text over and over, which exchange and currency of a topic are, is not hashed at all.
    """
    if all_alike(column[:: 1 + len(column) // _SAMPLES]) and all_alike(column):
        return np.zeros(len(column), np.int32), column[:1]
    words = _words(column)
    if words is not None and not any(words[:, at].any() for at in range(1, words.shape[1])):
        encoded = pa.array(np.ascontiguousarray(words[:, 0])).dictionary_encode()
        distinct = np.zeros((len(encoded.dictionary), words.shape[1]), _WORD)
        distinct[:, 0] = encoded.dictionary.to_numpy()
        return encoded.indices.to_numpy(zero_copy_only=False), distinct.view(column.dtype)[:, 0]
    encoded = fixed_binary(column).dictionary_encode()
    distinct = np.frombuffer(b"".join(encoded.dictionary.to_pylist()), column.dtype)
    return encoded.indices.to_numpy(zero_copy_only=False), distinct


def all_alike(column: np.ndarray) -> bool:
    """Whether a column's fixed-width texts are all the same; False without any."""
    if not len(column):
        return False
    words = _words(column)
    if words is None:
        return bool((column == column[0]).all())
    # Word by word: numpy compares a column in one go, and rows of two words one by one.
    return all(bool((words[:, at] == words[0, at]).all()) for at in range(words.shape[1]))


def fixed_binary(column: np.ndarray) -> pa.Array:
    """A column of fixed-width bytes as Arrow's fixed-size binary."""
    data = np.ascontiguousarray(column)
    return pa.Array.from_buffers(
        pa.binary(column.dtype.itemsize), len(column), [None, pa.py_buffer(data.view(np.uint8))]
    )


def _words(column: np.ndarray) -> np.ndarray | None:
    """uint64[n, k], a view of the texts eight bytes at a time; None where they are no multiple of eight bytes."""
    if column.dtype.itemsize % _WORD.itemsize:
        return None
    return column[:, None].view(_WORD)
