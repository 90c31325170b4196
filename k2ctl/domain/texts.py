"""Columns of short fixed-width texts: distinguished by hashing, so that work is done once per distinct text.

And the text of a time.
"""

import sys
from datetime import UTC, datetime
from typing import NamedTuple

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

WORD = np.dtype(np.uint64)
_SAMPLES = 64


def instant_text(nanoseconds: int | np.integer) -> str:
    """A time since the Unix epoch as ISO 8601 in UTC, with 0, 6 or 9 digits of a second: as many as it needs."""
    seconds, fraction = divmod(int(nanoseconds), 1_000_000_000)
    digits = f".{fraction:09d}" if fraction % 1000 else f".{fraction // 1000:06d}" if fraction else ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{digits}Z"


class Texts(NamedTuple):
    """n fixed-width texts, word by word: uint64[k, n], and their dtype."""

    words: np.ndarray
    kind: np.dtype

    def whole(self) -> np.ndarray:
        """The texts themselves."""
        return np.ascontiguousarray(self.words.T).view(self.kind)[:, 0]


def codes_of(column: np.ndarray | Texts) -> tuple[np.ndarray, np.ndarray]:
    """Fixed-width texts as (int32[n] codes, array of the distinct texts), by hashing rather than sorting.

    Texts of up to eight bytes, which symbols are, are hashed as numbers: six times as fast, and nothing is copied but
    those eight bytes. One text over and over, which exchange and currency of a topic are, is not hashed at all.
    """
    texts = column if isinstance(column, Texts) else _texts_of(column)
    if texts is None:
        return _hashed(np.asarray(column))
    words, count = texts.words, texts.words.shape[1]
    if (count <= _SAMPLES or _alike(words[:, :: count // _SAMPLES])) and _alike(words):
        return np.zeros(count, np.int32), Texts(words[:, :1], texts.kind).whole()
    if any(word.any() for word in words[1:]):
        return _hashed(texts.whole())
    encoded = pa.array(np.ascontiguousarray(words[0])).dictionary_encode()
    distinct = np.zeros((len(words), len(encoded.dictionary)), WORD)
    distinct[0] = encoded.dictionary.to_numpy()
    return encoded.indices.to_numpy(zero_copy_only=False), Texts(distinct, texts.kind).whole()


def _hashed(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    encoded = fixed_binary(column).dictionary_encode()
    distinct = np.frombuffer(b"".join(encoded.dictionary.to_pylist()), column.dtype)
    return encoded.indices.to_numpy(zero_copy_only=False), distinct


def all_alike(column: np.ndarray) -> bool:
    """Whether a column's fixed-width texts are all the same; False without any."""
    texts = _texts_of(column)
    return _alike(texts.words) if texts is not None else bool(len(column) and (column == column[0]).all())


def _alike(words: np.ndarray) -> bool:
    """Of uint64[k, n]. Many are compared word by word: numpy takes a column in one go, but rows of two words singly."""
    if words.shape[1] <= _SAMPLES:
        return bool(words.shape[1] and (words == words[:, :1]).all())
    return all(bool((word == word[0]).all()) for word in words)


def fixed_binary(column: np.ndarray) -> pa.Array:
    """A column of fixed-width bytes as Arrow's fixed-size binary."""
    data = np.ascontiguousarray(column)
    return pa.Array.from_buffers(
        pa.binary(column.dtype.itemsize), len(column), [None, pa.py_buffer(data.view(np.uint8))]
    )


def _texts_of(column: np.ndarray) -> Texts | None:
    """A view of the texts; None where they are of no multiple of eight bytes."""
    if column.dtype.itemsize % WORD.itemsize:
        return None
    return Texts(column[:, None].view(WORD).T, column.dtype)
