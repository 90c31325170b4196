"""Counts, durations and times as people write them, and options that would be ignored."""

from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from k2ctl.cli import main
from k2ctl.commands.answers import as_of, time_of
from k2ctl.commands.replaying import speed_of
from k2ctl.errors import UsageError
from k2ctl.options import parse_count, parse_duration, parse_span


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("500000", 500_000),
        ("500k", 500_000),
        ("1M", 10**6),
        ("1.001k", 1_001),
        ("1,000_000", 10**6),
        ("2.5 G", 25 * 10**8),
        ("1e7", 10**7),
        ("1.5E6", 1_500_000),
        ("1e+3", 1_000),
    ],
)
def test_a_count_is_exact(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["many", "-1", "1.5", "1.0001k", "1e-3", "1.55e1", "1e9999", "1e3k", "9" * 400])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_count(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("90s", 90),
        ("15m", 900),
        ("2h", 7200),
        ("1.5d", 129_600),
        ("2w", 1_209_600),
        ("1m30s", 90),
        ("1h 30m", 5400),
        ("15 min", 900),
        ("2 hours 5 minutes", 7500),
    ],
)
@pytest.mark.parametrize("parse", [parse_duration, parse_span])
def test_a_duration_has_its_unit(parse: Callable[[str], float], text: str, seconds: float) -> None:
    assert parse(text) == seconds


@pytest.mark.parametrize(
    "text", ["soon", "-5m", "5 fortnights", "1e3", "15M", "30s1m", "1m1m", "m", "٣m", "99999d", "9" * 400]
)
@pytest.mark.parametrize("parse", [parse_duration, parse_span])
def test_what_is_no_duration_is_refused(parse: Callable[[str], float], text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse(text)


def test_how_long_may_be_seconds_and_how_far_back_needs_a_unit() -> None:
    assert parse_duration("300") == 300
    assert parse_span("0") == 0
    with pytest.raises(typer.BadParameter, match="'15' has no unit; write 15m, 15s or 15h"):
        parse_span("15")


def test_a_time_is_utc_unless_it_says_otherwise() -> None:
    assert time_of("1970-01-02") == 86_400_000_000
    assert time_of("1970-01-01T10:00:00.000001+10:00") == 1


@pytest.mark.parametrize("text", ["yesterday", "0001-01-01T00:00:00+14:00", "1969-12-31", "2262-01-01"])
def test_a_time_that_no_timestamp_holds_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        time_of(text)


@pytest.mark.parametrize("text", ["9" * 5000, "9" * 20, "٣" * 12, "nan"])
def test_what_is_neither_a_snapshot_nor_a_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        as_of(text)


@pytest.mark.parametrize("text", ["nan", "nanx", "inf", "1e400", "-1x", "0x", "", "9" * 5000])
def test_a_speed_is_a_number_above_zero(text: str) -> None:
    with pytest.raises(UsageError, match="is not a speed"):
        speed_of(text)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["load", "--speed", "2x"], "--speed is for a replay"),
        (["load", "--now"], "--now is for a replay"),
        (["load", "--replay", "trades.csv", "--rate", "10k"], "--rate is for a synthetic market"),
        (["load", "--replay", "trades.csv", "--seed", "0"], "--seed is for a synthetic market"),
        (["consume", "--metrics-address", "192.0.2.1"], "--metrics-address needs --metrics-port"),
        (["consume", "--name", "mine"], "--name is for a consumer in a group"),
        (["consume", "--budget", "0"], "Nothing would be processed"),
        (["query", "recent", "BHP", "--window", "999999999d"], "longer than a hundred years"),
        (["query", "recent", "BHP", "--window", "٣m"], "is not a duration"),
        (["query", "ohlcv", "BHP", "--bar", "9" * 5000 + "d"], "is not the length of a bar"),
        (["load", "--rate", "²"], "is not a count"),
        (["load", "--rate", "9" * 5000], "more than 1,000,000,000,000"),
        (["stack", "up", "--port", "kafka=" + "9" * 5000], "is no port"),
        (["stack", "up", "--port", "kafka=٣"], "is no port"),
        (["gaps", "--since", "999999999d"], "neither a time nor a duration"),
        (["watch", "--record", "nowhere/file"], "No file can be written at nowhere/file"),
        (["watch", "--export", "nowhere/file.svg"], "No file can be written at nowhere/file.svg"),
    ],
)
def test_what_would_be_ignored_or_cannot_be_is_refused_at_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert word in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("option", ["rate", "ramp_to", "duration_s"])
def test_nothing_is_not_the_profiles_default(option: str) -> None:
    from k2ctl.load.plan import plan_load
    from k2ctl.profiles import load_profile

    with pytest.raises(UsageError):
        plan_load(load_profile("laptop"), **{option: 0})
