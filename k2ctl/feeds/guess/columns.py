"""A sample's columns, and what their values could be."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

from k2ctl.domain.topics import TimeUnit

_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?|[+-]?\.\d+")
_WHOLE: Final = re.compile(r"\d{1,19}")
_LARGEST: Final = (1 << 63) - 1
_EPOCH: Final = re.compile(r"(\d{9,19})(\.\d+)?")
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d([.,]\d{1,9}0*)?(?P<offset> ?UTC|[Zz]|[+-]\d\d(:?\d\d)?)?")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}|\d{8}|\d{1,2}[/.]\d{1,2}[/.]\d{4}|\d{4}/\d{1,2}/\d{1,2}")
_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SYMBOL: Final = re.compile(r"(?=.*[^\W\d_])[\w./:#^$ -]{1,32}")

UNIT_SECONDS: Final[dict[TimeUnit, int]] = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_EARLIEST_S: Final = datetime(1990, 1, 1, tzinfo=UTC).timestamp()
_LATEST_S: Final = datetime(2100, 1, 1, tzinfo=UTC).timestamp()

SIDE_WORDS: Final = {
    "BUY": ("buy", "b", "bid", "bought", "buyer", "1", "+1"),
    "SELL": ("sell", "s", "a", "ask", "sold", "seller", "-1", "2"),
    "UNKNOWN": ("unknown", "n", "none", "0", "u", "undefined"),
}
"""What feeds write for a side, which is the aggressor's: A is SELL, who hits the bid, and B is BUY."""

_BOOLEANS: Final = {"true", "false", "t", "f"}


@dataclass(frozen=True)
class SampleColumn:
    """A column, with its values as texts; None and the empty text are missing values."""

    # As the source has it: a header, or the last key of a path.
    name: str
    values: tuple[str | None, ...]
    # Into JSON, where the source is that.
    path: str = ""
    # Of a list of values, which are joined by spaces.
    is_list: bool = False
    # As DuckDB names it.
    kind: str = "VARCHAR"
    # Of the record around the trades.
    is_around: bool = False
    # What an expression says for it, where that is not its name: a part of another column.
    sql: str = ""

    @cached_property
    def present(self) -> tuple[str, ...]:
        """The values that are there."""
        return tuple(value for value in self.values if value)

    def every(self, test: Callable[[str], object]) -> bool:
        """True if there are values, and the test holds of all."""
        return bool(self.present) and not self.is_list and all(test(value.strip()) for value in self.present)

    @cached_property
    def key(self) -> str:
        """The name without what is written in different ways: `Trade_Price` is `tradeprice`."""
        return re.sub(r"[\W_]", "", self.name).lower()

    @cached_property
    def is_number(self) -> bool:
        """True if all are decimal numbers."""
        return self.every(_NUMBER.fullmatch)

    @cached_property
    def is_positive(self) -> bool:
        """True if all are numbers, and at least one is above zero."""
        return self.is_number and any(float(value) > 0 for value in self.present)

    @cached_property
    def is_whole(self) -> bool:
        """True if all are whole numbers of 64 bits, without a sign."""
        return self.every(lambda value: _WHOLE.fullmatch(value) and int(value) <= _LARGEST)

    @cached_property
    def is_uuid(self) -> bool:
        """True if all are UUIDs."""
        return self.every(_UUID.fullmatch)

    @cached_property
    def is_instant(self) -> bool:
        """True if each is a whole moment: ISO, or since 1970 in one of the four units."""
        return self.is_iso or self.is_epoch

    @cached_property
    def is_iso(self) -> bool:
        """True if all are days with times, with or without an offset."""
        return self.every(_ISO.fullmatch)

    @cached_property
    def has_offset(self) -> bool:
        """True if all end with their offset from UTC."""
        return self.every(lambda value: (match := _ISO.fullmatch(value)) and match["offset"])

    @cached_property
    def is_epoch(self) -> bool:
        """True if all are plausible moments since 1970, in one of the four units."""
        return self.every(lambda value: unit_of(value) is not None)

    @cached_property
    def is_day(self) -> bool:
        """True if all are days."""
        return self.every(_DAY.fullmatch)

    @cached_property
    def is_clock(self) -> bool:
        """True if all are times of a day with colons."""
        return self.every(_CLOCK.fullmatch)

    @cached_property
    def is_boolean(self) -> bool:
        """True if all are true or false."""
        return self.every(lambda value: value.lower() in _BOOLEANS)

    @cached_property
    def is_side(self) -> bool:
        """True if all are words for sides."""
        return self.every(side_of) and not set(self.present) <= {"0", "1"}

    @cached_property
    def is_nameless(self) -> bool:
        """True if only the position says which column it is."""
        return re.fullmatch(r"(column_?)?\d+", self.key) is not None

    @cached_property
    def is_symbol(self) -> bool:
        """True if all could be names of instruments: they have a letter, and are short."""
        return self.every(_SYMBOL.fullmatch) and not (self.is_boolean or self.is_iso or self.is_uuid)

    @cached_property
    def is_constant(self) -> bool:
        """True if there is one value only."""
        return len(set(self.present)) == 1

    @cached_property
    def is_unique(self) -> bool:
        """True if no two values are the same, and none is missing."""
        return bool(self.values) and len(set(self.present)) == len(self.values)


def unit_of(value: str) -> TimeUnit | None:
    """The unit in which a number is a moment between 1990 and 2100; None where there is none."""
    match = _EPOCH.fullmatch(value)
    if match is None:
        return None
    number = int(match[1])
    return next((unit for unit, by in UNIT_SECONDS.items() if _EARLIEST_S <= number / by < _LATEST_S), None)


def side_of(value: str) -> str | None:
    """BUY, SELL or UNKNOWN, for a word that feeds write for it."""
    return next((side for side, words in SIDE_WORDS.items() if value.strip().lower() in words), None)
