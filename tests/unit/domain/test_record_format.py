"""What a profile declares of a topic's records: the unit of times that are whole numbers, and the first time."""

import json
from pathlib import Path

import pytest

from k2ctl.domain.topics import TimeUnit
from k2ctl.domain.wire import RecordFormat
from k2ctl.errors import ProfileError
from k2ctl.feeds.records import Decoder, decoder_of
from k2ctl.kafka.reader import Fetched
from k2ctl.profiles import load_profile
from tests.made_trades import BASE_US, make_trades
from tests.support.decoders import decoder_for

NOW_US = BASE_US + 10**12


def record(time: object) -> bytes:
    """A JSON trade of that time."""
    (value,) = RecordFormat("json").encode(make_trades(1), 1)
    return json.dumps({**json.loads(value), "timestamp": time, "ingestion_timestamp": time}).encode()


def refusal(decoder: Decoder, time: object) -> str:
    """Why a trade of that time is refused; empty if it is not."""
    decoded = decoder.decode(Fetched.of_values([record(time)]))
    if decoded.refused:
        return decoded.refused[0].reason
    return decoder.invalid(decoded.trades, NOW_US).get(0, "")


UNITS: list[tuple[TimeUnit, int]] = [("s", 10**9), ("ms", 10**6), ("us", 1000), ("ns", 1)]


@pytest.mark.parametrize(("unit", "nanoseconds"), UNITS)
def test_a_whole_number_counts_the_declared_unit(unit: TimeUnit, nanoseconds: int) -> None:
    decoder = decoder_for(RecordFormat("json", unit))
    number = BASE_US * 1000 // nanoseconds
    decoded = decoder.decode(Fetched.of_values([record(number)]))
    assert decoded.trades["event_ns"].tolist() == [number * nanoseconds]
    assert refusal(decoder, number) == ""


@pytest.mark.parametrize(("unit", "nanoseconds"), UNITS)
@pytest.mark.parametrize(("other", "others_nanoseconds"), UNITS)
def test_a_number_of_another_unit_is_never_stored_as_another_time(
    unit: TimeUnit, nanoseconds: int, other: TimeUnit, others_nanoseconds: int
) -> None:
    reason = refusal(decoder_for(RecordFormat("json", unit)), BASE_US * 1000 // others_nanoseconds)
    assert bool(reason) == (unit != other)
    assert not reason or reason.startswith("timestamp is ")


@pytest.mark.parametrize(("unit", "nanoseconds"), UNITS)
def test_what_is_written_in_a_unit_is_read_in_it(unit: TimeUnit, nanoseconds: int) -> None:
    written, trades = RecordFormat("json", unit), make_trades(20)
    trades["event_ns"] += 123_456_789
    decoded = decoder_for(written).decode(Fetched.of_values(written.encode(trades, 7)))
    assert decoded.trades.tobytes() == trades.tobytes()


def test_a_time_before_the_profiles_first_day_is_refused_with_that_day(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("base: laptop\ntopic: {format: json, time_unit: ms, earliest: 2020-01-01}\n")
    decoder = decoder_of(load_profile(str(path)))
    early = "timestamp is 2019-12-31T23:59:59.999000Z, before 2020-01-01T00:00:00Z"
    assert refusal(decoder, 1_577_836_799_999) == early
    assert refusal(decoder, 1_577_836_800_000) == ""


@pytest.mark.parametrize(
    "line", ["time_unit: m", "time_unit: ms", "earliest: yesterday", "earliest: 1969-12-31", "earliest: 2300-01-01"]
)
def test_a_unit_or_a_day_that_cannot_be_is_refused_by_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"base: laptop\ntopic:\n  {line}\n")
    with pytest.raises(ProfileError, match=rf"own\.yaml:[23]: topic.*{line.split(':')[0]}"):
        load_profile(str(path))
