"""The texts of types that no trade has and SQL can compute: each exact, at a Python step per value.

Times are ISO 8601 with as many digits as their unit; a year of more than four digits has a sign, as has one before the
year 0, which is 1 BC. Intervals are ISO 8601 durations. Bytes are hexadecimal digits. Floating-point numbers have the
fewest digits that lead back to them.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_UNITS: Final = {"s": 0, "ms": 3, "us": 6, "ns": 9}
"""A unit of time → its digits behind the second."""
_YEAR_DIGITS: Final = 4


def texts_of(array: pa.Array) -> pa.Array | None:
    """Each value as text, null where there is none; None of a type that is made of others."""
    for test, texts in _TEXTS:
        if test(array.type):
            made = texts(array)
            return made if isinstance(made, pa.Array) else pa.array(made, pa.string())
    return None


def _each(text: Callable[[Any], str]) -> Callable[[pa.Array], list[str | None]]:
    """One text for every value that is there."""
    return lambda array: [None if value is None else text(value) for value in array.to_pylist()]


def _decimal(value: Decimal) -> str:
    """Every digit that counts; Decimal's own `normalize` rounds to 28."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _floating(array: pa.Array) -> list[str | None]:
    """As Python writes them, the narrower ones with the fewer digits that they need; `NaN`, `Infinity`."""
    narrow = {16: np.float16, 32: np.float32}.get(array.type.bit_width, float)
    values = array.to_pylist()
    return [None if value is None else _NOT_FINITE.get(str(value)) or str(narrow(value)) for value in values]


_NOT_FINITE: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _moments(array: pa.Array) -> pa.Array:
    """Timestamps and dates; `Z` behind those that are in UTC. The outermost numbers are DuckDB's infinities."""
    kind = array.type
    unit = "D" if pa.types.is_date32(kind) else kind.unit
    words = pa.int32() if unit == "D" else pa.int64()
    numbers = array.view(words).fill_null(0).to_numpy()
    outermost = np.iinfo(numbers.dtype).max
    endless = np.abs(numbers) == outermost
    finite = np.where(endless, 0, numbers).astype(np.int64).astype(f"datetime64[{unit}]")
    zone = "Z" if pa.types.is_timestamp(kind) and kind.tz else ""
    texts = [_signed(text) + zone for text in np.datetime_as_string(finite).tolist()]
    for at in np.flatnonzero(endless).tolist():
        texts[at] = "infinity" if numbers[at] > 0 else "-infinity"
    return pc.if_else(array.is_valid(), pa.array(texts, pa.string()), pa.scalar(None, pa.string()))


def _signed(text: str) -> str:
    """A year of more than four digits, or before the year 0, with a sign and at least four digits."""
    year, hyphen, rest = text.removeprefix("-").partition("-")
    sign = "-" if text[0] == "-" else "+" if len(year) > _YEAR_DIGITS else ""
    return f"{sign}{year:0>{_YEAR_DIGITS}}{hyphen}{rest}"


def _clock_times(array: pa.Array) -> list[str | None]:
    """`23:59:59.999999`; the end of a day is `24:00:00`, which Python's times do not have."""
    digits = _UNITS[array.type.unit]
    numbers = array.view(pa.int32() if array.type.bit_width == 32 else pa.int64()).to_pylist()
    return [None if number is None else _clock_time(number, digits) for number in numbers]


def _clock_time(number: int, digits: int) -> str:
    seconds, fraction = divmod(number, 10**digits)
    behind = f".{fraction:0{digits}}" if digits else ""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{behind}"


def _interval(value: Any) -> str:
    """`P1Y2M3DT4H5M6.789S`; each part has its own sign, for a month is no number of days."""
    months, days, nanoseconds = value
    (seconds, fraction), sign = divmod(abs(nanoseconds), 10**9), _sign(nanoseconds)
    dated = _part(months, 12, "Y") + _part(abs(months) % 12 * _sign(months), 1, "M") + _part(days, 1, "D")
    clock = _part(seconds * sign, 3600, "H") + _part(seconds // 60 % 60 * sign, 1, "M")
    if seconds % 60 or fraction:
        behind = f".{fraction:09}".rstrip("0").rstrip(".")
        clock += f"{'-' if sign < 0 else ''}{seconds % 60}{behind}S"
    return f"P{dated}{'T' if clock else ''}{clock}" if dated or clock else "PT0S"


def _part(number: int, unit: int, suffix: str) -> str:
    """So many whole units; nothing for none."""
    count = abs(number) // unit * _sign(number)
    return f"{count}{suffix}" if count else ""


def _sign(number: int) -> int:
    return -1 if number < 0 else 1


def _as_arrow_writes(array: pa.Array) -> pa.Array:
    return array.cast(pa.string())


_TEXTS: Final[list[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], Any]]]] = [
    (pa.types.is_null, _as_arrow_writes),
    (pa.types.is_boolean, _as_arrow_writes),
    (pa.types.is_integer, _as_arrow_writes),
    (pa.types.is_large_string, _as_arrow_writes),
    (pa.types.is_string_view, _as_arrow_writes),
    (pa.types.is_floating, _floating),
    (pa.types.is_decimal, _each(_decimal)),
    (pa.types.is_timestamp, _moments),
    (pa.types.is_date32, _moments),
    (pa.types.is_time, _clock_times),
    (pa.types.is_interval, _each(_interval)),
    (pa.types.is_binary, _each(bytes.hex)),
    (pa.types.is_large_binary, _each(bytes.hex)),
    (pa.types.is_binary_view, _each(bytes.hex)),
    (pa.types.is_fixed_size_binary, _each(bytes.hex)),
]
