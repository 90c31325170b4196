"""Numbers, times and UUIDs read from their texts, eight bytes of each at once, for a whole batch.

A text is read exactly or not at all: each function also says which texts it has read, and those have the one value
that any other reader gives them. What is written otherwise (signs, exponents, other offsets, more digits) is left to
others.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa

from k2ctl.domain.decimals import DECIMAL, DECIMAL_LIMIT, DECIMAL_ONE, DECIMAL_SCALE
from k2ctl.domain.texts import codes_of
from k2ctl.domain.validity import NUMBER_MOST

_WORD: Final = 8
_PADDING: Final = bytes(64)
"""Around the texts of a column, so that words before and behind them can be read."""


def _word(text: bytes) -> np.uint64:
    """Up to eight bytes as a word; the first is the lowest."""
    return np.uint64(int.from_bytes(text, "little"))


def _each(byte: int) -> np.uint64:
    return _word(bytes([byte]) * _WORD)


FIRST: Final = np.array([(1 << 8 * kept) - 1 for kept in range(_WORD + 1)], np.uint64)
"""By a number of bytes: the mask that keeps so many of a word's first bytes."""

_LAST: Final = ~FIRST[::-1]
_ZEROS: Final = _each(0x30)
_POINTS: Final = _each(ord("."))
_ONES, _SIXES, _LOW_HALVES, _HIGH_HALVES = _each(1), _each(6), _each(0x0F), _each(0xF0)
_HIGH_BITS, _LOWER_CASE = _each(0x80), _each(0x20)
_POWERS: Final = np.array([10**power for power in range(19)], np.uint64)
_LIMIT_WHOLE: Final = np.uint64(DECIMAL_LIMIT // DECIMAL_ONE)
_WHOLE_DIGITS: Final = 19
_PAIRS, _FOURS = np.uint64(0x00FF_00FF_00FF_00FF), np.uint64(0x0000_FFFF_0000_FFFF)
_SHIFT: Final = np.uint64(32)
_LOW: Final = np.uint64(0xFFFF_FFFF)
_DATE, _SECONDS, _CLOCK = 10, 19, 8
_UTC: Final = b"+00:00"
_FINEST: Final = 9
_UUID_BYTES: Final = 36
_COLONS, _ARE_COLONS = _word(b"\0\0\xff\0\0\xff\0\0"), _word(b"\0\0\x0a\0\0\x0a\0\0")
_FACTORS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


class ByteWords:
    """Bytes in which words of any length begin anywhere. They need as many before and behind what is read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.bytes = np.frombuffer(data, np.uint8)
        self._views = {1: self._view(1)}

    def _view(self, words: int) -> np.ndarray:
        size = words * _WORD
        dtype = np.dtype("<u8") if words == 1 else np.dtype(f"V{size}")
        return np.ndarray(len(self.data) - size + 1, dtype, self.data, 0, (1,))

    def word(self, at: np.ndarray) -> np.ndarray:
        """uint64[n]: the word that begins at each place."""
        step = _step_of(at)
        if step:
            return np.ndarray(len(at), "<u8", self.data, int(at[0]), (step,)).copy()
        return np.asarray(self._views[1][at])

    def words(self, at: np.ndarray, count: int) -> np.ndarray:
        """uint64[n, count]: the words that begin at each place."""
        if count not in self._views:
            self._views[count] = self._view(count)
        return np.asarray(self._views[count][at].view(np.uint64).reshape(-1, count))


def _step_of(at: np.ndarray) -> int:
    """By how much each place is behind the one before it, as in columns of UUIDs; 0 if that differs."""
    if len(at) <= _WORD or at[1] <= at[0] or at[-1] - at[0] != (at[1] - at[0]) * (len(at) - 1):
        return 0
    step = int(at[1] - at[0])
    return step if (np.diff(at) == step).all() else 0


@dataclass(frozen=True)
class PlacedTexts:
    """n texts in some bytes."""

    within: ByteWords
    start: np.ndarray
    end: np.ndarray

    @staticmethod
    def of(column: pa.Array) -> "PlacedTexts":
        """Those of a column of texts; of nulls any."""
        _, offsets, data = column.buffers()
        if not len(column):
            return PlacedTexts(ByteWords(2 * _PADDING), np.zeros(0, np.int64), np.zeros(0, np.int64))
        kind = np.int64 if pa.types.is_large_string(column.type) else np.int32
        ends = np.frombuffer(offsets, kind)[column.offset : column.offset + len(column) + 1].astype(np.int64)
        raw = b"" if data is None else memoryview(data)[ends[0] : ends[-1]]
        ends += len(_PADDING) - ends[0]
        return PlacedTexts(ByteWords(b"".join([_PADDING, raw, _PADDING])), ends[:-1], ends[1:])

    @property
    def length(self) -> np.ndarray:
        """int64[n]."""
        return np.asarray(self.end - self.start)

    def fixed(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """S[n] of the texts, and bool[n]: which are no longer than `most` bytes."""
        length = self.length
        words = max(1, -(-min(int(length.max(initial=0)), most) // _WORD))
        found = self.within.words(self.start, words).copy() if words > 1 else self.within.word(self.start)[:, None]
        for at in range(words):
            found[:, at] &= FIRST.take(length - at * _WORD, mode="clip")
        return found.view(f"S{words * _WORD}")[:, 0], length <= most

    @property
    def has_zeros(self) -> bool:
        """Whether a byte from the first text to the last is zero."""
        return bool(len(self.start)) and self.within.data.find(b"\0", int(self.start[0]), int(self.end[-1])) >= 0

    def first(self) -> bytes:
        """The first of them."""
        return self.within.data[int(self.start[0]) : int(self.end[0])]

    def are(self, text: bytes) -> np.ndarray:
        """bool[n]: which are this text of at most eight bytes."""
        found = self.within.word(self.start) & FIRST[len(text)]
        return np.asarray((found == _word(text)) & (self.length == len(text)))


def wholes(texts: PlacedTexts) -> tuple[np.ndarray, np.ndarray]:
    """uint64[n] of whole numbers up to 2^63 − 1 without leading zeros."""
    length = texts.length
    values, read = _digits(texts.within, texts.end, length, _WHOLE_DIGITS)
    read &= (length > 0) & (values <= NUMBER_MOST)
    return values, read & ((length == 1) | (texts.within.bytes[texts.start] != ord("0")))


def decimals(texts: PlacedTexts) -> tuple[np.ndarray, np.ndarray]:
    """DECIMAL[n] of decimals up to 10^15 with up to twelve places, without sign, exponent and leading zeros."""
    length, point = texts.length, _points(texts)
    whole, read = wholes(PlacedTexts(texts.within, texts.start, texts.start + point))
    places = np.maximum(length - point - 1, 0)
    part, read_ = _digits(texts.within, texts.end, places, DECIMAL_SCALE)
    read &= read_ & (whole < _LIMIT_WHOLE) & ((places > 0) | (point == length))
    part *= _POWERS[DECIMAL_SCALE - np.minimum(places, DECIMAL_SCALE)]
    return _scaled(np.where(read, whole, np.uint64(0)), part), read


def numbered_instants(texts: PlacedTexts, unit: str) -> tuple[np.ndarray, np.ndarray]:
    """int64[n] nanoseconds of whole numbers of a unit; auto goes by their size."""
    values, read = wholes(texts)
    made, fits = instants_of(values.astype(np.int64), unit)
    return made, read & fits


def instants_of(number: np.ndarray, unit: str) -> tuple[np.ndarray, np.ndarray]:
    """int64[n] nanoseconds of numbers of a unit, and bool[n]: which are no more than fit. number: int64[n], from 0."""
    factor: np.ndarray | int = _FACTORS.get(unit, 1)
    if unit == "auto":
        factor = np.select([number < 10**11, number < 10**14, number < 10**17], [10**9, 10**6, 10**3], 1)
    return number * factor, number <= NUMBER_MOST // factor


def iso_instants(texts: PlacedTexts) -> tuple[np.ndarray, np.ndarray]:
    """int64[n] nanoseconds of times in UTC as ISO 8601 has them, with up to nine digits of a second."""
    within, start, end, length = texts.within, texts.start, texts.end, texts.length
    is_zulu = within.bytes[end - 1] == ord("Z")
    read = is_zulu | (within.word(end - _WORD) >> np.uint64(16) == _word(_UTC))
    places = length - _SECONDS - np.where(is_zulu, 1, len(_UTC)) - 1
    read &= (length > _SECONDS) & ((places == -1) | ((places > 0) & (places <= _FINEST)))
    read &= (places == -1) | (within.bytes[start + _SECONDS] == ord("."))
    day, day_read = _days(within, start)
    seconds, seconds_read = _clocks(within.word(start + _DATE + 1))
    kept = FIRST.take(places, mode="clip")
    digits = (within.word(start + _SECONDS + 1) ^ _ZEROS) & kept
    ninth = np.where(places == _FINEST, within.bytes[start + _SECONDS + _FINEST] ^ ord("0"), 0)
    read &= day_read & seconds_read & _are_digits(digits) & (ninth <= _FINEST)
    fraction = _of_eight(digits).astype(np.int64) * 10 + ninth
    return (day * 86_400 + seconds) * 1_000_000_000 + fraction, read


def uuids(texts: PlacedTexts) -> tuple[np.ndarray, np.ndarray]:
    """V16[n]."""
    within, start, half = texts.within, texts.start, FIRST[4]
    second, fourth = within.word(start + 8) >> np.uint64(8), within.word(start + 19)
    third, fifth = within.word(start + 14), within.word(start + 24)
    dash, behind = np.uint64(ord("-")), np.uint64(32)
    read = (texts.length == _UUID_BYTES) & (within.bytes[start + 8] == ord("-"))
    for part in (second, third, fourth):
        read &= (part >> behind) & FIRST[1] == dash
    found = np.empty((len(start), 2), np.uint64)
    for at, (first, last) in enumerate(
        (
            (within.word(start), second & half | (third & half) << behind),
            (fourth & half | (fifth & half) << behind, within.word(start + 28)),
        )
    ):
        (high, high_read), (low, low_read) = _of_hex(first), _of_hex(last)
        found[:, at] = high | low << behind
        read &= high_read & low_read
    return found.view("V16")[:, 0], read


def _digits(within: ByteWords, end: np.ndarray, length: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """uint64[n]: the number that so many digits before `end` are, and bool[n]: which are digits, `most` at most."""
    total, read = np.zeros(len(end), np.uint64), np.asarray(length <= most)
    for at in range(-(-min(int(length.max(initial=0)), most) // _WORD)):
        kept = _LAST.take(length - at * _WORD, mode="clip")
        word = (within.word(end - (at + 1) * _WORD) ^ _ZEROS) & kept
        read &= _are_digits(word)
        total += _of_eight(word) * _POWERS[at * _WORD]
    return total, read


def _are_digits(word: np.ndarray) -> np.ndarray:
    """bool[n]: whether all bytes are 0 to 9."""
    return np.asarray((word + _SIXES | word) & _HIGH_HALVES == 0)


def _of_eight(word: np.ndarray) -> np.ndarray:
    """The number of eight digits, each a byte of 0 to 9: pairs, then fours, then all of them together."""
    pairs = word * np.uint64(10 * (1 << 8) + 1) >> np.uint64(8) & _PAIRS
    fours = pairs * np.uint64(100 * (1 << 16) + 1) >> np.uint64(16) & _FOURS
    return np.asarray(fours * np.uint64(10_000 * (1 << 32) + 1) >> np.uint64(32))


def _points(texts: PlacedTexts) -> np.ndarray:
    """int64[n]: how many bytes are before the first point, or all."""
    length = texts.length
    point = np.zeros(len(length), np.int64)
    for at in range(-(-min(int(length.max(initial=0)), 4 * _WORD) // _WORD)):
        word = texts.within.word(texts.start + at * _WORD) ^ _POINTS
        zero = (word - _ONES) & ~word & _HIGH_BITS
        # What is below the lowest bit that is set; of none all eight bytes are.
        before = np.bitwise_count((zero & (~zero + np.uint64(1))) - np.uint64(1)) >> 3
        point += np.where(point == at * _WORD, before, 0)
    return np.asarray(np.minimum(point, length))


def _scaled(whole: np.ndarray, part: np.ndarray) -> np.ndarray:
    """DECIMAL[n] of whole numbers below 2^50 and mantissas below 1."""
    made = np.zeros(len(whole), DECIMAL)
    low = whole * np.uint64(DECIMAL_ONE) + part
    if int(whole.max(initial=0)) >= NUMBER_MOST // DECIMAL_ONE:
        # By halves of a word: what is carried out of the low word.
        one_high, one_low = np.uint64(DECIMAL_ONE >> 32), np.uint64(DECIMAL_ONE & 0xFFFF_FFFF)
        lowest = (whole & _LOW) * one_low
        middle = (whole & _LOW) * one_high + (whole >> _SHIFT) * one_low + (lowest >> _SHIFT)
        made["high"] = ((whole >> _SHIFT) * one_high + (middle >> _SHIFT) + (low < part)).astype(np.int64)
    made["low"] = low
    return made


def _days(within: ByteWords, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int64[n]: days since 1970 of dates as 2026-11-30; each date is looked at once."""
    texts, _ = PlacedTexts(within, start, start + _DATE).fixed(_DATE)
    codes, distinct = codes_of(texts)
    days = np.array([_day(text) for text in distinct.tolist()] or [-1], np.int64)
    found = days[codes]
    return found, found >= 0


def _day(text: bytes) -> int:
    """Days since 1970, -1 of what is no date of the years whose nanoseconds fit."""
    try:
        day = date.fromisoformat(text.decode())
    except ValueError:
        return -1
    plain = day.isoformat().encode() == text and day < date(2262, 1, 1)
    return max(-1, (day - date(1970, 1, 1)).days) if plain else -1


def _clocks(word: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int64[n]: seconds since midnight of clocks as 11:37:24."""
    plain = word ^ _ZEROS
    read = plain & _COLONS == _ARE_COLONS
    digits = plain & ~_COLONS
    pairs = digits * np.uint64(10 * (1 << 8) + 1) >> np.uint64(8)
    hours, minutes, seconds = (pairs >> np.uint64(8 * at) & FIRST[1] for at in (0, 3, 6))
    read &= _are_digits(digits) & (hours < 24) & (minutes < 60) & (seconds < 60)
    return (hours * np.uint64(3600) + minutes * np.uint64(60) + seconds).astype(np.int64), read


def _of_hex(word: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint64[n]: the four bytes that eight hexadecimal digits are, and bool[n]: which are such digits."""
    nibbles = (word & _LOW_HALVES) + (word >> np.uint64(6) & _ONES) * np.uint64(9)
    alphabetic = nibbles + _SIXES >> np.uint64(4) & _ONES
    read = nibbles + _ZEROS + alphabetic * np.uint64(ord("a") - ord("0") - 10) == word | _LOWER_CASE
    read &= nibbles & _HIGH_HALVES == 0
    both = nibbles * np.uint64((1 << 12) + 1) >> np.uint64(8) & _PAIRS
    both = (both | both >> np.uint64(8)) & _FOURS
    return (both | both >> np.uint64(16)) & _LOW, np.asarray(read)
