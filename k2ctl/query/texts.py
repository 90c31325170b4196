"""Columns as the texts that people and scripts read: exact decimals, ISO times in UTC, canonical uuids.

Times are ISO 8601 with as many digits as their unit, of trades with nine where six do not say all, see
`with_nanoseconds`; a year of more than four digits has a sign, as has one before the
year 0, which is 1 BC. Intervals are ISO 8601 durations. Bytes are hexadecimal digits. Floating-point numbers have the
fewest digits that lead back to them. What has no text of its own (lists, structs, maps) is JSON, see `formats`.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
_UUID_DIGITS: Final = [at for at in range(36) if at not in {8, 13, 18, 23}]
_TIME_WIDTH: Final = len("2026-11-25 10:00:00.000000")


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    array = column.combine_chunks()
    return array.chunk(0) if isinstance(array, pa.ChunkedArray) else array


def texts_of(array: pa.Array) -> pa.Array | None:
    """Each value of a type that is not made of others as text, null where there is none; None of other types."""
    kind = array.type
    if pa.types.is_string(kind):
        return array
    if isinstance(array, pa.DictionaryArray):
        return _looked_up(array)
    if isinstance(array, pa.UuidArray):
        return _uuids(array)
    if isinstance(array, pa.ExtensionArray):
        return texts_of(array.storage)
    if pa.types.is_decimal128(kind) and kind.scale >= 0:
        return _decimals(array)
    if pa.types.is_timestamp(kind) and kind.unit == "us" and kind.tz:
        return _times(array)
    if kind == INSTANT_NS:
        return _times_in_nanoseconds(array)
    return _rare_texts(array)


def _looked_up(array: pa.DictionaryArray) -> pa.Array | None:
    """Each distinct value is made a text once."""
    distinct = texts_of(array.dictionary)
    return None if distinct is None else distinct.take(array.indices)


def _uuids(array: pa.UuidArray) -> pa.Array:
    ids = np.frombuffer(array.storage.buffers()[1], np.uint8)[array.offset * 16 :].reshape(-1, 16)[: len(array)]
    digits = np.stack([ids >> 4, ids & 15], axis=2).reshape(-1, 32)
    texts = np.full((len(array), 36), ord("-"), np.uint8)
    texts[:, _UUID_DIGITS] = _HEX[digits]
    return _of_one_width(texts, array)


def _times(array: pa.Array) -> pa.Array:
    """ISO 8601. Arrow's own text lacks the T and the Z, and its `strftime` takes ten times as long."""
    texts = array.cast(pa.timestamp("us")).cast(pa.string())
    start, end = np.frombuffer(texts.buffers()[1], np.int32)[[0, len(texts)]] if len(texts) else (0, 0)
    if texts.null_count or end - start != _TIME_WIDTH * len(texts):  # not four digits of a year
        return _rare_texts(array)
    made = np.empty((len(texts), _TIME_WIDTH + 1), np.uint8)
    made[:, :-1] = np.frombuffer(texts.buffers()[2], np.uint8)[start:end].reshape(-1, _TIME_WIDTH)
    made[:, 10], made[:, -1] = ord("T"), ord("Z")
    return _of_one_width(made, array)


def _times_in_nanoseconds(array: pa.Array) -> pa.Array:
    """Nine digits where six do not say all."""
    numbers = array.cast(pa.int64())
    microseconds = pc.divide(numbers.fill_null(0), 1000)  # none is before 1970
    nanos = pc.subtract(numbers.fill_null(0), pc.multiply(microseconds, 1000))
    texts = _times(pc.if_else(array.is_valid(), microseconds, None).cast(pa.timestamp("us", "UTC")))
    digits = pc.utf8_lpad(nanos.cast(pa.string()), 3, "0")
    finer = pc.binary_join_element_wise(pc.utf8_rtrim(texts, "Z"), digits, "Z", "")
    return pc.if_else(pc.equal(nanos, 0), texts, finer)


INSTANT_NS: Final = pa.timestamp("ns", "UTC")
_NANOS: Final = "_nanos"


def with_nanoseconds(rows: pa.Table) -> pa.Table:
    """Rows with each time as one column, where the table has microseconds and the nanoseconds beyond them."""
    for name in [name for name in rows.schema.names if f"{name}{_NANOS}" in rows.schema.names]:
        nanos = rows[f"{name}{_NANOS}"]
        if pc.any(pc.not_equal(nanos, 0)).as_py():
            whole = pc.multiply(rows[name].cast(pa.int64()), 1000)
            exact = pc.add(whole, nanos.cast(pa.int64())).cast(INSTANT_NS)
            rows = rows.set_column(rows.schema.get_field_index(name), name, exact)
        rows = rows.drop_columns(f"{name}{_NANOS}")
    return rows


def _of_one_width(texts: np.ndarray, like: pa.Array) -> pa.Array:
    """ASCII, uint8[n, width], as an array that is null where another one is."""
    count, width = texts.shape
    ends = np.arange(count + 1, dtype=np.int32) * width
    made = pa.Array.from_buffers(pa.string(), count, [None, pa.py_buffer(ends), pa.py_buffer(texts)])
    return made if not like.null_count else pc.if_else(like.is_valid(), made, pa.scalar(None, pa.string()))


def _decimals(array: pa.Array) -> pa.Array:
    """Every digit that counts and no exponent: `45.12`, `100`, `-0.00000001`."""
    texts = array.cast(pa.string())
    if array.type.scale > 0:
        texts = pc.utf8_rtrim(pc.utf8_rtrim(texts, "0"), ".")
    small = pc.fill_null(pc.match_substring(texts, "E"), False)
    if not pc.any(small).as_py():
        return texts
    # Arrow writes what is below a millionth with an exponent, and zero too.
    return pc.replace_with_mask(texts, small, _rare_texts(array.filter(small)))


_UNITS: Final = {"s": 0, "ms": 3, "us": 6, "ns": 9}
"""A unit of time → its digits behind the second."""
_YEAR_DIGITS: Final = 4


def _rare_texts(array: pa.Array) -> pa.Array | None:
    """The texts of types that no trade has and SQL can compute, at a Python step per value."""
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
