"""Days, and bars of so many of them: of UTC, of a time zone, or the trading days of a venue's calendar.

A day of a zone begins at its midnight, and has 23 or 25 hours where the clock changes. A trading day begins at the
midnight of its venue that follows the day before it, or when it opens, if no midnight lies between the two, as where
trading begins in the evening. So every time belongs to one day: what is printed on a weekend belongs to Monday, and
what is printed after an early close to the day that closed early.
"""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from k2ctl.errors import UsageError

DAY_US: Final = 86_400_000_000
_MARGIN_DAYS: Final = 40
"""Longer than a venue was ever closed."""
_EPOCH: Final = date(1970, 1, 1)
_MONDAY: Final = 3
"""1970-01-01 was a Thursday: so many days after a Monday."""


@dataclass(frozen=True)
class DayRule:
    """Whose days they are. session: a calendar of exchange-calendars, which goes before the zone."""

    zone: str = "UTC"
    session: str = ""

    @property
    def is_utc(self) -> bool:
        return not self.session and self.zone == "UTC"


UTC_DAYS: Final = DayRule()


@dataclass(frozen=True)
class Days:
    """n days in their order, without a hole between them."""

    # int64[n]: µs UTC from which on times belong to the day.
    begin_us: np.ndarray
    # int64[n]: µs UTC of its midnight, or of its opening if it is a trading day.
    start_us: np.ndarray
    # int64[n]: its date, as days since 1970-01-01.
    number: np.ndarray

    def places(self, times_us: np.ndarray) -> np.ndarray:
        """int64[k]: the place of each time's day. The times are within these days."""
        return np.asarray(np.searchsorted(self.begin_us, times_us, side="right") - 1)


_LENGTH: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)(ms|s|m|h|d|w|mo|)", re.ASCII)
_UNIT_US: Final = {"ms": 1000, "": 1_000_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": DAY_US}
_LONGEST_US: Final = 36_525 * DAY_US


@dataclass(frozen=True)
class BarLength:
    """How long a bar is: exactly one of the four is not zero."""

    # Shorter than a day, or no whole number of days.
    us: int = 0
    # Counted from 1970-01-01.
    days: int = 0
    # From Monday on.
    weeks: int = 0
    # From January on.
    months: int = 0

    @classmethod
    def parse(cls, text: str) -> "BarLength":
        """`1m`, `300` (seconds), `1d`, `1w`, `1mo`.

        Raises:
            UsageError: it is no length, shorter than a millisecond or longer than a hundred years.
        """
        match = _LENGTH.fullmatch(text.strip())
        if match is None:
            raise UsageError(f"'{text[:40]}' is not the length of a bar.", "Write 1m, 2h, 1d, 1w or 1mo.")
        number, unit = match.groups()
        if unit in ("w", "mo"):
            count = int(number) if number.isdigit() else 0
            if not 1 <= count <= 1200:
                raise UsageError(f"'{text[:40]}' is not a number of weeks or months.", "Write 1w or 3mo.")
            return cls(weeks=count) if unit == "w" else cls(months=count)
        length_us = round(float(number) * _UNIT_US[unit])
        if length_us < 1000:
            raise UsageError("A bar is at least one millisecond long.", "For instance: --bar 1m")
        if length_us > _LONGEST_US:
            raise UsageError(f"'{text[:40]}' is longer than a hundred years.", "For instance: --bar 1mo")
        return cls(us=length_us) if length_us % DAY_US else cls(days=length_us // DAY_US)

    @property
    def at_least_us(self) -> int:
        """No bar is shorter, but for a day on which the clock changes."""
        return self.us or (self.days + 7 * self.weeks + 28 * self.months) * DAY_US

    @property
    def fixed_us(self) -> int:
        """Its length where a day has 24 hours; 0 for weeks and months."""
        return self.us or self.days * DAY_US

    @property
    def _days_at_most(self) -> int:
        return self.days + 7 * self.weeks + 31 * self.months

    def of_days(self, days: Days) -> np.ndarray:
        """int64[n]: a number for each day, alike for the days of one bar."""
        if self.months:
            months = days.number.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
            return np.asarray(months // self.months)
        if self.weeks:
            return np.asarray((days.number + _MONDAY) // 7 // self.weeks)
        return np.asarray(days.number // max(1, self.days))

    def bars(self, rule: DayRule, first_us: int, last_us: int) -> Days:
        """The bars of whole days from before the one of `first_us` to that of `last_us`, each under its first day."""
        days = days_between(rule, first_us - self._days_at_most * DAY_US, last_us)
        _, first = np.unique(self.of_days(days), return_index=True)
        return Days(days.begin_us[first], days.start_us[first], days.number[first])


def day_rule(zone: str | None, session: str | None) -> DayRule | None:
    """What somebody asks for; None if nothing.

    Raises:
        UsageError: both, or what does not exist.
    """
    if zone is not None and session is not None:
        raise UsageError("A zone and a session exclude each other.", "A session has the zone of its venue.")
    if zone is None and session is None:
        return None
    rule = DayRule(session=session or "?") if zone is None else DayRule(zone)
    check_days(rule)
    return rule


def check_days(rule: DayRule) -> None:
    """Refuse a zone or calendar that does not exist.

    Raises:
        UsageError: it does not.
    """
    if rule.session:
        _calendar(rule.session)
    else:
        _zone(rule.zone)


def days_between(rule: DayRule, first_us: int, last_us: int) -> Days:
    """The days from before the one of `first_us` to behind that of `last_us`.

    Raises:
        UsageError: there is no such zone or calendar.
    """
    first, last = first_us // DAY_US - _MARGIN_DAYS, last_us // DAY_US + _MARGIN_DAYS
    if rule.session:
        return _trading_days(rule.session, first, last)
    if rule.is_utc:
        number = np.arange(first, last + 1, dtype=np.int64)
        return Days(number * DAY_US, number * DAY_US, number)
    return _zone_days(_zone(rule.zone), first, last)


class DayNumbers:
    """The days of many batches of times; days are made once for a year of them."""

    def __init__(self, rule: DayRule = UTC_DAYS) -> None:
        self._rule = rule
        self._days: Days | None = None
        self._span_us = (0, -1)

    def of(self, times_us: np.ndarray) -> np.ndarray:
        """int64[n]: the day of each time, as days since 1970-01-01."""
        if self._rule.is_utc or not len(times_us):
            return np.asarray(times_us // DAY_US)
        low, high = int(times_us.min()), int(times_us.max())
        if self._days is None or low < self._span_us[0] or high > self._span_us[1]:
            self._span_us = (low - 366 * DAY_US, high + 366 * DAY_US)
            self._days = days_between(self._rule, *self._span_us)
        return np.asarray(self._days.number[self._days.places(times_us)])


def date_of(number: int) -> str:
    """`2014-03-10` of days since 1970-01-01."""
    return (_EPOCH + timedelta(days=int(number))).isoformat()


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:  # a name of no file, of a folder, with signs that none has
        hint = "Write its name in the tz database: Australia/Sydney, America/New_York"
        raise UsageError(f"There is no time zone '{name[:40]}'.", hint) from error


def _zone_days(zone: tzinfo, first: int, last: int) -> Days:
    """From midnight to midnight; a date that a zone has left out has no day."""
    number = np.arange(first, last + 1, dtype=np.int64)
    begin = np.array([_midnight_us(zone, day) for day in number.tolist()], np.int64)
    there = np.diff(begin, append=begin[-1] + 1) > 0
    return Days(begin[there], begin[there], number[there])


def _midnight_us(zone: tzinfo, number: int) -> int:
    """The midnight at which a date begins; where the clock passes over it, the moment of the change."""
    day = _EPOCH + timedelta(days=number)
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1_000_000


def _trading_days(name: str, first: int, last: int) -> Days:
    calendar = _calendar(name)
    zone = calendar.tz
    low, high = (calendar.bound_min(), calendar.bound_max())
    start = first if low is None else max(first, _number_of(low))
    end = last if high is None else min(last, _number_of(high))
    outside = _zone_days(zone, first, last)
    if end - start < _MARGIN_DAYS:
        return outside
    number, open_us, close_us = _sessions(name, start, end)
    begin = np.array([_midnight_us(zone, _local_day(zone, close) + 1) for close in close_us[:-1].tolist()], np.int64)
    begin = np.concatenate([[_midnight_us(zone, int(number[0]))], np.minimum(begin, open_us[1:])])
    begin[0] = min(begin[0], open_us[0])
    # What the calendar does not reach are days of the zone.
    before, behind = outside.begin_us < begin[0], outside.number > number[-1]
    parts = [
        (outside.begin_us[before], outside.start_us[before], outside.number[before]),
        (begin, open_us, number),
        (outside.begin_us[behind], outside.start_us[behind], outside.number[behind]),
    ]
    return Days(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _local_day(zone: tzinfo, at_us: int) -> int:
    return (datetime.fromtimestamp(at_us // 1_000_000, zone).date() - _EPOCH).days


def _number_of(moment: Any) -> int:
    return int((moment.date() - _EPOCH).days)


@lru_cache(16)
def _calendar(name: str) -> Any:
    """A calendar of the library, which is slow to import and so is imported here alone."""
    return _quietly(lambda library: library.get_calendar(name), name)


@lru_cache(16)
def _sessions(name: str, start: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the sessions between two dates: date, opening and close."""
    found = _quietly(lambda library: library.get_calendar(name, start=date_of(start), end=date_of(end)), name)
    number = found.sessions.to_numpy().astype("datetime64[D]").astype(np.int64)
    opens, closes = (column.dt.tz_convert(None).to_numpy() for column in (found.opens, found.closes))
    return number, *(moments.astype("datetime64[us]").astype(np.int64) for moments in (opens, closes))


def _quietly(call: Callable[[Any], Any], name: str) -> Any:
    """Without the library's warnings, which are of its own use of pandas."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import exchange_calendars

        try:
            return call(exchange_calendars)
        except exchange_calendars.errors.CalendarError as error:
            hint = "Write its name in exchange-calendars: XASX, XNYS, XLON, XTKS, CMES"
            raise UsageError(f"There is no calendar of sessions '{name[:40]}'.", hint) from error
