"""The moment of a trade, from one column or from a day and a clock."""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from k2ctl.feeds.guess.columns import SampleColumn, unit_of
from k2ctl.feeds.guess.names import USUAL, usual
from k2ctl.feeds.guess.naming import Naming

_DAYS: Final = ("%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y.%m.%d", "%d-%m-%Y")
_BETWEEN: Final = (" ", "T", "-", "D", ":")
_CLOCKS: Final = ("%H:%M:%S", "%H:%M:%S.%f", "%H:%M", "%I:%M:%S %p")
_FINEST: Final = re.compile(r"(\.\d{6})\d+")
_COMPACT: Final = re.compile(r"\d{6}(\d{3}|\d{6}|\d{9})?")
_PADDED: Final = re.compile(r"\d{2}:\d{2}:")
_MICROS: Final = 6
_LOOKED_AT: Final = 200


@dataclass(frozen=True)
class Moment:
    """A time as an expression."""

    columns: tuple[SampleColumn, ...]
    expression: str
    # Whether the source has to say in which zone.
    needs_zone: bool = False
    why: str = ""
    # Whether its day is in the file's name, as `day`.
    day_in_name: bool = False


def moment_of(columns: list[SampleColumn], naming: Naming, *, dated: bool = False) -> Moment | None:
    """The best time of a trade; None where nothing is one. dated: the file's name says a day."""
    whole = usual("timestamp", columns, lambda column: column.is_instant or column.kind.startswith("TIMESTAMP"))
    if whole is not None:
        return _whole(whole, naming)
    found = _day_and_clock(columns, naming) or _formatted(columns, naming)
    if found is None and dated:
        found = _clock_alone(columns, naming)
    return found or _by_values(columns, naming)


def _whole(column: SampleColumn, naming: Naming) -> Moment:
    if column.kind.startswith("TIMESTAMP"):
        return Moment((column,), naming.expression(column, "time"), why=f"{column.kind} is UTC")
    zoneless = column.is_iso and not column.has_offset
    why = ""
    if column.is_epoch:
        units = {unit_of(value) for value in column.present}
        why = f"since 1970 in {' and '.join(sorted(str(unit) for unit in units))}"
    name = naming.expression(column, "time")
    commas = any("," in value for value in column.present)
    return Moment((column,), f"replace({name}, ',', '.')" if commas else name, zoneless, why)


def _day_and_clock(columns: list[SampleColumn], naming: Naming) -> Moment | None:
    clock = usual("clock", columns, lambda column: column.is_clock or column.every(_COMPACT.fullmatch))
    day = usual("day", columns, lambda column: column.is_day and column is not clock)
    if day is None or clock is None:
        days, clocks = [c for c in columns if c.is_day], [c for c in columns if c.is_clock]
        if len(days) != 1 or len(clocks) != 1:
            return None
        day, clock = days[0], clocks[0]
    formats = [text for text in _DAYS if day.every(partial(_reads, pattern=text))]
    if not formats:
        return None
    date, time = naming.expression(day, "day"), naming.expression(clock, "clock")
    if formats[0] != "%Y-%m-%d":
        date = f"strftime(strptime({date}, '{formats[0]}'), '%Y-%m-%d')"
    text = f"{date} || 'T' || {_padded(clock, time)}" if clock.is_clock else f"at_clock({date}, hhmmss({time}))"
    return Moment((day, clock), text, True, _ambiguous(formats))


def _padded(clock: SampleColumn, time: str) -> str:
    """A clock as ISO has it: hours of two digits, and seconds."""
    return time if clock.every(_PADDED.match) else f"CAST(CAST({time} AS TIME_NS) AS VARCHAR)"


def _clock_alone(columns: list[SampleColumn], naming: Naming) -> Moment | None:
    """Of files that are each of one day, which their names say."""
    clock = usual("clock", columns, lambda column: column.is_clock or column.every(_COMPACT.fullmatch))
    if clock is None:
        return None
    time = naming.expression(clock, "clock")
    if clock.is_clock:
        time = f"replace(replace(CAST(CAST({time} AS TIME_NS) AS VARCHAR), ':', ''), '.', '')"
    return Moment((clock,), f"at_clock(day, hhmmss({time}))", True, "the day is from the file's name", True)


def _formatted(columns: list[SampleColumn], naming: Naming) -> Moment | None:
    """Of a column whose times are written in none of the usual ways."""
    for column in columns:
        if column.key not in USUAL["timestamp"] or not column.present or column.is_list:
            continue
        formats = [f"{day}{between}{clock}" for day in _DAYS for between in _BETWEEN for clock in _CLOCKS]
        fit = [text for text in formats if all(_reads(value, text) for value in column.present[:_LOOKED_AT])]
        if fit:
            finest = max(len(value.rpartition(".")[2]) for value in column.present)
            pattern = fit[0].replace("%f", "%n") if finest > _MICROS else fit[0]
            why = _ambiguous([text[:8] for text in fit])
            return Moment((column,), f"strptime({naming.expression(column, 'time')}, '{pattern}')", True, why)
    return None


def _by_values(columns: list[SampleColumn], naming: Naming) -> Moment | None:
    instants = [column for column in columns if column.is_iso or column.kind.startswith("TIMESTAMP")]
    instants += sorted((c for c in columns if c.is_epoch), key=lambda column: -len(column.present[0].partition(".")[0]))
    return _whole(instants[0], naming) if instants else None


def _reads(value: str, pattern: str) -> bool:
    try:
        datetime.strptime(_FINEST.sub(r"\1", value.strip()), pattern)
    except ValueError:
        return False
    return True


def _ambiguous(formats: list[str]) -> str:
    both = {text for text in formats if text.startswith(("%m/%d", "%d/%m"))}
    return "day and month could be the other way round" if len(both) > 1 else ""
