"""Days of zones and venues, and bars of several of them."""

import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest

from k2ctl.domain.days import (
    DAY_US,
    UTC_DAYS,
    BarLength,
    DayNumbers,
    DayRule,
    date_of,
    day_rule,
    days_between,
)
from k2ctl.errors import UsageError

SYDNEY = DayRule("Australia/Sydney")
XASX = DayRule(session="XASX")


def us(text: str) -> int:
    """A time, UTC unless it says otherwise."""
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e6)


def day(rule: DayRule, text: str) -> str:
    return date_of(DayNumbers(rule).of(np.array([us(text)]))[0])


def bar(rule: DayRule, length: str, text: str) -> tuple[str, int]:
    """The date of the bar that a time belongs to, and when it starts."""
    found = BarLength.parse(length).bars(rule, us(text), us(text))
    place = found.places(np.array([us(text)]))[0]
    return date_of(found.number[place]), int(found.start_us[place])


def hours(rule: DayRule, text: str) -> float:
    """How long the day of a time is."""
    found = days_between(rule, us(text), us(text))
    place = found.places(np.array([us(text)]))[0]
    return float(found.begin_us[place + 1] - found.begin_us[place]) / 3.6e9


def test_a_day_of_sydney_begins_at_its_midnight() -> None:
    assert day(SYDNEY, "2014-03-10T12:59:59.999999") == "2014-03-10"
    assert day(SYDNEY, "2014-03-10T13:00:00") == "2014-03-11"


def test_the_days_on_which_sydneys_clock_changes_have_25_and_23_hours() -> None:
    assert hours(SYDNEY, "2014-04-06T12:00+10:00") == 25
    assert hours(SYDNEY, "2014-10-05T12:00+11:00") == 23
    assert day(SYDNEY, "2014-04-06T13:30") == "2014-04-06"  # 23:30, after the clock went back
    assert day(SYDNEY, "2014-10-05T13:00") == "2014-10-06"


def test_a_midnight_that_a_zone_passes_over_is_the_moment_of_the_change() -> None:
    zone = DayRule("America/Sao_Paulo")  # 2018-11-04 began at one o'clock
    assert day(zone, "2018-11-04T02:59:59") == "2018-11-03"
    assert day(zone, "2018-11-04T03:00:00") == "2018-11-04"
    assert hours(zone, "2018-11-04T12:00") == 23


def test_a_date_that_a_zone_has_left_out_has_no_day() -> None:
    zone = DayRule("Pacific/Apia")
    assert day(zone, "2011-12-30T09:59:59") == "2011-12-29"
    assert day(zone, "2011-12-30T10:00:00") == "2011-12-31"


def test_a_trading_day_starts_when_its_venue_opens_and_holds_the_prints_before_and_after() -> None:
    found = days_between(XASX, us("2014-03-10"), us("2014-03-10"))
    for text in ("2014-03-10T07:00+11:00", "2014-03-10T16:10+11:00", "2014-03-10T23:59+11:00"):
        place = found.places(np.array([us(text)]))[0]
        assert date_of(found.number[place]) == "2014-03-10"
        assert found.start_us[place] == us("2014-03-10T10:00+11:00")


def test_a_print_of_the_weekend_or_a_holiday_belongs_to_the_next_trading_day() -> None:
    assert day(XASX, "2014-03-15T11:00+11:00") == "2014-03-17"
    assert day(XASX, "2013-12-25T11:00+11:00") == day(XASX, "2013-12-26T11:00+11:00") == "2013-12-27"


def test_a_print_after_an_early_close_belongs_to_the_day_that_closed_early() -> None:
    assert day(XASX, "2013-12-24T14:00+11:00") == "2013-12-24"
    assert day(XASX, "2013-12-24T15:30+11:00") == "2013-12-24"  # it closed at 14:10
    assert day(DayRule(session="XNYS"), "2024-11-29T13:30-05:00") == "2024-11-29"  # it closed at 13:00


def test_a_trading_day_that_begins_in_the_evening_has_the_date_of_the_next_day() -> None:
    globex = DayRule(session="CMES")
    assert day(globex, "2024-01-09T16:59-06:00") == "2024-01-09"
    assert day(globex, "2024-01-09T17:01-06:00") == "2024-01-10"
    assert day(globex, "2024-01-07T17:01-06:00") == "2024-01-08"  # Sunday


def test_before_a_calendar_begins_its_days_are_those_of_the_zone() -> None:
    tokyo = DayRule(session="XTKS")  # known from 1997 on
    assert day(tokyo, "1996-07-06T12:00+09:00") == "1996-07-06"  # a Saturday
    assert day(tokyo, "1997-07-05T12:00+09:00") == "1997-07-07"
    found = days_between(tokyo, us("1996-11-01"), us("1997-03-01"))
    assert (np.diff(found.begin_us) > 0).all()


@pytest.mark.parametrize("rule", [UTC_DAYS, SYDNEY, XASX, DayRule(session="CMES")])
def test_every_time_belongs_to_one_day_and_days_follow_each_other(rule: DayRule) -> None:
    found = days_between(rule, us("2010-01-01"), us("2020-01-01"))
    assert (np.diff(found.begin_us) > 0).all()
    assert (np.diff(found.number) > 0).all()
    assert (found.start_us[:-1] < found.begin_us[1:]).all()
    assert (found.begin_us <= found.start_us).all()


def test_weeks_begin_on_monday_and_months_on_their_first_day() -> None:
    assert bar(UTC_DAYS, "1w", "2014-03-16T23:59") == ("2014-03-10", us("2014-03-10"))
    assert bar(SYDNEY, "1w", "2014-03-16T13:00") == ("2014-03-17", us("2014-03-17T00:00+11:00"))
    assert bar(SYDNEY, "1mo", "2014-04-30T12:00+10:00") == ("2014-04-01", us("2014-04-01T00:00+11:00"))
    assert bar(UTC_DAYS, "3mo", "2014-06-30") == ("2014-04-01", us("2014-04-01"))


def test_weeks_and_months_of_a_venue_begin_with_their_first_trading_day() -> None:
    assert bar(XASX, "1w", "2014-04-24T12:00+10:00") == ("2014-04-22", us("2014-04-22T10:00+10:00"))  # after Easter
    assert bar(XASX, "1mo", "2014-01-31T12:00+11:00") == ("2014-01-02", us("2014-01-02T10:00+11:00"))


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("1m", BarLength(us=60_000_000)),
        ("300", BarLength(us=300_000_000)),
        ("0.5s", BarLength(us=500_000)),
        ("24h", BarLength(days=1)),
        ("36h", BarLength(us=129_600_000_000)),
        ("2d", BarLength(days=2)),
        ("1w", BarLength(weeks=1)),
        ("3mo", BarLength(months=3)),
    ],
)
def test_lengths_are_read_in_the_units_that_people_use(text: str, length: BarLength) -> None:
    assert BarLength.parse(text) == length


@pytest.mark.parametrize("text", ["", "0", "0d", "1µs", "0.1ms", "1y", "-1m", "1.5w", "0mo", "9999999d", "１m", "1 m"])
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        BarLength.parse(text)


@pytest.mark.parametrize("zone", ["", "Sydney", "Australia", "../../etc/passwd", "\0", "x" * 5000, "/etc/localtime"])
def test_a_zone_that_does_not_exist_is_refused(zone: str) -> None:
    with pytest.raises(UsageError, match="There is no time zone"):
        day_rule(zone, None)


def test_a_calendar_that_does_not_exist_is_refused() -> None:
    for session in ("", "NOPE"):
        with pytest.raises(UsageError, match="There is no calendar of sessions"):
            day_rule(None, session)


def test_a_zone_and_a_session_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        day_rule("UTC", "XASX")


def test_days_of_utc_are_plain_division_before_1970_too() -> None:
    assert DayNumbers().of(np.array([-1, 0, DAY_US - 1, DAY_US])).tolist() == [-1, 0, 0, 1]


def test_arrow_imports_no_pandas_and_calendars_have_it_nevertheless() -> None:
    code = (
        "import sys, pyarrow as pa; from k2ctl.domain import rows; pa.array(['x']); print('pandas' in sys.modules);"
        "from k2ctl.domain.days import day_rule; day_rule(None, 'XASX'); import exchange_calendars as c;"
        "print(len(c.get_calendar('XASX', start='2026-01-01', end='2026-01-31').sessions))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False", "20"]
